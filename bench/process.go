package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Memory is what the processes of a steve take, in KiB.
type Memory struct {
	Worker, Keeper int // resident, pages of the program's file included (VmRSS)
	Peak           int // most that was ever resident in the worker (VmHWM)
	Share          int // of both: pages that several processes have count for each by its share (Pss)
	Threads        int // of the worker
}

// memory is for a steve.
func (s *server) memory() (*Memory, error) {
	worker, keeper := process(s.pid), process(s.cmd.Process.Pid)
	var m Memory
	var shares [2]int
	for _, f := range []struct {
		p           process
		file, field string
		value       *int
	}{
		{worker, "status", "VmRSS", &m.Worker},
		{worker, "status", "VmHWM", &m.Peak},
		{worker, "status", "Threads", &m.Threads},
		{keeper, "status", "VmRSS", &m.Keeper},
		{worker, "smaps_rollup", "Pss", &shares[0]},
		{keeper, "smaps_rollup", "Pss", &shares[1]},
	} {
		text, err := f.p.read(f.file)
		if err != nil {
			return nil, err
		}
		if *f.value, err = field(text, f.field); err != nil {
			return nil, err
		}
	}
	m.Share = shares[0] + shares[1]
	return &m, nil
}

// A process is its id.
type process int

func (p process) read(file string) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p, file))
	return string(text), err
}

// A thread is what the kernel has counted of one.
type thread struct {
	voluntary, involuntary int // context switches
	used                   int // ns of processor time
	timed                  bool
}

// threads are all of p, by their ids.
func (p process) threads() (map[int]thread, error) {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", p))
	if err != nil {
		return nil, err
	}
	all := map[int]thread{}
	for _, name := range names {
		tid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			return nil, err
		}
		var text [3]string
		for i, file := range []string{"status", "schedstat", "syscall"} {
			if text[i], err = p.read(filepath.Join("task", filepath.Base(name), file)); err != nil {
				return nil, err
			}
		}
		t := thread{timed: timed(text[2])}
		if t.voluntary, err = field(text[0], "voluntary_ctxt_switches"); err != nil {
			return nil, err
		}
		if t.involuntary, err = field(text[0], "nonvoluntary_ctxt_switches"); err != nil {
			return nil, err
		}
		used, _, _ := strings.Cut(text[1], " ")
		if t.used, err = strconv.Atoi(used); err != nil {
			return nil, err
		}
		all[tid] = t
	}
	return all, nil
}

// field is the number after a name in a text of lines such as /proc/PID/status.
func field(text, name string) (int, error) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			word, _, _ := strings.Cut(strings.TrimSpace(value), " ")
			return strconv.Atoi(word)
		}
	}
	return 0, fmt.Errorf("there is no %s in %.20q", name, text)
}

// timed says whether the system call that a thread is in, as /proc/PID/task/TID/syscall tells, ends by itself some time.
// It knows those that the Go runtime and steve sleep in.
func timed(call string) bool {
	words := strings.Fields(call)
	number := func(i int) uint64 {
		n, _ := strconv.ParseUint(words[i], 0, 64) // what is no number is not asked for
		return n
	}
	if len(words) < 7 { // it runs
		return false
	}
	const arguments = 1
	switch number(0) {
	case unix.SYS_FUTEX:
		return number(arguments+3) != 0 // a timespec
	case unix.SYS_PPOLL:
		return number(arguments+2) != 0
	case unix.SYS_EPOLL_PWAIT:
		return int32(number(arguments+3)) >= 0 // milliseconds, -1 for ever
	}
	return slices.Contains([]uint64{unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_RESTART_SYSCALL}, number(0))
}
