package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Pair compares the servers in a take and a return, under so many clients.
type Pair struct {
	Clients int
	OneCPU  bool `json:",omitempty"` // clients and server share one processor
	Limit   []Sample
	Steve   []Sample // of the same rounds
}

// A Sample is one slice of one server: nanoseconds for a take and a return.
type Sample struct {
	Time float64 // that passed
	CPU  float64 // that the server used, user and system
}

func elapsed(s Sample) float64 { return s.Time }
func used(s Sample) float64    { return s.CPU }

// of returns the figure of every sample.
func of(figure func(Sample) float64, samples []Sample) []float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, figure(s))
	}
	return all
}

// ratio is the median of steve's figure by the C server's in the same round.
func (p Pair) ratio(figure func(Sample) float64) float64 {
	var ratios []float64
	for i := range p.Limit {
		ratios = append(ratios, figure(p.Steve[i])/figure(p.Limit[i]))
	}
	return median(ratios)
}

// median of at least one value.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// enough tokens that no client of a Pair ever waits.
const enough = 1000

func measurePairs(ctx context.Context, p programs, c Config) (pairs []Pair, err error) {
	limit, err := p.startLimit(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, limit.stop()) }()
	steve, err := p.startSteve(ctx, enough)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, steve.stop()) }()

	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	cpu := 0
	for !all.IsSet(cpu) {
		cpu++
	}
	one.Set(cpu)
	pairs = []Pair{{Clients: 1}, {Clients: 4}, {Clients: 1, OneCPU: true}, {Clients: 4, OneCPU: true}}
	for i := range pairs {
		pair := &pairs[i]
		cpus, prefix := &all, []string(nil)
		if pair.OneCPU {
			cpus, prefix = &one, []string{"taskset", "--cpu-list", strconv.Itoa(cpu)}
		}
		if err := errors.Join(limit.runOn(cpus), steve.runOn(cpus)); err != nil {
			return nil, err
		}
		subjects := []subject{{limit, &pair.Limit}, {steve, &pair.Steve}}
		for range c.Rounds {
			for _, s := range subjects {
				args := append(prefix, p.pair, s.server.path, strconv.Itoa(pair.Clients),
					strconv.FormatInt(c.Slice.Milliseconds(), 10), strconv.Itoa(s.server.pid))
				got, err := sample(ctx, args)
				if err != nil {
					return nil, err
				}
				*s.samples = append(*s.samples, got)
			}
			slices.Reverse(subjects) // to be first is no advantage
		}
	}
	return pairs, nil
}

// A subject is a server and where its samples go.
type subject struct {
	server  *server
	samples *[]Sample
}

// sample runs the program pair for one slice.
func sample(ctx context.Context, args []string) (Sample, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return Sample{}, fmt.Errorf("pair: %w", err)
	}
	var s Sample
	if _, err := fmt.Sscan(string(out), &s.Time, &s.CPU); err != nil {
		return Sample{}, fmt.Errorf("pair printed %q: %w", out, err)
	}
	return s, nil
}

// runOn confines all threads of s.
func (s *server) runOn(cpus *unix.CPUSet) error {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.pid))
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, cpus); err != nil && err != unix.ESRCH {
			return os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return nil
}
