package steved

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// workerName is the name of a worker's process, as in /proc/PID/comm.
const workerName = "steve-worker"

// unnamed is the name of one that is just being started.
const unnamed = "exe"

// Workers returns the living workers of a keeper: mostly one, none while there is an outage, two during an upgrade.
func Workers(keeper int) []int {
	// A thread has the children that it started.
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", keeper))
	var workers []int
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		for _, field := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(field)
			if name, _ := process(pid); (name == workerName || name == unnamed) && !Ended(pid) {
				workers = append(workers, pid)
			}
		}
	}
	return workers
}

// Worker returns the process that serves for the steve that was started as keeper, 0 if there is none at the moment.
func Worker(keeper int) int {
	for _, pid := range Workers(keeper) {
		return pid
	}
	return 0
}

// Kill kills the steve that was started as keeper with all that would go on in its place. It may be stopped.
func Kill(keeper int) {
	unix.Kill(keeper, unix.SIGSTOP) // it starts no other
	for worker := Worker(keeper); worker != 0; worker = Worker(keeper) {
		unix.Kill(worker, unix.SIGSTOP) // it does not take the other's place
		unix.Kill(keeper, unix.SIGKILL)
		unix.Kill(worker, unix.SIGKILL)
	}
	unix.Kill(keeper, unix.SIGKILL)
}

// AwaitWorker returns the worker of a keeper when there is one other than old.
func AwaitWorker(ctx context.Context, keeper, old int) (int, error) {
	for {
		for _, pid := range Workers(keeper) {
			if pid != old {
				return pid, nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("steve %d has no other worker than %d: %w", keeper, old, ctx.Err())
		case <-time.After(200 * time.Microsecond):
		}
	}
}

// KillEvery kills the worker of a keeper after each interval until ctx is done, and returns how many it killed.
func KillEvery(ctx context.Context, keeper int, interval time.Duration) (kills int, err error) {
	worker := 0
	for ticks := time.NewTicker(interval); ; kills++ {
		select {
		case <-ctx.Done():
			ticks.Stop()
			return kills, nil
		case <-ticks.C:
		}
		limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		worker, err = AwaitWorker(limit, keeper, worker)
		cancel()
		if err != nil {
			return kills, err
		}
		if err := unix.Kill(worker, unix.SIGKILL); err != nil {
			return kills, fmt.Errorf("kill %d: %w", worker, err)
		}
	}
}

// State returns the state of a process or thread as in proc_pid_stat(5), 0 if it is gone.
func State(pid int) byte {
	_, state := process(pid)
	return state
}

// Ended says whether a process has ended, be it that nobody has waited for it yet.
func Ended(pid int) bool {
	state := State(pid)
	return state == 0 || state == 'Z' || state == 'X'
}

// process returns the name and the state of a process.
func process(pid int) (name string, state byte) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if err != nil || open < 0 || end+2 >= len(text) {
		return "", 0
	}
	return string(text[open+1 : end]), text[end+2]
}
