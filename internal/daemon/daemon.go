// Package daemon puts steve together: it opens the token file, drops privileges, and serves, or has it served; it reports,
// and takes all of it down in reverse order. What is served, and how, is for the packages below it.
//
// Who keeps the token file while nobody serves is for Config.Keeper to say. With a process for it there are two: this one,
// which is the keeper, and the worker that it starts, which comes back to Run as one.
package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"steve/internal/front/file"
	"steve/internal/journal"
	"steve/internal/keeper"
	"steve/internal/proc"
	"steve/internal/systemd"
)

// Signals returns the signals that Run heeds. It is to be called first of all: until then SIGUSR1, which README tells users to
// send to all processes called steve, ends the program.
func Signals() <-chan os.Signal {
	signals := make(chan os.Signal, 8)
	for _, s := range []os.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		// The others stay ignored if they are, by nohup, or by "&" in a shell without job control.
		if s == unix.SIGUSR1 || s == unix.SIGUSR2 || !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	// Caught and dropped: whoever reads the log may go away, and the builds are to go on.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	return signals
}

// Helper returns what this process is to do instead of serving, if args say that a steve started it to help.
func Helper(args []string) func() error {
	if len(args) == 3 && args[0] == file.UnmounterVerb {
		return func() error { return file.UnmountAtEnd(args[1], args[2], os.Stdin) }
	}
	return nil
}

// A daemon is one run of the program.
type daemon struct {
	Config
	start   Start
	signals <-chan os.Signal
	stdout  io.Writer
	stderr  *lineWriter
	log     *slog.Logger
}

// Run serves, or keeps, until a signal ends it, or an error. It prints the start message and reports on stdout, the log on
// stderr. The status is for the process to end with; one that is not 0 has been explained, be it by the error.
func Run(c Config, start Start, signals <-chan os.Signal, stdout, stderr io.Writer) (status int, err error) {
	lines := newLineWriter(stderr)
	defer lines.Flush()
	d := &daemon{c, start, signals, stdout, lines, newLogger(lines, c.LogLevel)}
	switch {
	case start.role.Verb == keeper.Worker:
		return d.work()
	case start.role.Verb == keeper.Keeper:
		return d.keepOn()
	}
	mode := c.Keeper
	if mode == KeptAuto {
		mode = d.bestKeeper()
	}
	switch mode {
	case KeptByProcess:
		return d.keep()
	case KeptBySystemd:
		return d.underSystemd()
	}
	return exit(d.alone())
}

func exit(err error) (int, error) {
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// alone serves as one process, with which all ends.
func (d *daemon) alone() (err error) {
	t, err := openToken(d.Config, d.stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if err := d.dropPrivileges(t); err != nil {
		return err
	}
	s, err := d.newService(t, nil)
	if err != nil {
		return err
	}
	defer s.close()
	d.serving(t)()
	_, err = s.run(nil)
	return err
}

// keep opens the token file, and keeps it while workers serve it.
func (d *daemon) keep() (status int, err error) {
	t, err := openToken(d.Config, d.stderr)
	if err != nil {
		return 1, err
	}
	if err := d.dropPrivileges(t); err != nil {
		return 1, errors.Join(err, t.Close())
	}
	text, err := json.Marshal(t.about)
	if err != nil {
		return 1, errors.Join(err, t.Close())
	}
	j, err := journal.Create(text)
	if err != nil {
		return 1, errors.Join(err, t.Close())
	}
	j.Close() // it is for the workers to map
	if err := journal.LockKeeper(j.FD()); err != nil {
		return 1, errors.Join(err, t.Close())
	}
	serving := d.serving(t)
	return d.supervise(t, keeper.Config{
		Role: keeper.Role{
			Args: append([]string{string(text)}, d.start.Args...),
			FDs:  append(t.shared, keeper.FD{Name: journalFD, Num: j.FD()}),
		},
		Serving: func(int) { serving() },
	})
}

// keepOn is keep for a process that was a worker, or a keeper of another version.
func (d *daemon) keepOn() (status int, err error) {
	t, err := adoptToken(d.start.about, d.start.role.FDs)
	if err != nil {
		return 1, err
	}
	t.Sign()
	return d.supervise(t, keeper.Config{Role: d.start.role})
}

func (d *daemon) supervise(t *token, c keeper.Config) (status int, err error) {
	defer func() { err = errors.Join(err, t.Close()) }()
	c.Signals, c.Log = d.signals, d.log
	c.Stopping = func() { d.notify("STOPPING=1") }
	if c.Disk, err = os.Executable(); err != nil {
		return 1, err
	}
	return keeper.Keep(c)
}

// journalFD is the name of the journal's descriptor.
const journalFD = "journal"

// serving returns what tells the world that the token file is served. It does so once.
func (d *daemon) serving(t *token) func() {
	done := false
	return func() {
		if done {
			return
		}
		done = true
		go func() { // apart, as standard output may block
			fmt.Fprintf(d.stdout, "steve running on %s for %d jobs\nat least %d jobs will be always available\n",
				t.Path, d.Limits.Jobs, min(d.Limits.MinJobs, d.Limits.Jobs))
		}()
		d.notify("READY=1")
	}
}

func (d *daemon) notify(state string) {
	if err := systemd.Notify(state); err != nil {
		d.log.Warn("cannot tell the service manager", "error", err)
	}
}

// dropPrivileges becomes the user asked for and makes sure that it can tell processes apart.
func (d *daemon) dropPrivileges(t *token) error {
	if d.User != "" {
		credentials, err := lookUpUser(d.User)
		if err != nil {
			return err
		}
		if err := t.Delegate(); err != nil {
			return err
		}
		if err := credentials.become(); err != nil {
			return err
		}
	}
	if t.OwnUserOnly {
		return nil
	}
	return proc.Root.Visible()
}
