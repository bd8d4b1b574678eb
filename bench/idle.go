package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"steve/bench/figures"
)

// goalIdle is how much memory a steve that nobody uses may take, in MiB.
const goalIdle = 8

// An Idle is what steve does while nothing is asked of it.
type Idle struct {
	Steves []IdleSteve
}

// An IdleSteve is one of them.
type IdleSteve struct {
	Waiters   int // blocked for all that time; if 0 there never was a client
	Memory    *Memory
	Processes []IdleProcess
}

// An IdleProcess is its keeper or its worker.
type IdleProcess struct {
	Name                   string
	Threads                int
	Timed                  int // of them sleep for a limited time
	Voluntary, Involuntary int // context switches of all threads
	TimedSwitches          int // of those, in threads that sleep for a limited time
	Used                   int // ns of processor time
}

const (
	// idleWaiters is how many wait at one of the two, unless there are fewer in all.
	idleWaiters = 1000
	// settled is after how long, at most, what a start leaves to be done is done.
	settled = 15 * time.Second
)

// measureIdle looks at two steves at the same time: one that nobody has ever used, and one with a crowd that is blocked.
func measureIdle(ctx context.Context, p programs, c Config) (idle Idle, err error) {
	unused, err := p.startSteve(ctx, 1)
	if err != nil {
		return idle, err
	}
	defer func() { err = errors.Join(err, unused.stop()) }()
	waiters := min(idleWaiters, slices.Max(c.Waiters))
	crowd, err := startCrowd(ctx, p, crowdSubjects(p, wayRead, waiters)[0], wayRead, waiters)
	if err != nil {
		return idle, err
	}
	defer func() { err = errors.Join(err, crowd.stop()) }()

	steves := []*server{unused, crowd.server}
	sleep(ctx, min(settled, c.Idle/4))
	var before []map[int]thread
	for _, s := range steves {
		for _, p := range s.processes() {
			threads, err := p.threads()
			if err != nil {
				return idle, err
			}
			before = append(before, threads)
		}
	}
	sleep(ctx, c.Idle)
	for i, s := range steves {
		one := IdleSteve{Waiters: []int{0, waiters}[i]}
		for j, p := range s.processes() {
			after, err := p.threads()
			if err != nil {
				return idle, err
			}
			one.Processes = append(one.Processes, between([]string{"worker", "keeper"}[j], before[2*i+j], after))
		}
		if one.Memory, err = s.memory(); err != nil {
			return idle, err
		}
		idle.Steves = append(idle.Steves, one)
	}
	return idle, ctx.Err()
}

// processes are the worker and the keeper of a steve.
func (s *server) processes() [2]process {
	return [2]process{process(s.pid), process(s.cmd.Process.Pid)}
}

// between is what the threads of a process did between two looks at them. A thread that has ended takes with it what it
// did; the runtime ends none as long as nothing goes wrong.
func between(name string, before, after map[int]thread) IdleProcess {
	p := IdleProcess{Name: name, Threads: len(after)}
	for tid, t := range after {
		was := before[tid]
		voluntary, involuntary := t.voluntary-was.voluntary, t.involuntary-was.involuntary
		p.Voluntary += voluntary
		p.Involuntary += involuntary
		p.Used += t.used - was.used
		if t.timed {
			p.Timed++
			p.TimedSwitches += voluntary + involuntary
		}
	}
	return p
}

func (i Idle) markdown(b *strings.Builder, period time.Duration) {
	if len(i.Steves) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Idle\n\nGoals: no context switch in %v; resident ≤ %d MiB with no client.\n", period, goalIdle)
	tableHead(b, []string{"waiters", "process", "threads (that sleep for a limited time)", "switches: voluntary", "involuntary", "in threads that sleep without limit", "CPU"})
	for _, s := range i.Steves {
		for _, p := range s.Processes {
			switches := p.Voluntary + p.Involuntary
			fmt.Fprintf(b, "| %d | %s | %d (%d) | %d%s | %d | %d | %.2f ms |\n", s.Waiters, p.Name, p.Threads, p.Timed,
				p.Voluntary, figures.Met(switches == 0), p.Involuntary, switches-p.TimedSwitches, float64(p.Used)/1e6)
		}
	}
	tableHead(b, []string{"waiters", "worker resident", "keeper resident", "both, by share", "worker's threads"})
	for _, s := range i.Steves {
		goal := goalIdle
		if s.Waiters > 0 {
			goal = goalResident
		}
		m := s.Memory
		fmt.Fprintf(b, "| %d | %.1f MiB%s | %.1f MiB | %.1f MiB | %d |\n", s.Waiters, mib(m.Worker), figures.Met(m.Worker <= goal<<10),
			mib(m.Keeper), mib(m.Share), m.Threads)
	}
}
