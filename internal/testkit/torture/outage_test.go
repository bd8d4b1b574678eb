package torture

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/jobs"
	"steve/internal/testkit/need"
)

func TestIntegrationOutageFUSE(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	testOutages(t, "fuse")
	t.Run("stat and df and umount", func(t *testing.T) { testLooks(t) })
	t.Run("umount", func(t *testing.T) { testUnmounted(t) })
}

func TestIntegrationOutageCUSE(t *testing.T) {
	jobs.Tools(t)
	if !guest.Enter(t, "newest") { // the oldest takes minutes for this
		return
	}
	need.CUSE(t)
	testOutages(t, "cuse")
}

func testOutages(t *testing.T, transport string) {
	t.Run("stopped worker", func(t *testing.T) { testStopped(t, transport) })
	t.Run("keeper killed", func(t *testing.T) { testKeeperKilled(t, transport) })
	t.Run("both killed", func(t *testing.T) { testBothKilled(t, transport) })
	t.Run("one killed after the other", func(t *testing.T) { testKilledInTurn(t, transport) })
	t.Run("SIGTERM", func(t *testing.T) { testTerminated(t, transport) })
}

// scene starts a server with a crowd at work.
func scene(t *testing.T, transport string) (*server, *crowd) {
	t.Helper()
	s := start(t, tested(t), transport)
	return s, s.visitors(t)
}

// visitors are a crowd at work on the server.
func (s *server) visitors(t *testing.T) *crowd {
	t.Helper()
	c := newCrowd(t, s.path, seed(t), s.abort)
	c.bearsEIO = userMode()
	if guest.Inside() {
		c.join("blocking", "polling", "several", "interrupted")
	} else {
		c.join(residents()...)
	}
	if err := c.getOn(2); err != nil {
		t.Fatal(err)
	}
	return c
}

// A worker that is stopped is killed when a moment has passed, and another one serves.
func testStopped(t *testing.T, transport string) {
	s, c := scene(t, transport)
	for range 2 {
		worker := s.worker(0)
		began := time.Now()
		s.freeze(worker)
		s.worker(worker)
		if err := c.getOn(1); err != nil {
			t.Fatal(err)
		}
		t.Logf("replaced, and all clients served, after %v", time.Since(began).Round(time.Millisecond))
		s.gone(worker)
	}
	if n := s.takeovers(); n != 2 {
		t.Errorf("%d takeovers, want 2", n)
	}
	end(t, s, c)
}

// A worker whose keeper dies becomes one.
func testKeeperKilled(t *testing.T, transport string) {
	s, c := scene(t, transport)
	times := 10
	if guest.Inside() {
		times = 4
	}
	var windows pauses
	for range times {
		former, worker := s.keeper, s.worker(0)
		began := time.Now()
		s.signal(former, unix.SIGKILL)
		s.keeper = worker
		s.worker(0)
		windows = append(windows, time.Since(began))
		s.gone(former)
		if err := c.getOn(1); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("from the keeper's end to the next pair: %v", windows)
	if n := s.takeovers(); n != times {
		t.Errorf("%d takeovers, want %d", n, times)
	}
	end(t, s, c)
}

// killBoth kills keeper and worker so that neither can do anything for the other.
func (s *server) killBoth() {
	s.t.Helper()
	worker := s.worker(0)
	s.freeze(s.keeper)
	s.freeze(worker)
	s.signal(s.keeper, unix.SIGKILL)
	s.signal(worker, unix.SIGKILL)
	s.gone(s.keeper)
	s.gone(worker)
}

// With both killed clients are told so, and the next start replaces what is left.
func testBothKilled(t *testing.T, transport string) {
	s, c := scene(t, transport)
	s.killBoth()
	if err := c.cutOff(); err != nil {
		t.Fatal(err)
	}
	next := startNamed(t, s.program, transport, s.name)
	end(t, next, next.visitors(t))
}

// Either order, with a time between that is a little shorter or longer than what the other needs to help itself: clients
// are served or told, and not left waiting.
func testKilledInTurn(t *testing.T, transport string) {
	s, c := scene(t, transport)
	served, cut := 0, 0
	k := newKiller(s, c)
	times := 20
	if guest.Inside() {
		times = 6
	}
	for i := range times {
		victims := []int{s.keeper, s.worker(0)}
		if i%2 == 1 {
			victims[0], victims[1] = victims[1], victims[0]
		}
		s.signal(victims[0], unix.SIGKILL)
		time.Sleep(time.Duration(k.random.Int64N(int64(20 * time.Millisecond))))
		unix.Kill(victims[1], unix.SIGKILL) // it may have ended, there being nothing more to do for it
		for _, pid := range victims {
			s.gone(pid)
		}
		if s.survives() {
			served++
			if err := c.getOn(1); err != nil {
				t.Fatal(err)
			}
			continue
		}
		cut++
		if err := c.cutOff(); err != nil {
			t.Fatal(err)
		}
		s = startNamed(t, s.program, transport, s.name)
		c = s.visitors(t)
	}
	t.Logf("%d times clients were served on, %d times cut off", served, cut)
	end(t, s, c)
}

// outage has a keeper that is stopped, and no worker, until the returned function is called.
func (s *server) outage() (over func()) {
	s.t.Helper()
	worker := s.worker(0)
	s.freeze(s.keeper)
	s.signal(worker, unix.SIGKILL)
	s.gone(worker)
	return func() { s.signal(s.keeper, unix.SIGCONT) }
}

// A real stop is one while nobody serves, too.
func testTerminated(t *testing.T, transport string) {
	s, c := scene(t, transport)
	over := s.outage()
	s.signal(s.keeper, unix.SIGTERM)
	over()
	if err := c.cutOff(); err != nil {
		t.Fatal(err)
	}
	s.conn.Close()
	s.stops()
}

// Programs that look at the token file in an outage come back when it is over.
func testLooks(t *testing.T) {
	s, c := scene(t, "fuse")
	for _, look := range []struct {
		argv []string
		err  string
	}{
		{[]string{"stat", s.path}, ""},
		{[]string{"df", s.path}, ""},
		{[]string{"ls", "-l", s.path}, ""},
		{[]string{"umount", s.path}, "exit status 32"}, // it is in use: mount(8)
	} {
		over := s.outage()
		p := jobs.Start(t, t.TempDir(), nil, look.argv...)
		waits := ""
		s.await("end of "+look.argv[0]+", or its wait for an answer", func() bool {
			select {
			case <-p.Ended:
				waits = "nowhere"
			default:
				wchan, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", p.Process.Pid))
				if strings.Contains(string(wchan), "fuse") || strings.Contains(string(wchan), "request_wait") {
					waits = string(wchan)
				}
			}
			return waits != ""
		})
		over()
		p.AwaitEnd(t)
		if err := fmt.Sprint(p.End()); err != look.err && (look.err != "" || err != "<nil>") {
			t.Errorf("%q: %v, want %q\n%s", look.argv, err, look.err, p.Output(t))
		}
		t.Logf("%s waited in the outage: %s", look.argv[0], waits)
		if err := c.getOn(1); err != nil {
			t.Fatal(err)
		}
	}
	end(t, s, c)
}

// Unmounted in an outage, by one who has the right to, the file is gone, and steve ends.
func testUnmounted(t *testing.T) {
	s := start(t, tested(t), "fuse")
	if err := s.conn.Close(); err != nil {
		t.Fatal(err)
	}
	over := s.outage()
	jobs.Run(t, "umount", s.path)
	over()
	s.gone(s.keeper)
	<-s.ended
	if code := s.own.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit status %d, want 1", code)
	}
	t.Logf("steve said:\n%s", s.log.last())
}

// cutOff waits for the clients to be told that the server is gone.
func (c *crowd) cutOff() error {
	c.over = true
	var errs []error
	for _, m := range c.members {
		select {
		case <-m.Ended:
		case <-time.After(limit):
			return fmt.Errorf("client %s is stuck\n%s", m.name, c.describe(m))
		}
		err := m.End()
		switch status := m.ProcessState.ExitCode(); {
		case status == exitCutOff:
		case status == exitEIO && c.bearsEIO:
			c.eio++
		default:
			errs = append(errs, fmt.Errorf("client %s: %v, want status %d\n%s", m.name, err, exitCutOff, m.Output(c.t)))
		}
	}
	return errors.Join(errs...)
}
