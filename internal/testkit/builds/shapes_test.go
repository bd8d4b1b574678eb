package builds

import (
	"fmt"
	"testing"

	"steve/internal/ctl"
	"steve/internal/testkit/guest"
	"steve/internal/testkit/jobs"
)

// startShape starts a shape.
func startShape(t *testing.T, s *jobs.Server, name string, env ...string) *jobs.Process {
	t.Helper()
	argv, shape := jobs.Shape(t, name, s.Path)
	return jobs.Start(t, t.TempDir(), append(env, shape...), argv...)
}

func testShapes(t *testing.T, transport string) {
	for _, n := range []int{1, 3} {
		s := jobs.StartSteve(t, transport, n)
		t.Run(fmt.Sprintf("nasm-rs with %d", n), func(t *testing.T) {
			startShape(t, s, "nasm-rs", "ROUNDS=8").Succeed(t)
			s.AwaitAll(t)
		})
		t.Run(fmt.Sprintf("jobserver-exec with %d", n), func(t *testing.T) {
			startShape(t, s, "jobserver-exec", fmt.Sprintf("WANT=%d", n)).Succeed(t)
			s.AwaitAll(t)
		})
		for _, name := range []string{"cc-rs", "portage"} {
			t.Run(fmt.Sprintf("%s beside readers with %d", name, n), func(t *testing.T) { testBesideReaders(t, s, name) })
		}
	}
}

// testBesideReaders has a client that waits in its own way get its tokens in competition with clients that wait in reads.
// A fair share is as many tokens for each of them. It is counted from its first token, and is less where the one processor
// of a guest cannot run all of them within the moment that a token is kept for one.
func testBesideReaders(t *testing.T, s *jobs.Server, name string) {
	const count, readers = 20, 4
	unfair := 3
	if guest.Inside() {
		unfair = 10
	}
	var others []*jobs.Process
	for range readers {
		others = append(others, startShape(t, s, "reader", "ROUNDS=1000000"))
	}
	s.Await(t, "readers at work", func(status ctl.Status) bool { return status.Held+status.Waiters == readers })
	taken := func() (n int) {
		for _, p := range others {
			n += len(p.Output(t))
		}
		return n
	}
	p := startShape(t, s, name, fmt.Sprintf("ROUNDS=%d", count))
	s.Await(t, "its first token", func(ctl.Status) bool { return len(p.Output(t)) > 0 })
	before := taken()
	p.Succeed(t)
	n := taken() - before
	t.Logf("%d tokens for it, %d for %d readers", count, n, readers)
	if n > unfair*readers*count {
		t.Errorf("that is more than %d times its share for each of them", unfair)
	}
	for _, p := range others {
		p.End()
	}
	s.AwaitAll(t)
}
