package builds

import (
	"strings"
	"testing"
	"time"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/jobs"
	"steve/internal/testkit/need"
)

func TestIntegrationBuildsFUSE(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	onTransport(t, "fuse")
}

func TestIntegrationBuildsCUSE(t *testing.T) {
	jobs.Tools(t)
	if !guest.Inside() {
		t.Run("prepare", prepareGzip)
	}
	if !guest.Enter(t) {
		return
	}
	need.CUSE(t)
	guest.DisableIOUring(t)
	onTransport(t, "cuse")
}

func onTransport(t *testing.T, transport string) {
	if !guest.Inside() { // where there is time for more than testKilled, which has them all, too
		var said map[string][]string
		t.Run("together", func(t *testing.T) { said = together(t, jobs.StartSteve(t, transport, 2)) })
		t.Run("steve is killed", func(t *testing.T) { testOutlive(t, transport, said) })
	}
	if !guest.Oldest() {
		t.Run("one is killed", func(t *testing.T) { testKilled(t, transport) })
		t.Run("clients", func(t *testing.T) { testClients(t, transport) })
	}
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

func build(t *testing.T, s *jobs.Server, at site, slots *jobs.Counter) *jobs.Process {
	t.Helper()
	env := s.Direct()
	if at.stevie {
		env = s.ForStevie()
	}
	env = append(env, path(t, slots)...)
	return jobs.Start(t, at.dir, env, append([]string{"env"}, at.project.build...)...)
}

// bound is the most compilers that may run at one time: one for each token, and one for the implicit slot of each client
// that was not started by stevie.
func bound(s *jobs.Server, sites []site) int {
	n := s.Jobs
	for _, at := range sites {
		if !at.stevie {
			n++
		}
	}
	return n
}

// finish waits for builds, and tries what they made.
func finish(t *testing.T, s *jobs.Server, sites []site, builds []*jobs.Process, slots *jobs.Counter) {
	t.Helper()
	for i, at := range sites {
		builds[i].Succeed(t)
		at.tryOut(t, at.dir)
	}
	s.AwaitAll(t)
	peak, most := slots.Peak(t), bound(s, sites)
	if peak > most {
		t.Errorf("%d compilers ran at one time, want at most %d", peak, most)
	}
	if peak <= 1 {
		t.Errorf("%d compilers ran at one time: they are not counted, or not parallel", peak)
	}
	t.Logf("%d builds with %d tokens: at most %d compilers at one time, %d are allowed", len(sites), s.Jobs, peak, most)
}

// together builds all projects at the same time, and returns what each build said.
func together(t *testing.T, s *jobs.Server) map[string][]string {
	t.Helper()
	sites, slots := lay(t), jobs.NewCounter(t)
	began := time.Now()
	var builds []*jobs.Process
	for _, at := range sites {
		builds = append(builds, build(t, s, at, slots))
	}
	finish(t, s, sites, builds, slots)
	t.Logf("in %.1f s", time.Since(began).Seconds())
	said := make(map[string][]string)
	for i, at := range sites {
		said[at.name] = unordered(strings.ReplaceAll(builds[i].Output(t), at.dir, "DIR"))
	}
	return said
}
