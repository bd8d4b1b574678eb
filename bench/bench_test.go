package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"steve/internal/testkit/need"
)

// Every benchmark runs for a moment and brings plausible figures.
func TestIntegrationBenchSmoke(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	need.Tool(t, "cc")
	need.Tool(t, "taskset")
	dir := t.TempDir()
	if err := run(t.Context(), []string{"-quick", "-results", dir}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Pairs) != 4 || len(r.Waiters) != 2 {
		t.Fatalf("%d pairs and %d waitings, want 4 and 2", len(r.Pairs), len(r.Waiters))
	}
	for _, p := range r.Pairs {
		for _, samples := range [][]Sample{p.Limit, p.Steve} {
			if len(samples) != 1 || samples[0].Time <= 0 || samples[0].CPU <= 0 {
				t.Errorf("%d clients: samples %v", p.Clients, samples)
			}
		}
	}
	for _, w := range r.Waiters {
		if w.Turns < minTurns || w.Wakes < w.Turns || w.TurnTime <= 0 || w.Resident <= 0 || w.Threads <= 0 {
			t.Errorf("waiting %+v", w)
		}
	}
}

func TestRatioIsPaired(t *testing.T) {
	p := Pair{
		Limit: []Sample{{Time: 10}, {Time: 100}, {Time: 20}},
		Steve: []Sample{{Time: 11}, {Time: 120}, {Time: 60}},
	}
	if got := p.ratio(elapsed); got != 1.2 {
		t.Errorf("the median of 1.1, 1.2 and 3 is %v", got)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("the median of 1 to 4 is %v", got)
	}
}
