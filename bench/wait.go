package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"steve/internal/ctl"
)

// A Waiting is what it costs to pass one token on among many processes that wait for it.
type Waiting struct {
	Crowds []*Crowd
}

// A Crowd is processes that wait for the one token of a server.
type Crowd struct {
	Server  string // nameSteve, nameC or nameLibfuse
	Way     string // in which they wait: wayRead, wayPoll or wayRetry
	Waiters int
	Slices  []Turns // one for each round
	Memory  *Memory `json:",omitempty"` // of steve, after the last slice
}

// The ways to wait, as the program wait knows them.
const (
	wayRead  = "read"
	wayPoll  = "poll"
	wayRetry = "retry"
)

// Turns are what came of one slice. A turn is a return of the token and the next take.
type Turns struct {
	Turns  int
	Reads  int     // returns from read(2) in all clients
	Wakes  int     // of those who block in it, or from poll(2)
	Passed float64 // ns
	Used   float64 // ns that the server used, user and system
}

// The cost of a token: nanoseconds for one turn. If there was none in all that time, it is as if there was one at its end.
func (t Turns) passed() float64 { return t.Passed / float64(max(1, t.Turns)) }
func (t Turns) used() float64   { return t.Used / float64(max(1, t.Turns)) }

// tries is how often a second all together try that retry, be they 10 or 10,000: what they ask of the server is the same.
const tries = 5000

// crowdSubjects are the servers that a crowd waits at.
func crowdSubjects(p programs, way string, n int) []subject {
	all := []subject{{nameSteve, func(ctx context.Context) (*server, error) { return p.startSteve(ctx, 1) }}}
	if way == wayRead {
		all = append(all, subject{nameC, func(ctx context.Context) (*server, error) { return p.startLimit(ctx, "--queue") }})
	}
	if way == wayPoll && built(p.libfuse) && n <= 1000 { // it wakes all for each token
		path := filepath.Join(p.dir, "libfuse-token-"+strconv.Itoa(n))
		all = append(all, subject{nameLibfuse, func(ctx context.Context) (*server, error) {
			return start(exec.CommandContext(ctx, p.libfuse, path, "1"), path)
		}})
	}
	return all
}

func measureWaiting(ctx context.Context, p programs, c Config) (w Waiting, err error) {
	for _, way := range []string{wayRead, wayPoll, wayRetry} {
		crowds, err := measureCrowds(ctx, p, c, way)
		if err != nil {
			return w, err
		}
		w.Crowds = append(w.Crowds, crowds...)
	}
	return w, nil
}

// measureCrowds has crowds of all sizes wait in one way, side by side. The tokens go round in turn, one at a time.
func measureCrowds(ctx context.Context, p programs, c Config, way string) (measured []*Crowd, err error) {
	var crowds []*crowd
	defer func() {
		for _, s := range crowds {
			err = errors.Join(err, s.stop())
		}
	}()
	for _, n := range slices.Sorted(slices.Values(c.Waiters)) {
		for _, s := range crowdSubjects(p, way, n) {
			begun, err := startCrowd(ctx, p, s, way, n)
			if err != nil {
				return nil, fmt.Errorf("%s, %d in %s: %w", s.name, n, way, err)
			}
			crowds = append(crowds, begun)
			measured = append(measured, &begun.Crowd)
			// A process is known to the server, and its memory to the processor, when it has had a turn.
			if _, err := begun.slice(max(c.Slice, time.Duration(n)*100*time.Microsecond)); err != nil {
				return nil, err
			}
		}
	}
	for range c.Rounds {
		for _, s := range crowds {
			turns, err := s.slice(c.Slice)
			if err != nil {
				return nil, err
			}
			s.Slices = append(s.Slices, turns)
		}
		slices.Reverse(crowds) // to be first is no advantage
	}
	for _, s := range crowds {
		if s.Server == nameSteve {
			if s.Memory, err = s.server.memory(); err != nil {
				return nil, err
			}
		}
	}
	return measured, nil
}

// A crowd is a Crowd that waits, and the server it waits at.
type crowd struct {
	Crowd
	server *server
	wait   *exec.Cmd
	stdin  io.WriteCloser
	lines  *bufio.Reader
}

// startCrowd returns when the last has begun to wait.
func startCrowd(ctx context.Context, p programs, s subject, way string, n int) (_ *crowd, err error) {
	c := &crowd{Crowd: Crowd{Server: s.name, Way: way, Waiters: n}}
	if c.server, err = s.start(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	wait := exec.CommandContext(ctx, p.wait, c.server.path, way, strconv.Itoa(n), strconv.Itoa(c.server.pid), strconv.Itoa(tries))
	wait.Stderr = os.Stderr
	if c.stdin, err = wait.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := wait.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.lines = bufio.NewReader(stdout)
	if err := wait.Start(); err != nil {
		return nil, err
	}
	c.wait = wait
	if line, err := c.lines.ReadString('\n'); err != nil {
		return nil, fmt.Errorf("wait said %q: %w", line, err)
	}
	if s.name == nameSteve && way != wayRetry {
		return c, allWait(ctx, c.server.path, n)
	}
	return c, nil
}

// stop ends all processes and the server.
func (c *crowd) stop() error {
	var err error
	if c.wait != nil {
		c.stdin.Close()
		err = c.wait.Wait()
	}
	return errors.Join(err, c.server.stop())
}

// slice lets the token go round for a time.
func (c *crowd) slice(d time.Duration) (t Turns, err error) {
	if _, err := fmt.Fprintln(c.stdin, d.Milliseconds()); err != nil {
		return t, err
	}
	line, err := c.lines.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, &t.Turns, &t.Reads, &t.Wakes, &t.Passed, &t.Used)
	}
	if err != nil {
		return t, fmt.Errorf("wait printed %q: %w", line, err)
	}
	return t, nil
}

// pause is between two looks at something that another process is to reach.
const pause = 20 * time.Millisecond

// allWait returns when n processes wait at the steve of path.
func allWait(ctx context.Context, path string, n int) error {
	conn, err := ctl.Open(path)
	if err != nil {
		return err
	}
	defer conn.Close()
	for ctx.Err() == nil {
		s, err := conn.Status()
		if err != nil || s.Waiters == n {
			return err
		}
		sleep(ctx, pause)
	}
	return ctx.Err()
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
