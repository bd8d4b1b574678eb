package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"steve/bench/chart"
)

// A Run is all builds once under one regime. Times are in seconds.
type Run struct {
	Makespan   float64   // from the begin of the first to the end of the last
	Took       []float64 // each build from its begin to its end
	Jobs       Jobs
	Memory     int64   // bytes: the most anonymous memory of all builds at one time
	Used       float64 // processor time of the builds
	Idle       float64 // processor time that nobody used meanwhile
	Stolen     float64 // processor time that a machine below this one took
	FirstAlone float64 // from the begin of the late build to that of its first compiler, when nothing else runs
	FirstLate  float64 // among the others
	Sampler    float64 // processor time that this program used meanwhile
	Held       float64 `json:",omitempty"` // tokens out on average, where there are any
	memory     []chart.Point
}

// A bench is what all runs have in common.
type bench struct {
	programs
	dir   string
	jobs  int // N
	sites []site
	late  time.Duration // when the last of sites begins
}

// run builds everything once under a regime, after the late one alone.
func (b bench) run(ctx context.Context, r regime) (Run, error) {
	late := len(b.sites) - 1
	if err := b.sites[late].renew(); err != nil {
		return Run{}, err
	}
	alone, err := b.under(ctx, r, []int{late})
	if err != nil {
		return Run{}, err
	}
	var all []int
	for build, s := range b.sites {
		if err := s.renew(); err != nil {
			return Run{}, err
		}
		all = append(all, build)
	}
	together, err := b.under(ctx, r, all)
	together.FirstAlone = alone.FirstLate
	return together, err
}

// under builds some sites at the same time under a regime. On every way out the builds are gone, and then what served them.
func (b bench) under(ctx context.Context, r regime, which []int) (result Run, err error) {
	o, err := r.begin(b)
	if err != nil {
		return result, err
	}
	defer func() {
		killTree(o.server)
		err = errors.Join(err, o.end())
	}()
	return b.at(ctx, o, which)
}

// at builds some sites at the same time; the last of several comes late.
func (b bench) at(ctx context.Context, o *order, which []int) (r Run, err error) {
	log := filepath.Join(b.dir, "jobs")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		return r, err
	}
	unix.Sync() // what was written before is not to be paid for now
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	c := &crew{bench: b, order: o, jobs: log, cancel: cancel, living: map[int]bool{}}
	if o.server != 0 {
		c.living[o.server] = true // its memory counts
	}
	// A build that fails, and a signal to this program, end all.
	defer context.AfterFunc(ctx, c.kill)()

	ownBefore, buildsBefore := usedTime(unix.RUSAGE_SELF), usedTime(unix.RUSAGE_CHILDREN)
	idleBefore, stolenBefore, err := idleTime()
	if err != nil {
		return r, err
	}
	from := monotonic()
	late := which[len(which)-1]
	for _, build := range which {
		if build == late && len(which) > 1 {
			continue
		}
		if err := c.begin(ctx, build); err != nil {
			cancel(err)
			break
		}
	}
	var samples []sample
	sampled := make(chan error, 1)
	sampler, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		var err error
		samples, err = sampling(sampler, from, sampleEvery, c.pids, o)
		sampled <- err
	}()
	if len(which) > 1 {
		timer := time.NewTimer(b.late - time.Duration(monotonic()-from))
		select {
		case <-timer.C:
			if err := c.begin(ctx, late); err != nil {
				cancel(err)
			}
		case <-ctx.Done():
			timer.Stop()
		}
	}
	c.running.Wait()
	idle, stolen, err := idleTime()
	stop()
	err = errors.Join(err, context.Cause(ctx), <-sampled)
	if err != nil {
		return r, err
	}
	r.Sampler = (usedTime(unix.RUSAGE_SELF) - ownBefore).Seconds()
	r.Used = (usedTime(unix.RUSAGE_CHILDREN) - buildsBefore).Seconds()
	r.Idle, r.Stolen = (idle - idleBefore).Seconds(), (stolen - stolenBefore).Seconds()
	return r, b.judge(&r, c.builds, samples, log, from)
}

// sampleEvery is how often processes are looked at.
const sampleEvery = 100 * time.Millisecond

// judge fills in what the builds have left behind, and tries what they made.
func (b bench) judge(r *Run, builds []*process, samples []sample, log string, from int64) error {
	to := from
	var others int64
	last := builds[len(builds)-1]
	for _, p := range builds {
		to = max(to, p.end)
		if p != last {
			others = max(others, p.end)
		}
		r.Took = append(r.Took, float64(p.end-p.began)/1e9)
		if err := p.tryOut(); err != nil {
			return err
		}
	}
	if len(builds) > 1 && others < last.began {
		return errors.New("the others had ended before the late build began, give -late a shorter time")
	}
	events, err := readJobs(log)
	if err != nil {
		return err
	}
	r.Makespan = float64(to-from) / 1e9
	r.Jobs = summary(events, len(b.sites), from, to)
	first := r.Jobs.first[last.index]
	if first == 0 {
		return fmt.Errorf("%s ran no compiler", last.name)
	}
	r.FirstLate = float64(first-last.began) / 1e9
	held := 0.0
	for _, s := range samples {
		r.Memory = max(r.Memory, s.memory)
		held += float64(s.held)
		r.memory = append(r.memory, chart.Point{X: s.at, Y: float64(s.memory) / (1 << 20)})
	}
	if len(samples) > 0 {
		r.Held = held / float64(len(samples))
	}
	return nil
}

// usedTime is the processor time that this program has used, or its children that it has waited for, with theirs.
func usedTime(who int) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(who, &usage); err != nil {
		panic(err) // there is no other error for these arguments than a bug here
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// path is where a program is that builds are started by.
func (p programs) path(name string) string {
	for _, own := range []string{"make", "ninja", "stevie"} {
		if name == own {
			return filepath.Join(p.bin, name)
		}
	}
	return name
}

// rotated is the order of the regimes in a round: each has each place in turn.
func rotated[T any](all []T, round int) []T {
	at := round % len(all)
	return slices.Concat(all[at:], all[:at])
}
