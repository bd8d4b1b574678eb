package client

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/cli"
	"steve/internal/ctl"
)

// patience is how long a wait for a token may last before a user at a terminal is told about it.
const patience = 2 * time.Second

// take takes one token and waits as long as that needs, or until a signal. It is this process that takes it: a steve
// keeps account of processes, so that the one that takes must be the one that returns, and must live in between.
// It may be that an ancestor's slot is shared in place of that.
func take(c *ctl.Conn, own bool, signals <-chan os.Signal, messages *os.File) (shared bool, err error) {
	taken := make(chan error, 1)
	go func() {
		if own {
			taken <- c.Take()
			return
		}
		var err error
		shared, err = c.Nest()
		taken <- err
	}()
	err = wait(c, taken, signals, messages)
	return err == nil && shared, err
}

// wait waits until a token is taken, or the attempt has failed, or for a signal.
func wait(c *ctl.Conn, taken <-chan error, signals <-chan os.Signal, messages *os.File) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case err := <-taken:
			if err != nil {
				return cli.Errorf(StatusFailed, "unable to take a token from %s: %s (did steve stop?)", c.File().Name(), strerror(err))
			}
			select {
			case s := <-signals: // came first, or at the same time
				giveBack(c, false)
				return endedBy(s)
			default:
			}
			return nil
		case s := <-signals:
			select {
			case err := <-taken:
				if err == nil {
					giveBack(c, false)
				}
			default:
			}
			return endedBy(s)
		case <-timer.C:
			if isTerminal(messages) {
				sayWaiting(c, messages)
			}
		}
	}
}

func endedBy(s os.Signal) error {
	return &cli.ExitError{Status: StatusSignal + int(s.(syscall.Signal))}
}

func sayWaiting(c *ctl.Conn, messages *os.File) {
	s, err := c.Status()
	if err != nil {
		return // the read in take has the same reason to fail, and says so
	}
	say(messages, "waiting for a token (%d of %d out)", s.Held, s.Limits.Jobs)
}

// giveBack returns the token. Should that fail, there is nothing better to do than to exit, which returns it too.
func giveBack(c *ctl.Conn, shared bool) {
	if shared {
		c.Leave()
		return
	}
	c.Return(1)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
