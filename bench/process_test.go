package main

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTimed(t *testing.T) {
	for _, test := range []struct {
		name string
		call string
		want bool
	}{
		{"runs", "running\n", false},
		{"waits in no call", "-1 0x7ffd0000 0x401000\n", false},
		{"futex", fmt.Sprintf("%d 0x7b7920 0x80 0x0 0x0 0x0 0x0 0x7f 0x401000\n", unix.SYS_FUTEX), false},
		{"futex, a minute", fmt.Sprintf("%d 0x798d20 0x80 0x0 0x91478e69ea0 0x0 0x0 0x7f 0x401000\n", unix.SYS_FUTEX), true},
		{"ppoll", fmt.Sprintf("%d 0x91478f0ef38 0x3 0x0 0x0 0x0 0x0 0x7f 0x401000\n", unix.SYS_PPOLL), false},
		{"ppoll, timed", fmt.Sprintf("%d 0x91478f0ef38 0x3 0xc000012340 0x0 0x0 0x0 0x7f 0x401000\n", unix.SYS_PPOLL), true},
		{"epoll", fmt.Sprintf("%d 0xb 0x91478eb96fc 0x80 0xffffffffffffffff 0x0 0x0 0x7f 0x401000\n", unix.SYS_EPOLL_PWAIT), false},
		{"epoll, timed", fmt.Sprintf("%d 0xb 0x91478eb96fc 0x80 0x3e8 0x0 0x0 0x7f 0x401000\n", unix.SYS_EPOLL_PWAIT), true},
		{"nanosleep", fmt.Sprintf("%d 0xc000012340 0x0 0x0 0x0 0x0 0x0 0x7f 0x401000\n", unix.SYS_NANOSLEEP), true},
		{"read", fmt.Sprintf("%d 0x3 0xc000012340 0x1 0x1 0x0 0x0 0x7f 0x401000\n", unix.SYS_READ), false},
	} {
		if got := timed(test.call); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestField(t *testing.T) {
	const text = "Threads:\t7\nVmHWM:\t    4776 kB\nvoluntary_ctxt_switches:\t38\nnonvoluntary_ctxt_switches:\t3\n"
	for name, want := range map[string]int{"Threads": 7, "VmHWM": 4776, "voluntary_ctxt_switches": 38, "nonvoluntary_ctxt_switches": 3} {
		if got, err := field(text, name); err != nil || got != want {
			t.Errorf("%s is %d, %v, want %d", name, got, err, want)
		}
	}
	if _, err := field(text, "VmRSS"); err == nil {
		t.Error("no error for a field that is not there")
	}
}

// The kernel's own texts can be read.
func TestThreads(t *testing.T) {
	threads, err := process(os.Getpid()).threads()
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, thread := range threads {
		used += thread.used
	}
	if len(threads) == 0 || used <= 0 {
		t.Errorf("%d threads used %d ns", len(threads), used)
	}
}

func TestBetween(t *testing.T) {
	before := map[int]thread{1: {5, 1, 100, false}, 2: {7, 0, 50, true}}
	after := map[int]thread{1: {6, 1, 130, false}, 2: {9, 1, 60, true}, 3: {2, 0, 5, false}}
	want := IdleProcess{Name: "worker", Threads: 3, Timed: 1, Voluntary: 5, Involuntary: 1, TimedSwitches: 3, Used: 45}
	if got := between("worker", before, after); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
