package client

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/cli"
	"steve/internal/ctl"
)

// patience is how long a wait for a token may last before a user at a terminal is told about it.
const patience = 2 * time.Second

// A slot is what a command runs in: a token that this process holds, or a share in the slot of an ancestor.
type slot struct {
	server ctl.Server
	shared bool
}

// release gives the slot up. Should that fail, there is nothing better to do than to exit, which gives it up too.
func (s slot) release() {
	if s.shared {
		s.server.Leave()
	} else {
		s.server.Return(1)
	}
}

// A taking is how an attempt to get a slot has ended.
type taking struct {
	slot slot
	err  error
}

// takeSlot waits for a slot as long as that needs, or until a signal. It is this process that takes it: servers keep account
// of processes, so that the one that takes must be the one that returns, and must live in between.
func takeSlot(s *source, own bool, signals, stops <-chan os.Signal, messages *os.File) (slot, error) {
	taken := make(chan taking, 1)
	go func() {
		if !own {
			shared, err := s.Nest()
			if !errors.Is(err, unix.EAGAIN) { // which says that no process can be watched just now; a Take waits for that
				taken <- taking{slot{s, shared}, err}
				return
			}
		}
		taken <- taking{slot{server: s}, s.Take()}
	}()
	return s.wait(taken, signals, stops, messages)
}

// wait waits until a slot is taken, or the attempt has failed, or for a signal. Job control stops it meanwhile.
func (s *source) wait(taken <-chan taking, signals, stops <-chan os.Signal, messages *os.File) (slot, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case t := <-taken:
			if t.err != nil {
				hint := ""
				if s.file != "" {
					hint = " (did steve stop?)"
				}
				return slot{}, cli.Errorf(StatusFailed, "unable to take a token from %s: %s%s", s.name, strerror(t.err), hint)
			}
			select {
			case got := <-signals: // came first, or at the same time
				t.slot.release()
				return slot{}, endedBy(got)
			default:
			}
			return t.slot, nil
		case got := <-signals:
			select {
			case t := <-taken:
				if t.err == nil {
					t.slot.release()
				}
			default:
			}
			return slot{}, endedBy(got)
		case <-stops:
			s.pause()
			stop()
			s.resume()
		case <-timer.C:
			if isTerminal(messages) {
				s.sayWaiting(messages)
			}
		}
	}
}

func endedBy(s os.Signal) error {
	return &cli.ExitError{Status: StatusSignal + int(s.(syscall.Signal))}
}

func (s *source) sayWaiting(messages *os.File) {
	status, err := s.Status()
	if err != nil {
		return // taking has the same reason to fail, and says so
	}
	say(messages, "waiting for a token (%d of %d out)", status.Held, status.Limits.Jobs)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// lease takes up to n tokens that nobody else waits for, and returns how many it has got. A signal ends it, should
// the server not answer.
func (s *source) lease(n int, signals <-chan os.Signal) (int, error) {
	type answer struct {
		ctl.RelayAnswer
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		a, err := s.Relay(ctl.RelayAsk{Want: n, Now: true})
		answers <- answer{a, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return 0, cli.Errorf(StatusFailed, "unable to take tokens from %s: %s", s.name, strerror(a.err))
		}
		return a.Tokens, nil
	case got := <-signals:
		return 0, endedBy(got)
	}
}

// giveBack runs f, which gives something back to a server, or stops waiting for it: a server that does not answer takes it
// back when this process ends.
func giveBack(f func()) {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
	}
}
