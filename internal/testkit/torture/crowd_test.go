package torture

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steve/internal/testkit/jobs"
)

// lanesEach is how many lanes a client has.
const lanesEach = 2

// A crowd are clients of one token file.
type crowd struct {
	t       *testing.T
	path    string // of the token file
	slots   *jobs.Counter
	board   *board
	file    string // the board's
	seed    uint64
	bin     string // for PATH
	members []*member

	// abort ends the wait of all clients for the server. Without that one that is stuck could not even be killed.
	abort func()
	// bearsEIO says that a client may get EIO: user-mode Linux fails a request when the server is killed in the middle of
	// a copy to or from its memory. Whether the client then has a token nobody can tell, so it ends, and another one comes.
	bearsEIO bool
	eio      int
	// impatience is by what the patience with clients is divided.
	impatience time.Duration
	// over says that the clients have been told to end.
	over bool
}

// A member is one client, or several of the same kind one after the other.
type member struct {
	name string
	kind kind
	lane int
	dir  string
	*jobs.Process

	rounds int64     // seen
	since  time.Time // when
}

func newCrowd(t *testing.T, path string, seed uint64, abort func()) *crowd {
	t.Helper()
	c := &crowd{t: t, path: path, slots: jobs.NewCounter(t), seed: seed, abort: abort, impatience: 1}
	c.board, c.file = newBoard(t)
	return c
}

// join starts clients by the names of their kinds.
func (c *crowd) join(names ...string) {
	c.t.Helper()
	for _, name := range names {
		m := &member{name: name, kind: kinds[name], lane: lanesEach * len(c.members), dir: c.t.TempDir()}
		if m.lane+lanesEach > maxLanes {
			c.t.Fatal("more clients than lanes")
		}
		if m.kind.program && c.bin == "" {
			c.bin = programs(c.t, jobs.Tools(c.t))
		}
		prepare(c.t, name, m.dir)
		c.start(m)
		c.members = append(c.members, m)
	}
}

func (c *crowd) start(m *member) {
	c.t.Helper()
	s := settings{
		Kind: m.name, Path: c.path, Board: c.file, Lane: m.lane, Dir: m.dir, Seed: c.seed,
		Slots: slots(strings.TrimPrefix(c.slots.Env(), "SLOTS=")),
	}
	// No signals of the Go runtime's, which would end reads, and no waiting of the race detector's at the end.
	env := []string{"GODEBUG=asyncpreemptoff=1", "GORACE=atexit_sleep_ms=0"}
	if m.kind.program {
		s.Tools = jobs.Tools(c.t)
		env = append(env, "STEVE_DEVICE="+c.path, c.slots.Env(), "RUSTC_WRAPPER="+filepath.Join(s.Tools, "slot"),
			"PATH="+c.bin+":"+os.Getenv("PATH"))
	}
	text, err := json.Marshal(s)
	if err != nil {
		c.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	m.Process = jobs.Start(c.t, m.dir, append(env, clientVar+"="+string(text)), self)
	c.t.Cleanup(func() { // before jobs kills it
		if c.t.Failed() {
			c.abort()
		}
	})
	m.since = time.Now()
}

// check returns an error if a client has ended, or does not get on.
func (c *crowd) check() error {
	if c.over {
		return nil
	}
	for _, m := range c.members {
		select {
		case <-m.Ended:
			if err := c.ended(m); err != nil {
				return err
			}
		default:
		}
		rounds := c.board.lanes[m.lane].rounds.Load()
		if rounds != m.rounds {
			m.rounds, m.since = rounds, time.Now()
		} else if patience := m.kind.patience() / c.impatience; time.Since(m.since) > patience {
			return fmt.Errorf("client %s is stuck: no round in %v\n%s", m.name, patience, c.describe(m))
		}
	}
	return nil
}

// ended looks at a client that should not have.
func (c *crowd) ended(m *member) error {
	err := m.End()
	if c.bearsEIO && m.ProcessState.ExitCode() == exitEIO {
		c.eio++
		c.start(m)
		return nil
	}
	return fmt.Errorf("client %s has ended: %v\n%s", m.name, err, m.Output(c.t))
}

// until returns when ok does, or an error when a client is not well, or after the limit.
func (c *crowd) until(what string, limit time.Duration, ok func() bool) error {
	deadline := time.Now().Add(limit)
	for looked := time.Now(); ; time.Sleep(100 * time.Microsecond) {
		if ok() {
			return nil
		}
		if time.Since(looked) < 5*time.Millisecond {
			continue
		}
		looked = time.Now()
		if err := c.check(); err != nil {
			return err
		}
		if looked.After(deadline) {
			return fmt.Errorf("no %s in %v", what, limit)
		}
	}
}

// getOn returns when every client has done so many rounds more. If one does not check tells.
func (c *crowd) getOn(more int64) error {
	goals := make([]int64, len(c.members))
	for i, m := range c.members {
		goals[i] = c.board.lanes[m.lane].rounds.Load() + more
		if m.kind.program {
			goals[i] = c.board.lanes[m.lane].rounds.Load() + 1
		}
	}
	return c.until("end of a round", time.Hour, func() bool {
		for i, m := range c.members {
			if c.board.lanes[m.lane].rounds.Load() < goals[i] {
				return false
			}
		}
		return true
	})
}

// finish has the clients end, which they must do well.
func (c *crowd) finish() error {
	c.over = true
	c.board.stop.Store(1)
	var errs []error
	for _, m := range c.members {
		select {
		case <-m.Ended:
		case <-time.After(m.kind.patience() / c.impatience):
			return fmt.Errorf("client %s does not end\n%s", m.name, c.describe(m))
		}
		err := m.End()
		if c.bearsEIO && m.ProcessState.ExitCode() == exitEIO {
			c.eio++
		} else if err != nil {
			errs = append(errs, fmt.Errorf("client %s: %w\n%s", m.name, err, m.Output(c.t)))
		}
	}
	return errors.Join(errs...)
}

// summary tells what the clients did.
func (c *crowd) summary() string {
	var b strings.Builder
	for _, m := range c.members {
		var answers, longest, signals int64
		for i := range lanesEach {
			l := &c.board.lanes[m.lane+i]
			answers += l.answers.Load()
			longest = max(longest, l.longest.Load())
			signals += l.signals.Load()
		}
		fmt.Fprintf(&b, "%12s: %5d rounds, %6d answers, the longest after %v", m.name,
			c.board.lanes[m.lane].rounds.Load(), answers, time.Duration(longest).Round(100*time.Microsecond))
		if signals > 0 {
			fmt.Fprintf(&b, ", %d EINTR", signals)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
