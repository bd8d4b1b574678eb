package main

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"steve/internal/testkit/need"
)

// TestMain lets a guest run its part of the benchmarks by the test binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == inGuest {
		main()
		return
	}
	os.Exit(m.Run())
}

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
	var r Report
	if err := readJSON(filepath.Join(dir, "bench.json"), &r); err != nil {
		t.Fatal(err)
	}
	for _, file := range append(slices.Collect(maps.Keys(r.files())), "bench.json") {
		if text, err := os.ReadFile(filepath.Join(dir, file)); err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", file, len(text), err)
		}
	}
	host := []string{nameC, nameSteve, nameNoJournal, nameLibfuse, nameLoop, nameGoFUSE, nameFIFO}
	if len(r.Pairs.Settings) != len(clientCounts)+4 {
		t.Errorf("%d settings on the host, want %d", len(r.Pairs.Settings), len(clientCounts)+4)
	}
	checkSettings(t, r.Pairs.Settings, host, r.Pairs.Missing)
	for _, s := range r.Pairs.Settings {
		for _, name := range s.names() {
			if cpu := s.of(name, used); (slices.Min(cpu) > 0) == (name == nameFIFO) { // a guest's clock is too coarse for this
				t.Errorf("%d clients: %s used %v ns", s.Clients, name, cpu)
			}
		}
	}
	switch cuse := r.Pairs.CUSE; {
	case cuse != nil && len(cuse.Settings) == 3:
		checkSettings(t, cuse.Settings, []string{nameC, nameSteve, nameLibfuse, nameLoop}, r.Pairs.Missing)
	case cuse != nil || len(r.Pairs.Missing) == 0:
		t.Errorf("in the guest: %+v", cuse)
	}
	checkWaiting(t, r.Waiting)
	checkIdle(t, r.Idle)
	for _, what := range r.Pairs.Missing { // after all the rest has been looked at
		need.Missing(t, what)
	}
}

// checkSettings wants all subjects in quiet settings, and a plausible sample of each.
func checkSettings(t *testing.T, settings []Setting, subjects, missing []string) {
	t.Helper()
	want := slices.DeleteFunc(slices.Clone(subjects), func(name string) bool {
		return slices.ContainsFunc(missing, func(m string) bool {
			what, _, _ := strings.Cut(m, ":")
			return strings.HasPrefix(name, what) // what is left out with libfuse begins with it
		})
	})
	for _, s := range settings {
		if s.quiet() && !slices.Equal(s.names(), want) {
			t.Errorf("%d clients: subjects %q, want %q", s.Clients, s.names(), want)
		}
		for _, subject := range s.Subjects {
			if len(subject.Samples) != 1 || subject.Samples[0].Time <= 0 {
				t.Errorf("%d clients: %s has %v", s.Clients, subject.Subject, subject.Samples)
			}
		}
	}
}

// Every subject has every place in the order, and every other one before it as often as after it.
func TestOrder(t *testing.T) {
	const n = 6
	first, before := [n]int{}, [n][n]int{}
	for round := range 2 * n {
		all := order(n, round)
		first[all[0]]++
		for i, a := range all {
			for _, b := range all[i+1:] {
				before[a][b]++
			}
		}
	}
	for a := range n {
		if first[a] != 2 {
			t.Errorf("%d is first %d times of %d, want 2", a, first[a], 2*n)
		}
		for b := range n {
			if a != b && before[a][b] != n {
				t.Errorf("%d is before %d %d times of %d", a, b, before[a][b], 2*n)
			}
		}
	}
}

// Rounds in which nothing can be divided by do not count.
func TestRatio(t *testing.T) {
	s := Setting{Subjects: []Samples{
		{"a", []Sample{{1, 5}, {1, 2}, {1, 9}}},
		{"b", []Sample{{1, 0}, {1, 2}, {1, 3}}},
		{"c", []Sample{{1, 0}, {1, 0}, {1, 0}}},
	}}
	if got := s.ratio("a", "b", used); got != 2 {
		t.Errorf("the median of 1 and 3 is %v", got)
	}
	for _, by := range []string{"c", "nobody"} {
		if got := s.ratio("a", by, used); !math.IsNaN(got) {
			t.Errorf("by %s: %v", by, got)
		}
	}
}

// A goal that is missed is marked, one that is met is not, and what was not measured is a dash.
func TestPairsReport(t *testing.T) {
	samples := func(name string, time, cpu float64) Samples { return Samples{name, []Sample{{time, cpu}, {time, cpu}}} }
	some := []Samples{samples(nameC, 10e3, 5e3), samples(nameSteve, 10e3, 6e3), samples(nameNoJournal, 9e3, 6e3), samples(nameLibfuse, 20e3, 9e3)}
	p := Pairs{
		Missing: []string{"go-fuse: not there"},
		Settings: []Setting{
			{Clients: 1, Subjects: append(slices.Clone(some), samples(nameFIFO, 1e3, 0))},
			{Clients: 4, Hogs: 4, Subjects: []Samples{samples(nameBeside, 100e3, 5e3), samples(nameC, 80e3, 5e3), samples(nameSteve, 50e3, 9e3)}},
			{Clients: 4, OneCPU: true, Subjects: some},
		},
		CUSE: &Guest{Settings: []Setting{{Clients: 16, Subjects: some[:2]}}},
	}
	var b strings.Builder
	p.markdown(&b)
	for _, line := range []string{
		"Left out: go-fuse: not there.",
		"| 1 | 1.00 | 0.50 | 1.20 (missed) | 2.00 | 1.80 | – | – | – | – | 0.10 |",
		"| 1 | 10.0 (10.0); 5.0 | 10.0 (10.0); 6.0 | 9.0 (9.0); 6.0 | 20.0 (20.0); 9.0 | 1.0 (1.0) |",
		"| 4 | 0.50 | – | 1.80 | 0.80 | 1.00 | – | – | – | – |",
		"| 4 | 1.00 | 0.50 | 1.20 | 2.00 | 1.80 | – | – |",
		"by that without, over all rounds: 1.111 (missed).",
		"| 16 | 1.00 | – | 1.20 (missed) | – | – | – | – |",
	} {
		if !strings.Contains(b.String(), line+"\n") && !strings.Contains(b.String(), line+" Goal") {
			t.Errorf("the report has no %q:\n%s", line, b.String())
		}
	}
	if n := len(p.charts()); n != 4 {
		t.Errorf("%d charts, want 4", n)
	}
}
