package builds

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/jobs"
)

// testKilled kills one of several builds that run together, with all its processes. Its compilers are not counted: those
// that are about to die overlap with the ones that get their tokens.
func testKilled(t *testing.T, transport string) {
	sites, slots := lay(t), jobs.NewCounter(t)
	last := len(sites) - 1
	sites, doomed := sites[:last], sites[last]
	s := jobs.StartSteve(t, transport, 4)
	victim := build(t, s, doomed, jobs.NewCounter(t))
	var builds []*jobs.Process
	for _, at := range sites {
		builds = append(builds, build(t, s, at, slots))
	}

	want := 1
	if doomed.stevie {
		want = 2 // one is stevie's own
	}
	var members []int
	lost := 0
	for deadline := time.Now().Add(jobs.Patience); lost < want; time.Sleep(time.Millisecond) {
		held := s.Held(t)
		members = victim.Members(t)
		lost = 0
		for _, pid := range members {
			lost += held[pid]
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q has no %d tokens in %v, the holders are %v\n%s", victim.Args, want, jobs.Patience, held, victim.Output(t))
		}
	}
	ends := endsOf(t, members)
	killed := time.Now()
	if err := unix.Kill(-victim.Process.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ends.await(t)
	ended := time.Now()
	from := killed
	if guest.Inside() {
		from = ended // to end takes them longer than that on its one busy processor
	}
	// The time of a question counts, see jobs.Await.
	for {
		asked := time.Now()
		held := s.Held(t)
		if !slices.ContainsFunc(members, func(pid int) bool { return held[pid] > 0 }) {
			break
		}
		if asked.Sub(from) > reclaimTime {
			t.Fatalf("%v after SIGKILL of %v, and %v after their end, the holders are %v",
				asked.Sub(killed), members, asked.Sub(ended), held)
		}
	}
	t.Logf("SIGKILL of %d processes with %d tokens: gone after %v, tokens seen back after %v",
		len(members), lost, ms(ended.Sub(killed)), ms(time.Since(killed)))
	finish(t, s, sites, builds, slots)
}

func ms(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// ends are descriptors that poll readable when their process has ended.
type ends []unix.PollFd

// endsOf leaves out processes that have ended.
func endsOf(t *testing.T, pids []int) ends {
	t.Helper()
	var e ends
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err == unix.ESRCH {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		e = append(e, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return e
}

// await returns when all have ended.
func (e ends) await(t *testing.T) {
	t.Helper()
	for i := range e {
		for {
			n, err := unix.Poll(e[i:i+1], int(jobs.Patience.Milliseconds()))
			if err == unix.EINTR {
				continue
			}
			if n != 1 {
				t.Fatalf("a process does not end: %v", err)
			}
			break
		}
	}
}
