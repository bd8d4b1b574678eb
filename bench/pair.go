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

// Pairs compares subjects in a take and a return of a token.
type Pairs struct {
	Settings []Setting
	// CUSE is the same in a guest, on its one processor; nil if there was none.
	CUSE *Guest `json:",omitempty"`
	// Missing is what was left out, and why.
	Missing []string `json:",omitempty"`
}

// A Setting is under what subjects were compared.
type Setting struct {
	Clients  int
	OneCPU   bool `json:",omitempty"` // clients and server share one processor
	Hogs     int  `json:",omitempty"` // processes that do nothing but use a processor
	Subjects []Samples
}

// Samples are those of one subject, one of each round.
type Samples struct {
	Subject string
	Samples []Sample
}

// A Sample is one slice of one subject: nanoseconds for a take and a return.
type Sample struct {
	Time float64 // that passed
	CPU  float64 `json:",omitempty"` // that the server used, user and system; 0 if there is none
}

func elapsed(s Sample) float64 { return s.Time }
func used(s Sample) float64    { return s.CPU }

// of returns a figure of every sample of a subject, nil if it was not measured.
func (s Setting) of(name string, figure func(Sample) float64) []float64 {
	var all []float64
	for _, subject := range s.Subjects {
		if subject.Subject == name {
			for _, sample := range subject.Samples {
				all = append(all, figure(sample))
			}
		}
	}
	return all
}

// Clients at a time.
var clientCounts = []int{1, 2, 4, 16}

// hogs are what a build looks like to a machine with few processors.
const hogs = 4

// measurePairs is the part on the host.
func measurePairs(ctx context.Context, p programs, c Config, pairs *Pairs) (err error) {
	subjects := onHost(p)
	busySubjects := besideHogs(p, subjects)
	var quiet, busy, alone []Setting
	for _, n := range clientCounts {
		quiet = append(quiet, setting(n, subjects))
	}
	for _, n := range []int{1, 4} {
		s := setting(n, busySubjects)
		s.Hogs = hogs
		busy = append(busy, s)
		s = setting(n, among(subjects, nameC, nameSteve, nameNoJournal, nameLibfuse, nameLoop))
		s.OneCPU = true
		alone = append(alone, s)
	}
	servers, stop, err := startAll(ctx, append(subjects, busySubjects[0]))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := measureRounds(ctx, p, c, quiet, servers); err != nil {
		return err
	}
	if err := withHogs(ctx, func() error { return measureRounds(ctx, p, c, busy, servers) }); err != nil {
		return err
	}
	if err := onOneCPU(servers, func(prefix ...string) error { return measureRounds(ctx, p, c, alone, servers, prefix...) }); err != nil {
		return err
	}
	pairs.Settings = slices.Concat(quiet, busy, alone)
	return nil
}

// setting is one without samples yet.
func setting(clients int, subjects []subject) Setting {
	s := Setting{Clients: clients}
	for _, subject := range subjects {
		s.Subjects = append(s.Subjects, Samples{Subject: subject.name})
	}
	return s
}

// measureRounds adds a sample of each round to each subject of each setting. prefix is what runs the clients.
func measureRounds(ctx context.Context, p programs, c Config, settings []Setting, servers map[string]*server, prefix ...string) error {
	for round := range c.Rounds {
		for _, s := range settings {
			for _, i := range order(len(s.Subjects), round) {
				subject := &s.Subjects[i]
				server := servers[subject.Subject]
				got, err := sample(ctx, append(slices.Clone(prefix), p.pair, server.path, strconv.Itoa(s.Clients),
					strconv.FormatInt(c.Slice.Milliseconds(), 10), strconv.Itoa(server.pid)))
				if err != nil {
					return fmt.Errorf("%s: %w", subject.Subject, err)
				}
				subject.Samples = append(subject.Samples, got)
			}
		}
	}
	return nil
}

// order is that of n subjects in a round: each comes first in turn, and has either neighbour before it as often as after it.
func order(n, round int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = (i + round/2) % n
	}
	if round%2 == 1 {
		slices.Reverse(all)
	}
	return all
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

// withHogs runs f while other processes want all processors, at the priority that programs have by default.
func withHogs(ctx context.Context, f func() error) error {
	var all []*exec.Cmd
	defer func() {
		for _, hog := range all {
			hog.Process.Kill()
			hog.Wait()
		}
	}()
	for range hogs {
		hog := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		hog.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
		if err := hog.Start(); err != nil {
			return err
		}
		all = append(all, hog)
	}
	return f()
}

// onOneCPU runs f while servers may use one processor only, with the command that confines clients to it.
func onOneCPU(servers map[string]*server, f func(prefix ...string) error) (err error) {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	cpu := 0
	for !all.IsSet(cpu) {
		cpu++
	}
	one.Set(cpu)
	for _, s := range servers {
		if err := s.runOn(&one); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.runOn(&all)) }()
	}
	return f("taskset", "--cpu-list", strconv.Itoa(cpu))
}
