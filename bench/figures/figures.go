// Package figures is what all benchmarks share: where figures were taken, and how samples of a noisy machine become one.
// How figures are taken, and how they are drawn, does not belong here.
package figures

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Machine is where figures were taken.
type Machine struct {
	Kernel, Processor, Go string
	Processors            int
	Load                  string // before: one, five and fifteen minutes
}

// This is the machine that the program runs on. What cannot be found out is "unknown", or empty.
func This() Machine {
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

// String is one line for people, without a full stop.
func (m Machine) String() string {
	plural := "s"
	if m.Processors == 1 {
		plural = ""
	}
	return fmt.Sprintf("%s, %d processor%s, Linux %s, %s, load before %s", m.Processor, m.Processors, plural, m.Kernel, m.Go, m.Load)
}

// Median of at least one value.
func Median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// Ratio is the median of of[i] / by[i]. The two, of one length, were taken in the same rounds, so that what slows the
// machine for a while slows both.
func Ratio(of, by []float64) float64 {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i] / by[i]
	}
	return Median(ratios)
}

// Met is what follows a figure that has a goal in a report.
func Met(ok bool) string {
	if ok {
		return ""
	}
	return " (missed)"
}
