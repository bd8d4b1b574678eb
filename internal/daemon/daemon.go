// Package daemon puts steve together: it opens the token file, drops privileges, serves, reports, and takes all of it
// down in reverse order. What is served, and how, is for the packages below it.
package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"

	"steve/internal/broker"
	"steve/internal/front"
	"steve/internal/front/file"
	"steve/internal/fuseconn"
	"steve/internal/load"
	"steve/internal/pool"
	"steve/internal/proc"
	"steve/internal/report"
)

// Signals returns the signals that Run heeds. It is to be called first of all: until then SIGUSR1, which README tells users to
// send to all processes called steve, ends the program.
func Signals() <-chan os.Signal {
	signals := make(chan os.Signal, 8)
	for _, s := range []os.Signal{unix.SIGUSR1, unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		if s == unix.SIGUSR1 || !signal.Ignored(s) { // nohup, or "&" in a shell without job control
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

// Run serves until a signal ends it, or an error. It prints the start message and reports on stdout, the log on stderr.
func Run(c Config, signals <-chan os.Signal, stdout, stderr io.Writer) (err error) {
	lines := newLineWriter(stderr)
	defer lines.Close()
	log := newLogger(lines, c.LogLevel)

	token, err := openToken(c, lines)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, token.Close()) }()
	if err := dropPrivileges(c, token); err != nil {
		return err
	}
	sampler, err := load.Open()
	if err != nil {
		return err
	}
	defer sampler.Close()

	tokens := pool.New(c.Limits)
	server, err := front.New(front.Config{
		Conn: token.Conn, FD: token.FD, OpenFlags: token.OpenFlags, Other: token.Requests, Pool: tokens, Log: log,
	})
	if err != nil {
		return err
	}
	defer server.Close()
	b, err := broker.New(broker.Config{
		Pool: tokens, Front: server, Sample: sample(sampler, log), Observe: observer(log, c.LogLevel),
	})
	if err != nil {
		return err
	}

	ended := make(chan error, 1)
	go func() { ended <- b.Run() }()
	fmt.Fprintf(stdout, "steve running on %s for %d jobs\nat least %d jobs will be always available\n",
		token.Path, c.Limits.Jobs, min(c.Limits.MinJobs, c.Limits.Jobs))
	if err := notify("READY=1"); err != nil {
		log.Warn("cannot tell the service manager", "error", err)
	}
	reports := make(chan struct{}, 1)
	defer close(reports)
	go func() { // apart, as standard output may block
		for range reports {
			if err := printReport(stdout, b, server); err != nil {
				log.Error("report", "error", err)
			}
		}
	}()
	for {
		select {
		case err := <-ended:
			if errors.Is(err, fuseconn.ErrEnd) {
				return fmt.Errorf("%s was removed under a running steve; start it again", token.Path)
			}
			return err
		case s := <-signals:
			if s == unix.SIGUSR1 {
				select {
				case reports <- struct{}{}:
				default: // one is being asked for
				}
				continue
			}
			log.Info("stopping", "signal", s.String())
			notify("STOPPING=1")
			return stop(b, token, ended)
		}
	}
}

// stop ends a broker that runs: whoever waits is answered, then nobody new can come, and those that have the file open
// are answered up to the last moment.
func stop(b *broker.Broker, t *token, ended <-chan error) error {
	b.Stop()
	err := t.Remove()
	b.Quit()
	if e := <-ended; !errors.Is(e, fuseconn.ErrEnd) { // it ends by itself when nobody has the file open
		err = errors.Join(err, e)
	}
	return err
}

// dropPrivileges becomes the user asked for and makes sure that it can tell processes apart.
func dropPrivileges(c Config, t *token) error {
	if c.User != "" {
		credentials, err := lookUpUser(c.User)
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

// sample reads the machine's load. A reading that fails counts as no load, and is logged once.
func sample(s *load.Sampler, log *slog.Logger) func() (float64, int64) {
	var once sync.Once
	failed := func(err error) {
		once.Do(func() { log.Error("cannot read the machine's load, its limits are off", "error", err) })
	}
	return func() (float64, int64) {
		average, err := s.LoadAverage()
		if err != nil {
			failed(err)
			average = 0
		}
		memory, err := s.MemAvailable()
		if err != nil {
			failed(err)
			memory = 1 << 62
		}
		return average, memory
	}
}

// printReport prints who holds and who waits.
func printReport(w io.Writer, b *broker.Broker, server *front.Server) error {
	var state pool.State
	pids := map[pool.Client]int{}
	err := b.Inspect(func(p *pool.Pool) {
		state = p.State()
		for _, c := range state.Clients {
			if pid, ok := server.PID(c.ID); ok {
				pids[c.ID] = pid
			}
		}
	})
	if err != nil {
		return err
	}
	return report.Write(w, state, func(c pool.Client) (pid int, command string, ok bool) {
		if pid, ok = pids[c]; !ok {
			return 0, "", false
		}
		command, err := proc.Root.CommandLine(pid)
		return pid, command, err == nil
	})
}
