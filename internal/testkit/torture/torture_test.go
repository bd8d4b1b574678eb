package torture

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/jobs"
	"steve/internal/testkit/need"
	"steve/internal/testkit/steved"
)

var killCount = flag.Int("kills", 1000, "kill the worker so often on the host")

func TestIntegrationTortureFUSE(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	injected := *killCount / 16
	t.Run("kills", func(t *testing.T) {
		testKills(t, "fuse", *killCount-len(points)*injected, append(residents(), "stevie", "make", "cargo"))
	})
	for _, point := range points {
		t.Run("at "+point, func(t *testing.T) { testDying(t, "fuse", point, injected, append(residents(), "stevie")) })
	}
}

// TestIntegrationTortureCUSE has programs for clients on QEMU only, where no client may get EIO. On user-mode Linux a kill can
// give one. What programs make of that is known, and it is not the server's doing.
func TestIntegrationTortureCUSE(t *testing.T) {
	dyingSteve(t) // built here: a guest has no time for it
	if !guest.Enter(t, slices.Concat(guest.Kernels, []string{guest.QEMU})...) {
		return
	}
	need.CUSE(t)
	clients := residents()
	if !userMode() {
		clients = append(clients, "stevie", "small make", "cargo")
	}
	inGuest(t, clients)
}

func inGuest(t *testing.T, clients []string) {
	t.Run("kills", func(t *testing.T) { testKills(t, "cuse", 80, clients) })
	for _, point := range points {
		n := 6
		if point == "between" { // not many requests have two answers
			n = 3
		}
		t.Run("at "+point, func(t *testing.T) { testDying(t, "cuse", point, n, residents()) })
	}
}

// testKills has the worker killed n times from outside.
func testKills(t *testing.T, transport string, n int, clients []string) {
	s := start(t, tested(t), transport)
	c := newCrowd(t, s.path, seed(t), s.abort)
	c.bearsEIO = userMode()
	c.join(clients...)
	began := time.Now()
	k := newKiller(s, c)
	if err := k.kills(n); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills in %v: %v\n%v", n, time.Since(began).Round(time.Millisecond), k, k.pauses)
	if got := s.takeovers(); got != n {
		t.Errorf("%d takeovers, want %d", got, n)
	}
	end(t, s, c)
}

// points are where a steve that is built to do so kills itself: see internal/daemon/dying.go.
var points = []string{"read", "answer", "answered", "between"}

// testDying has the worker die at a point, n times or more.
func testDying(t *testing.T, transport, point string, n int, clients []string) {
	s := start(t, dyingSteve(t), transport, "STEVE_DIE="+point)
	c := newCrowd(t, s.path, seed(t), s.abort)
	c.join(clients...)
	began := time.Now()
	err := c.until(strconv.Itoa(n)+" takeovers", time.Hour, func() bool {
		time.Sleep(5 * time.Millisecond) // to ask is a request, too
		return s.takeovers() >= n
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d takeovers in %v", s.takeovers(), time.Since(began).Round(time.Millisecond))
	end(t, s, c)
}

// dyingSteve builds a steve that kills itself, among the tools.
func dyingSteve(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(jobs.Tools(t), "dying")
	path := filepath.Join(dir, "steve")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	path, err := steved.Build(dir, "dying")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// seed returns the number that random times start from, and logs it. TEST_SEED sets it.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("TEST_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("TEST_SEED: %v", err)
		}
	}
	t.Logf("TEST_SEED=%d", n)
	return n
}
