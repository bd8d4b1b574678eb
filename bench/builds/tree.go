package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// adopt makes this program the parent of what outlives its own parent among its descendants, so that none gets lost.
func adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// tree appends the descendants of a process, itself among them. They are what the processes and their threads say when they
// are asked one after the other: one that is just started may be missing.
func tree(pids []int, pid int) []int {
	pids = append(pids, pid)
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return pids // it has ended
	}
	for _, thread := range threads {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, thread.Name()))
		for _, field := range bytes.Fields(text) {
			if child, err := strconv.Atoi(string(field)); err == nil {
				pids = tree(pids, child)
			}
		}
	}
	return pids
}

// killTree kills all descendants of this program but those of a spared child, and returns when they have ended.
func killTree(spared int) {
	for {
		var kept []int
		if spared != 0 {
			kept = tree(nil, spared)
		}
		living := 0
		for _, pid := range tree(nil, os.Getpid())[1:] {
			if !slices.Contains(kept, pid) && !ended(pid) {
				living++
				unix.Kill(pid, unix.SIGKILL)
			}
		}
		if living == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// ended says whether a process has, be it that nobody has waited for it.
func ended(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	at := bytes.LastIndexByte(text, ')') // proc_pid_stat(5)
	return err != nil || at < 0 || at+2 >= len(text) || text[at+2] == 'Z' || text[at+2] == 'X'
}

// anonymous is the resident anonymous memory of processes, in bytes. Each page is counted once, unless it is shared between
// a process and one that it has forked.
func anonymous(pids []int) (n int64) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)) // proc_pid_statm(5): pages: size, resident, shared, …
		fields := bytes.Fields(text)
		if err != nil || len(fields) < 3 {
			continue // it has ended
		}
		resident, _ := strconv.ParseInt(string(fields[1]), 10, 64)
		shared, _ := strconv.ParseInt(string(fields[2]), 10, 64)
		n += resident - shared
	}
	return n * int64(os.Getpagesize())
}

// A sample is what there was at a moment, in seconds from the begin of a run.
type sample struct {
	at     float64
	memory int64 // bytes, of all builds
	held   int   // tokens
}

// sampling takes samples of the builds' processes until ctx is done.
func sampling(ctx context.Context, from int64, interval time.Duration, roots func() []int, o *order) ([]sample, error) {
	var samples []sample
	for ticks := time.NewTicker(interval); ; {
		select {
		case <-ctx.Done():
			ticks.Stop()
			return samples, nil
		case <-ticks.C:
		}
		s := sample{at: float64(monotonic()-from) / 1e9}
		var pids []int
		for _, pid := range roots() {
			pids = tree(pids, pid)
		}
		s.memory = anonymous(pids)
		if o.held != nil {
			var err error
			if s.held, err = o.held(); err != nil {
				return nil, err
			}
		}
		samples = append(samples, s)
	}
}

// monotonic is CLOCK_MONOTONIC in ns.
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // Linux has that clock
	}
	return now.Nano()
}

// idleTime is what the machine's processors have been idle since boot, waiting for disks or not, and what the machine under
// a virtual one took from it.
func idleTime() (idle, stolen time.Duration, err error) {
	text, err := os.ReadFile("/proc/stat") // proc_stat(5): cpu user nice system idle iowait irq softirq steal …
	if err != nil {
		return 0, 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 9 {
		return 0, 0, fmt.Errorf("/proc/stat begins %q", text[:min(len(text), 80)])
	}
	var ticks [9]int64
	for i := 1; i < 9; i++ {
		if ticks[i], err = strconv.ParseInt(string(fields[i]), 10, 64); err != nil {
			return 0, 0, fmt.Errorf("/proc/stat: %w", err)
		}
	}
	const tick = time.Second / 100 // USER_HZ, on every architecture that Go has
	return time.Duration(ticks[4]+ticks[5]) * tick, time.Duration(ticks[8]) * tick, nil
}
