package main

import (
	"strings"
	"testing"

	"steve/bench/figures"
)

// checkWaiting wants a plausible slice of each crowd of a quick run.
func checkWaiting(t *testing.T, w Waiting) {
	t.Helper()
	for _, way := range []string{wayRead, wayPoll, wayRetry} {
		crowds := w.crowds(nameSteve, way)
		if len(crowds) != len(quick.Waiters) {
			t.Errorf("%d crowds of steve in %s, want %d", len(crowds), way, len(quick.Waiters))
		}
		for _, c := range crowds {
			if c.Memory == nil || c.Memory.Worker <= 0 || c.Memory.Keeper <= 0 || c.Memory.Share <= 0 || c.Memory.Threads <= 0 {
				t.Errorf("memory in %s: %+v", way, c.Memory)
			}
		}
	}
	if len(w.crowds(nameC, wayRead)) != len(quick.Waiters) {
		t.Error("nobody waited at the C server")
	}
	for _, c := range w.Crowds {
		if len(c.Slices) != quick.Rounds {
			t.Fatalf("%s, %d in %s: %d slices", c.Server, c.Waiters, c.Way, len(c.Slices))
		}
		for _, s := range c.Slices {
			if s.Turns <= 0 || s.Reads < s.Turns || s.Passed < float64(quick.Slice) || s.Used <= 0 ||
				c.Way != wayRetry && s.Wakes < s.Turns {
				t.Errorf("%s, %d in %s: %+v", c.Server, c.Waiters, c.Way, s)
			}
		}
	}
}

// checkIdle wants a worker and a keeper of each steve.
func checkIdle(t *testing.T, i Idle) {
	t.Helper()
	if len(i.Steves) != 2 || i.Steves[0].Waiters != 0 || i.Steves[1].Waiters == 0 {
		t.Fatalf("idle: %+v", i)
	}
	for _, s := range i.Steves {
		if s.Memory == nil || s.Memory.Worker <= 0 || len(s.Processes) != 2 {
			t.Errorf("idle: %+v", s)
		}
		for _, p := range s.Processes {
			if p.Threads <= 0 || p.Timed > p.Threads {
				t.Errorf("idle: %+v", p)
			}
		}
	}
}

// A crowd of 10,000 costs half as much again in every round, as a slow machine must not hide.
var waiting = Waiting{Crowds: []*Crowd{
	{Server: nameSteve, Way: wayRead, Waiters: 10, Memory: &Memory{Worker: 5 << 10, Peak: 17 << 10}, Slices: []Turns{
		{Turns: 10, Reads: 10, Wakes: 10, Passed: 1000, Used: 500},
		{Turns: 10, Reads: 10, Wakes: 10, Passed: 9000, Used: 4500},
	}},
	{Server: nameSteve, Way: wayRead, Waiters: 10_000, Slices: []Turns{
		{Turns: 10, Reads: 10, Wakes: 10, Passed: 1600, Used: 750},
		{Turns: 5, Reads: 10, Wakes: 15, Passed: 7200, Used: 3375},
	}},
	{Server: nameC, Way: wayRead, Waiters: 10, Slices: []Turns{{Turns: 1, Passed: 50, Used: 25}, {Turns: 1, Passed: 450, Used: 225}}},
}}

func TestGrowthIsPaired(t *testing.T) {
	steve := waiting.crowds(nameSteve, wayRead)
	if len(steve) != 2 || len(waiting.crowds(nameC, wayPoll)) != 0 {
		t.Fatalf("crowds of steve: %v", steve)
	}
	few, many := steve[0], steve[1]
	if got := many.ratio(few, Turns.passed); got != 1.6 {
		t.Errorf("time grows %v, want 1.6", got)
	}
	if got := many.ratio(few, Turns.used); got != 1.5 {
		t.Errorf("CPU grows %v, want 1.5", got)
	}
	if got := few.ratio(waiting.crowds(nameC, wayRead)[0], Turns.passed); got != 2 {
		t.Errorf("%v of C, want 2", got)
	}
	if got := many.wakes(); got != 25.0/15 {
		t.Errorf("%v wake-ups, want 25/15", got)
	}
}

// A goal that is missed says so, and nothing else does.
func TestWaitingGoals(t *testing.T) {
	var b strings.Builder
	waiting.markdown(&b)
	missed := figures.Met(false)
	for _, want := range []string{"| 1.50 | 1.60" + missed, "17.0 MiB" + missed} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), missed); n != 2 {
		t.Errorf("%d goals missed, want 2:\n%s", n, b.String())
	}
}

// A slice in which nobody got the token costs at least as much as it lasted.
func TestNoTurnIsNotFree(t *testing.T) {
	if got := (Turns{Passed: 100, Used: 10}); got.passed() != 100 || got.used() != 10 {
		t.Errorf("%v and %v", got.passed(), got.used())
	}
}
