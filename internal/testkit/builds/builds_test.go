package builds

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/need"
)

func TestIntegrationBuildsFUSE(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	onTransport(t, "fuse")
}

func TestIntegrationBuildsCUSE(t *testing.T) {
	tools(t)
	if !guest.Inside() {
		t.Run("prepare", prepareGzip)
	}
	if !guest.Enter(t) {
		return
	}
	need.CUSE(t)
	disableIOUring(t)
	onTransport(t, "cuse")
}

// disableIOUring keeps io_uring from all processes, those of ctest above all: user-mode Linux 7.2 does not survive
// mappings of its rings ("Bad page map", then a panic). Before Linux 6.6 it cannot be disabled, and need not be.
func disableIOUring(t *testing.T) {
	t.Helper()
	err := os.WriteFile("/proc/sys/kernel/io_uring_disabled", []byte("2"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func onTransport(t *testing.T, transport string) {
	counts := []int{2, 4}
	if guest.Inside() {
		counts = []int{2} // with 4 there is testKilled
	}
	for _, jobs := range counts {
		t.Run(fmt.Sprintf("together with %d", jobs), func(t *testing.T) { testTogether(t, transport, jobs) })
	}
	t.Run("one is killed", func(t *testing.T) { testKilled(t, transport) })
	t.Run("clients", func(t *testing.T) { testClients(t, transport) })
	t.Run("rustc", func(t *testing.T) { testRustc(t, transport) })
	t.Run("leaks", func(t *testing.T) { testLeaks(t, transport) })
	t.Run("shapes", func(t *testing.T) { testShapes(t, transport) })
}

// A site is where a project is built.
type site struct {
	project
	dir string
}

// lay puts all projects into directories.
func lay(t *testing.T) []site {
	t.Helper()
	var sites []site
	for _, p := range projects() {
		s := site{p, t.TempDir()}
		p.tree(t, s.dir)
		sites = append(sites, s)
	}
	return sites
}

func (s *server) build(t *testing.T, at site, slots *counter) *process {
	t.Helper()
	env := s.direct()
	if at.stevie {
		env = s.forStevie()
	}
	env = append(env, path(t, slots)...)
	return start(t, at.dir, env, append([]string{"env"}, at.project.build...)...)
}

// bound is the most compilers that may run at one time: one for each token, and one for the implicit slot of each client
// that was not started by stevie.
func (s *server) bound(sites []site) int {
	n := s.jobs
	for _, at := range sites {
		if !at.stevie {
			n++
		}
	}
	return n
}

// finish waits for builds, and tries what they made.
func (s *server) finish(t *testing.T, sites []site, builds []*process, slots *counter) {
	t.Helper()
	for i, at := range sites {
		builds[i].succeed(t)
		at.tryOut(t, at.dir)
	}
	s.awaitAll(t)
	peak, bound := slots.peak(t), s.bound(sites)
	if peak > bound {
		t.Errorf("%d compilers ran at one time, want at most %d", peak, bound)
	}
	if peak <= 1 {
		t.Errorf("%d compilers ran at one time: they are not counted, or not parallel", peak)
	}
	t.Logf("%d builds with %d tokens: at most %d compilers at one time, %d are allowed", len(sites), s.jobs, peak, bound)
}

func testTogether(t *testing.T, transport string, jobs int) {
	sites, slots := lay(t), newCounter(t)
	s := startSteve(t, transport, jobs)
	began := time.Now()
	var builds []*process
	for _, at := range sites {
		builds = append(builds, s.build(t, at, slots))
	}
	s.finish(t, sites, builds, slots)
	t.Logf("in %.1f s", time.Since(began).Seconds())
}
