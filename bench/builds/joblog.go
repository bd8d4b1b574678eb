package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"steve/bench/chart"
)

// An event is the begin or the end of a job, which is one run of a compiler, see job/job.c.
type event struct {
	at    int64 // ns, CLOCK_MONOTONIC
	begin bool
	build int
}

// readJobs returns the events in a log in the order of their time. It is an error if a job in it has no end.
func readJobs(path string) ([]event, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var events []event
	balance := map[int]int{}
	for line := range strings.Lines(string(text)) {
		var what rune
		var e event
		var pid int
		if _, err := fmt.Sscanf(line, "%c %d %d %d\n", &what, &e.at, &pid, &e.build); err != nil {
			return nil, fmt.Errorf("line %q of the jobs: %w", line, err)
		}
		e.begin = what == 'b'
		balance[pid] += map[bool]int{true: 1, false: -1}[e.begin]
		events = append(events, e)
	}
	for pid, n := range balance {
		if n != 0 {
			return nil, fmt.Errorf("job %d has begun and not ended: it was killed", pid)
		}
	}
	slices.SortFunc(events, func(a, b event) int {
		if a.at == b.at && a.begin != b.begin { // one that ends makes room first
			return map[bool]int{true: 1, false: -1}[a.begin]
		}
		return cmp.Compare(a.at, b.at)
	})
	return events, nil
}

// Jobs says what the log of a run does.
type Jobs struct {
	Count []int   // of each build
	Peak  int     // at one time
	Mean  float64 // over the run
	first []int64 // begin of each build's first
	curve []chart.Point
}

// summary is of so many builds, from a begin to an end in ns. The curve is in seconds from the begin on.
func summary(events []event, builds int, from, to int64) Jobs {
	j := Jobs{Count: make([]int, builds), first: make([]int64, builds), curve: []chart.Point{{}}}
	running, last, sum := 0, from, 0.0
	for _, e := range events {
		sum += float64(running) * float64(e.at-last)
		last = e.at
		if !e.begin {
			running--
		} else {
			running++
			if j.Count[e.build]++; j.Count[e.build] == 1 {
				j.first[e.build] = e.at
			}
		}
		j.Peak = max(j.Peak, running)
		j.curve = append(j.curve, chart.Point{X: float64(e.at-from) / 1e9, Y: float64(running)})
	}
	j.Mean = sum / float64(to-from)
	return j
}
