package client

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"steve/internal/bridge"
	"steve/internal/cli"
	"steve/internal/ctl"
	"steve/internal/embed"
	"steve/internal/jobserver"
	"steve/internal/load"
	"steve/internal/programs"
	"steve/internal/shims"
)

// A Fallback says what to do where there is no steve to be had.
type Fallback int

// Fallbacks.
const (
	Embed      Fallback = iota // share a pool with the other stevies of this user
	RunWithout                 // run the command all the same, with no jobserver
	Fail
)

// A source is where a command's tokens come from.
type source struct {
	ctl.Server
	name string // for messages
	file string // the token file, if there is one
	// jobserver is the token file, or that of an outer stevie's bridge; zero where there is neither.
	jobserver jobserver.Jobserver
	form      programs.Form // of its Path
}

// connectUnless is connect, unless a signal comes first: a server that was stopped answers late.
func connectUnless(signals <-chan os.Signal, o Options) (*source, error) {
	type connection struct {
		source *source
		err    error
	}
	connected := make(chan connection, 1)
	go func() {
		s, err := connect(o)
		connected <- connection{s, err}
	}()
	select {
	case c := <-connected:
		return c.source, c.err
	case got := <-signals:
		return nil, endedBy(got)
	}
}

// connect finds a steve, or else does what o says. Nil is to run the command without any.
func connect(o Options) (*source, error) {
	s, err := connectServer(o)
	if s == nil || err != nil {
		return nil, err
	}
	// What the FIFO of an outer stevie gives out is from the same server. A second one behind it would be of no use.
	if dir := os.Getenv(bridge.EnvVar); dir != "" && o.Device == "" && o.Bridge != BridgeAlways && !o.OwnToken {
		if outer, err := bridge.Find(dir); err == nil {
			s.jobserver, s.form = outer, programs.FIFO
		}
	}
	return s, nil
}

func connectServer(o Options) (*source, error) {
	conn, err := Find(o.Device)
	if err == nil {
		return fromFile(conn)
	}
	switch o.Unavailable {
	case Fail:
		return nil, err
	case RunWithout:
		say(o.Messages, "%v; running the command without a jobserver", err)
		return nil, nil
	}
	jobs := o.Jobs
	if jobs == 0 {
		jobs, _ = load.CPUs()
	}
	pool, joinErr := embed.Join(ctl.UserDir(), jobs)
	if joinErr != nil {
		return nil, cli.Errorf(StatusFailed, "%v, and there is no pool of this user's own: %w (--if-unavailable=run runs the command without)", err, joinErr)
	}
	if os.Getenv(bridge.EnvVar) == "" { // else an outer stevie has said so
		say(o.Messages, "%v; sharing %d job tokens among this user's own builds", err, pool.Jobs())
	}
	if o.Jobs != 0 && o.Jobs != pool.Jobs() {
		say(o.Messages, "-j%d has no effect, other builds of this user share %d tokens already", o.Jobs, pool.Jobs())
	}
	return &source{Server: pool, name: "this user's pool"}, nil
}

// fromFile is the source behind a token file.
func fromFile(conn *ctl.Conn) (*source, error) {
	// Absolute, for the command and its descendants change directories.
	path, err := filepath.Abs(conn.File().Name())
	if err != nil {
		return nil, cli.Errorf(StatusFailed, "%w", err)
	}
	if err := ctl.CheckPath(path); err != nil {
		return nil, cli.Errorf(StatusFailed, "unable to use %q: %w, use another path", path, err)
	}
	s := &source{Server: conn, name: path, file: path, jobserver: jobserver.File(path), form: programs.CharDevice}
	info, err := conn.File().Stat()
	if err != nil {
		return nil, cli.Errorf(StatusFailed, "%w", err)
	}
	if info.Mode().IsRegular() {
		s.form = programs.RegularFile
	}
	return s, nil
}

// pause hands over what this process serves, if it does, for the time until resume.
func (s *source) pause() {
	if pool, ok := s.Server.(*embed.Pool); ok {
		pool.Pause()
	}
}

func (s *source) resume() {
	if pool, ok := s.Server.(*embed.Pool); ok {
		pool.Resume()
	}
}

// in adds to s what its jobserver is going to be.
func (s sight) in(from *source) sight {
	s.tokenFile, s.embedded = from.form, from.jobserver.Path == ""
	return s
}

// A handed is a jobserver in the hands of a command.
type handed struct {
	env       []string
	inherited []*os.File    // by the command, and not needed here once it has started
	started   func(pid int) // to be called then
	close     func()        // when it has ended
	// pause and resume are for the time in which job control has this process stopped, and the command with it: others are
	// not to wait for what it serves, or holds unused.
	pause, resume func()
}

// untouched is what a command is handed that is to run as it would without stevie.
func untouched() *handed {
	nothing := func() {}
	return &handed{env: os.Environ(), started: func(int) {}, close: nothing, pause: nothing, resume: nothing}
}

// hand makes the jobserver that is planned, and the environment that tells of it.
func (s *source) hand(p plan, messages io.Writer) (_ *handed, err error) {
	h := untouched()
	defer func() {
		if err != nil {
			h.close()
			err = cli.Errorf(StatusFailed, "unable to hand the command a jobserver: %w", err)
		}
	}()
	j := s.jobserver
	if p.bridge {
		b, err := bridge.New(s.Server, bridge.Options{Failed: func(err error) {
			say(messages, "%s has ended (%s), the build goes on with the tokens it has", s.name, strerror(err))
		}})
		if err != nil {
			return nil, err
		}
		j, h.started, h.close = b.Jobserver(), func(pid int) { b.Started(pid) }, func() { b.Close() }
		h.pause, h.resume = b.Suspend, b.Resume
		h.env = setenv(h.env, bridge.EnvVar, b.Dir())
	}
	suspend, resume := h.pause, h.resume
	h.pause = func() { suspend(); s.pause() }
	h.resume = func() { s.resume(); resume() }
	auth := j.ByPath()
	if p.descriptors {
		if h.inherited, auth, err = j.Open(); err != nil {
			return nil, err
		}
	}
	h.env = environ(h.env, auth, j.ByPath())
	if width, ok := getenv(h.env, widthVar); ok && !p.keepJobs && width != "1" {
		h.env = unsetenv(h.env, widthVar)
	}
	if s.file != "" && auth != "fifo:"+s.file {
		h.env = setenv(h.env, DeviceVar, s.file) // for a stevie below, which would find no token file in MAKEFLAGS
	}
	if !p.pair {
		j.In, j.Out = "", ""
	}
	vars, err := shimVars(p.shims, j)
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		h.env = setenv(h.env, name, value)
	}
	return h, err
}

// widthVar has "cmake --build" put -j on its make or ninja, which would leave the jobserver.
const widthVar = "CMAKE_BUILD_PARALLEL_LEVEL"

// shimVars returns the variables, NAME=VALUE, with which shims are called, and for them; or tells those of an outer stevie
// of another jobserver.
func shimVars(wanted bool, j jobserver.Jobserver) ([]string, error) {
	if !wanted {
		if os.Getenv(shims.DirVar) == "" {
			return nil, nil
		}
		return shims.Env(j), nil
	}
	if dir, err := shims.Dir(); err == nil {
		if vars, err := shims.Create(dir, j); err == nil {
			return vars, nil
		}
	}
	// A build user often has no home. What is kept of paths in this directory lasts until the machine is started again.
	return shims.Create(filepath.Join(ctl.UserDir(), "stevie-shims"), j)
}
