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
	"strconv"
	"strings"
	"time"

	"steve/internal/ctl"
)

// A Waiting is steve with many processes that wait for its one token.
type Waiting struct {
	Way     string // read or poll
	Waiters int
	// Of steve while all wait:
	Resident  int // KiB
	Anonymous int // KiB of it that are not pages of the program's file
	Threads   int
	// Voluntary context switches of all its threads in Config.Idle, while all wait.
	IdleSwitches int
	// The token then goes from one to the next.
	Turns, Wakes int
	TurnTime     float64 // ns that pass
	TurnCPU      float64 // ns that steve uses
	Peak         int     // KiB that were ever resident
}

// minTurns makes TurnTime last long enough to mean something.
const minTurns = 2000

func measureWaiters(ctx context.Context, p programs, c Config, way string, n int) (w Waiting, err error) {
	steve, err := p.startSteve(ctx, 1)
	if err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, steve.stop()) }()
	cmd := exec.CommandContext(ctx, p.wait, steve.path, way, strconv.Itoa(n), strconv.Itoa(max(minTurns, 2*n)))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return w, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return w, err
	}
	if err := cmd.Start(); err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, cmd.Wait()) }()
	defer stdin.Close()
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); err != nil {
		return w, fmt.Errorf("wait said %q: %w", line, err)
	}
	if err := allWait(ctx, steve.path, n); err != nil {
		return w, err
	}
	w = Waiting{Way: way, Waiters: n}
	if w.IdleSwitches, err = steve.idle(ctx, c.Idle); err != nil {
		return w, err
	}
	for field, value := range map[string]*int{"VmRSS": &w.Resident, "RssAnon": &w.Anonymous, "Threads": &w.Threads} {
		if *value, err = status(strconv.Itoa(steve.pid), field); err != nil {
			return w, err
		}
	}
	before, err := steve.cpuTime()
	if err != nil {
		return w, err
	}
	if _, err := io.WriteString(stdin, "\n"); err != nil {
		return w, err
	}
	line, err := lines.ReadString('\n')
	if err != nil {
		return w, fmt.Errorf("wait said %q: %w", line, err)
	}
	after, err := steve.cpuTime()
	if err != nil {
		return w, err
	}
	if _, err := fmt.Sscan(line, &w.Turns, &w.Wakes, &w.TurnTime); err != nil {
		return w, fmt.Errorf("wait printed %q: %w", line, err)
	}
	w.TurnCPU = float64(after-before) / float64(w.Turns)
	w.Peak, err = status(strconv.Itoa(steve.pid), "VmHWM")
	return w, err
}

// pause is between two looks at something that another process is to reach.
const pause = 20 * time.Millisecond

// allWait returns when n processes wait.
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
		time.Sleep(pause)
	}
	return ctx.Err()
}

// A server that was still for so long has done what it had to; one that never is so is measured after settleLimit.
const (
	settled     = 250 * time.Millisecond
	settleLimit = 10 * time.Second
)

// idle returns how often the threads of s went to sleep in a period, once what it had to do is done.
func (s *server) idle(ctx context.Context, period time.Duration) (int, error) {
	before, err := s.switches()
	for waited := settled; err == nil && waited <= settleLimit; waited += settled {
		last := before
		sleep(ctx, settled)
		if before, err = s.switches(); before == last {
			break
		}
	}
	if err != nil {
		return 0, err
	}
	sleep(ctx, period)
	after, err := s.switches()
	return after - before, err
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// switches is the number of voluntary context switches of all threads.
func (s *server) switches() (int, error) {
	return s.sum(func(thread string) (int, error) { return status(thread, "voluntary_ctxt_switches") })
}

// cpuTime is the processor time of all threads, in nanoseconds.
func (s *server) cpuTime() (int, error) {
	return s.sum(func(thread string) (int, error) {
		text, err := os.ReadFile("/proc/" + thread + "/schedstat")
		if err != nil {
			return 0, err
		}
		time, _, _ := strings.Cut(string(text), " ")
		return strconv.Atoi(time)
	})
}

// sum adds up a figure of all threads, named as below /proc.
func (s *server) sum(figure func(thread string) (int, error)) (int, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", s.pid))
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, t := range threads {
		n, err := figure(strings.TrimPrefix(t, "/proc/"))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// status is a number from /proc/PROCESS/status.
func status(process, field string) (int, error) {
	text, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strconv.Atoi(strings.Fields(value)[0])
		}
	}
	return 0, fmt.Errorf("/proc/%s/status has no %s", process, field)
}
