package conform

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/proc"
	"steve/internal/testkit/guest"
)

// handovers are the ways in which another worker comes to serve.
var handovers = []struct {
	name string
	do   func(*server)
}{
	{"worker killed", (*server).killWorker},
	{"upgrade", (*server).upgrade},
	{"keeper killed", (*server).killKeeper},
}

// each makes a case of a story that has another worker come to serve on the way. It is told once for each way in which one
// does, by one server. Nobody holds or waits when it ends.
func each(story func(t *testing.T, s *server, replace func())) func(*testing.T, *server) {
	return func(t *testing.T, s *server) {
		ways := handovers
		if guest.Oldest() { // for time
			ways = ways[:1]
		}
		for _, h := range ways {
			t.Log(h.name)
			story(t, s, func() {
				t.Helper()
				h.do(s)
			})
			s.becomes("nobody holds or waits", func(st ctl.Status) bool { return st.Held == 0 && st.Waiters == 0 })
		}
	}
}

// about asks what serves.
func (s *server) about() ctl.About {
	s.t.Helper()
	a, err := s.ctl.Server()
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// replaced has something end the worker, and returns when another one serves in its place.
func (s *server) replaced(end func(worker int)) {
	s.t.Helper()
	before := s.about()
	end(before.Worker)
	now := s.another(before.Worker)
	before.Takeovers++
	if now.Takeovers != before.Takeovers || now.Forgiven != before.Forgiven {
		s.t.Fatalf("%+v became %+v", before, now)
	}
}

// another waits until a worker serves that is not old, and looks at what it says of itself.
func (s *server) another(old int) ctl.About {
	s.t.Helper()
	now := s.about()
	for deadline := time.Now().Add(patience); now.Worker == old; now = s.about() {
		if time.Now().After(deadline) {
			s.t.Fatalf("no other worker: %+v", now)
		}
		time.Sleep(100 * time.Microsecond)
	}
	started, err := proc.Root.StartTime(s.process.Pid)
	if err != nil {
		s.t.Fatal(err)
	}
	if now.Keeper != s.process.Pid || now.Started != started {
		s.t.Fatalf("%+v, want keeper %d, started at %d", now, s.process.Pid, started)
	}
	return now
}

func (s *server) killWorker() {
	s.t.Helper()
	s.replaced(func(worker int) { unix.Kill(worker, unix.SIGKILL) })
}

// upgrade puts the program on the disk in the place of keeper and worker.
func (s *server) upgrade() {
	s.t.Helper()
	s.replaced(func(int) { s.signal(unix.SIGUSR2) })
	s.follows()
}

// follows returns when the keeper has become the program that its worker is, and does its work.
func (s *server) follows() {
	s.t.Helper()
	role := fmt.Sprintf(",worker=%d,", s.about().Worker)
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Microsecond) {
		line, err := os.ReadFile("/proc/" + itoa(s.process.Pid) + "/cmdline")
		if err != nil {
			s.t.Fatal(err)
		}
		if args := strings.Split(string(line), "\x00"); len(args) > 2 && args[1] == "keep" && strings.Contains(","+args[2]+",", role) {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the keeper is %q, want %s", line, role)
		}
	}
	s.reports()
}

// reports sends SIGUSR1 and waits for the report.
func (s *server) reports() {
	s.t.Helper()
	const head = "steve: currently "
	before := strings.Count(s.stdout.String(), head)
	s.signal(unix.SIGUSR1)
	s.stdout.await(s.t, regexp.MustCompile(fmt.Sprintf(`(?s)(%s.*){%d}`, head, before+1)), s.ended)
}

// killKeeper has the worker take the keeper's place.
func (s *server) killKeeper() {
	s.t.Helper()
	s.replaced(func(worker int) {
		s.t.Helper()
		// The worker becomes a child of this process, not of init.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			s.t.Fatal(err)
		}
		defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
		s.signal(unix.SIGKILL)
		s.exit()
		keeper, err := os.FindProcess(worker)
		if err != nil {
			s.t.Fatal(err)
		}
		s.is(keeper)
	})
}

// outage begins a time in which nobody serves: the worker is killed, and its keeper stopped until thaw.
func (s *server) outage() {
	s.t.Helper()
	worker := s.about().Worker
	s.halt(s.process.Pid)
	if err := unix.Kill(worker, unix.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	for threadState(worker, worker) != 'Z' {
		time.Sleep(100 * time.Microsecond)
	}
}
