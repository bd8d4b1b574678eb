package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"steve/bench/chart"
	"steve/internal/testkit/need"
)

// All regimes run for a moment and bring plausible figures.
func TestIntegrationBuildsSmoke(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	need.Tool(t, "gcc")
	need.Source(t, "zlib")
	for _, client := range []string{"make-4.4", "ninja-1.13", "cmake-3.31"} {
		need.Client(t, client)
	}
	dir := t.TempDir()
	if err := run(t.Context(), []string{"-quick", "-n", "2", "-results", dir}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "builds.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Regimes) != len(regimes) {
		t.Fatalf("%d regimes, want %d", len(r.Regimes), len(regimes))
	}
	for _, result := range r.Regimes {
		if result.Missing != "" {
			t.Logf("%s: %s", result.Name, result.Missing)
			continue
		}
		if len(result.Runs) != 1 {
			t.Fatalf("%s: %d runs", result.Name, len(result.Runs))
		}
		run := result.Runs[0]
		if run.Makespan <= 0 || run.Jobs.Mean <= 0 || run.FirstAlone <= 0 || run.FirstLate <= 0 || run.Memory <= 0 {
			t.Errorf("%s: %+v", result.Name, run)
		}
		if result.Name == "steve" && (run.Jobs.Peak > 2 || run.Held <= 0) {
			t.Errorf("%s: %d jobs at one time, %.2f tokens out", result.Name, run.Jobs.Peak, run.Held)
		}
	}
	if r.Alone == nil || len(r.Alone.Plain) != 1 || len(r.Alone.Stevie) != 1 || r.Alone.Plain[0].Time <= 0 || r.Alone.Stevie[0].Time <= 0 || r.Alone.Stevie[0].CPU <= 0 {
		t.Errorf("alone: %+v", r.Alone)
	}
	for _, name := range []string{"builds.svg", "builds-memory.svg"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal(text, new(struct{})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJobs(t *testing.T) {
	log := filepath.Join(t.TempDir(), "jobs")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Lines of different processes may be out of order.
	write("b 1000000000 7 1\nb 1500000000 8 0\ne 2500000000 8 0\ne 2000000000 7 1\nb 2500000000 9 1\ne 3000000000 9 1\n")
	events, err := readJobs(log)
	if err != nil {
		t.Fatal(err)
	}
	j := summary(events, 3, 1e9, 5e9)
	if !slices.Equal(j.Count, []int{1, 2, 0}) || j.Peak != 2 || j.Mean != 2.5/4 {
		t.Errorf("%+v", j)
	}
	if !slices.Equal(j.first, []int64{15e8, 1e9, 0}) {
		t.Errorf("first %v", j.first)
	}
	want := []chart.Point{{X: 0, Y: 0}, {X: 0, Y: 1}, {X: 0.5, Y: 2}, {X: 1, Y: 1}, {X: 1.5, Y: 0}, {X: 1.5, Y: 1}, {X: 2, Y: 0}}
	if !slices.Equal(j.curve, want) {
		t.Errorf("curve %v, want %v", j.curve, want)
	}
	for _, text := range []string{"b 1 7 0\n", "b 1 7\n", "x\n"} {
		write(text)
		if events, err := readJobs(log); err == nil {
			t.Errorf("%q is read as %v", text, events)
		}
	}
}

func TestOverheadIsPaired(t *testing.T) {
	o := Overhead{
		Plain:  []Alone{{Time: 10}, {Time: 100}, {Time: 20}, {Time: 10}, {Time: 10}},
		Stevie: []Alone{{Time: 11}, {Time: 120}, {Time: 60}, {Time: 10}, {Time: 5}},
	}
	r := o.ratios(elapsed)
	if !slices.Equal(r, []float64{0.5, 1, 1.1, 1.2, 3}) {
		t.Errorf("ratios %v", r)
	}
	if quartile(r, 1) != 1 || quartile(r, 3) != 1.2 {
		t.Errorf("quartiles %v, %v", quartile(r, 1), quartile(r, 3))
	}
}

func TestRotated(t *testing.T) {
	if got := rotated([]int{0, 1, 2}, 4); !slices.Equal(got, []int{1, 2, 0}) {
		t.Errorf("%v", got)
	}
}

// Every regime leaves a client's own arguments in their order.
func TestCommands(t *testing.T) {
	b := bench{jobs: 3, sites: make([]site, 2)}
	for _, test := range []struct {
		begin      func(bench) (*order, error)
		argv, want []string
	}{
		{ownJobs, []string{"make", "all"}, []string{"make", "-j3", "all"}},
		{ownJobs, []string{"cargo", "build"}, []string{"cargo", "build", "-j3"}},
		{loadLimit, []string{"ninja", "-C", "out"}, []string{"ninja", "-l3", "-j3", "-C", "out"}},
		{loadLimit, []string{"cargo", "build"}, []string{"cargo", "build", "-j3"}},
	} {
		o, err := test.begin(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.command(1, test.argv); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.argv, got, test.want)
		}
	}
}
