package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Report is all figures of a run.
type Report struct {
	Machine Machine
	Config  Config
	Pairs   []Pair
	Waiters []Waiting
}

// A Machine is where they were taken.
type Machine struct {
	Kernel, Processor, Go string
	Processors            int
	Load                  string // before: one, five and fifteen minutes
}

func thisMachine() Machine {
	m := Machine{Go: runtime.Version(), Processors: runtime.NumCPU(), Processor: "unknown"}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	cpus, _ := os.ReadFile("/proc/cpuinfo") // without it the processor is unknown
	for line := range strings.Lines(string(cpus)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			m.Processor = strings.TrimSpace(value)
			break
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	if words := strings.Fields(string(load)); len(words) > 3 {
		m.Load = strings.Join(words[:3], " ")
	}
	return m
}

// The goals.
const (
	goalRatio    = 1.3 // of Pair, in time, by the C server
	goalResident = 16  // MiB
	goalWakes    = 1.2 // for one turn of a poller
)

// Markdown is the report for people.
func (r Report) Markdown() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%s, %d processors, Linux %s, %s, load before %s.\n\n", m.Processor, m.Processors, m.Kernel, m.Go, m.Load)
	fmt.Fprintf(&b, "## A take and a return\n\nMedians of %d rounds of %v. Goal: time ≤ %.1f × the C server's with 1 and 4 clients.\n\n",
		r.Config.Rounds, r.Config.Slice, goalRatio)
	b.WriteString("| clients | time, of C | server CPU, of C | C: median (least) | its CPU | steve: median (least) | its CPU |\n")
	b.WriteString("|---|---|---|---|---|---|---|\n")
	for _, p := range r.Pairs {
		place, verdict := "", met(p.ratio(elapsed) <= goalRatio)
		if p.OneCPU {
			place, verdict = ", one processor", ""
		}
		fmt.Fprintf(&b, "| %d%s | %.2f%s | %.2f |", p.Clients, place, p.ratio(elapsed), verdict, p.ratio(used))
		for _, samples := range [][]Sample{p.Limit, p.Steve} {
			times := of(elapsed, samples)
			fmt.Fprintf(&b, " %.1f (%.1f) µs | %.1f µs |", median(times)/1e3, slices.Min(times)/1e3, median(of(used, samples))/1e3)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\n## Waiting\n\nGoals: resident ≤ %d MiB, no context switch in %v of waiting, at most %.1f wake-ups for a turn of pollers.\n\n",
		goalResident, r.Config.Idle, goalWakes)
	b.WriteString("| waiters | resident (anonymous) | at most | threads | switches while idle | wake-ups for a turn | one turn | its server CPU |\n|---|---|---|---|---|---|---|---|\n")
	for _, w := range r.Waiters {
		wakes := float64(w.Wakes) / float64(w.Turns)
		fmt.Fprintf(&b, "| %d in %s | %.1f (%.1f) MiB | %.1f MiB%s | %d | %d%s | %.3f%s | %.1f µs | %.1f µs |\n", w.Waiters, w.Way,
			mib(w.Resident), mib(w.Anonymous), mib(w.Peak), met(w.Peak <= goalResident*1024), w.Threads,
			w.IdleSwitches, met(w.IdleSwitches == 0), wakes, met(wakes <= goalWakes), w.TurnTime/1e3, w.TurnCPU/1e3)
	}
	return b.String()
}

func mib(kib int) float64 { return float64(kib) / 1024 }

// met is what follows a figure with a goal.
func met(ok bool) string {
	if ok {
		return ""
	}
	return " (missed)"
}
