package builds

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/testkit/steved"
)

// patience is how long a test waits for something that happens at once, on a machine that has little time for it.
const patience = 30 * time.Second

// reclaimTime is how long after the end of a process its tokens may be missing.
const reclaimTime = 100 * time.Millisecond

// A server is a running steve.
type server struct {
	*steved.Steve
	jobs int
	conn *ctl.Conn
}

// startSteve starts a steve that is stopped at the end of the test, when it must have all tokens.
func startSteve(t *testing.T, transport string, jobs int) *server {
	t.Helper()
	s, err := steved.Start(filepath.Join(tools(t), "steve"), "--transport", transport, "--jobs", strconv.Itoa(jobs))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	conn, err := ctl.Open(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &server{s, jobs, conn}
}

// await returns when the steve's counts satisfy ok, and when they were asked for. That, unlike the time of the answer, does
// not depend on how soon a busy machine lets this process go on.
func (s *server) await(t *testing.T, what string, ok func(ctl.Status) bool) time.Time {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		asked := time.Now()
		status, err := s.conn.Status()
		if err != nil {
			t.Fatal(err)
		}
		if ok(status) {
			return asked
		}
		if asked.After(deadline) {
			t.Fatalf("no %s in %v: %+v", what, patience, status)
		}
	}
}

// awaitAll returns when all tokens are back, as await does.
func (s *server) awaitAll(t *testing.T) time.Time {
	t.Helper()
	return s.await(t, "return of all tokens", s.hasAll)
}

func (s *server) hasAll(status ctl.Status) bool {
	return status.Held == 0 && status.Free == s.jobs && status.Holders == 0
}

// holders returns the tokens held, by process id.
func (s *server) holders(t *testing.T) map[int]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	held, err := s.Holders(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// direct is the environment of clients that find the token file in MAKEFLAGS.
func (s *server) direct() []string {
	return []string{"MAKEFLAGS= -j --jobserver-auth=fifo:" + s.Path}
}

// forStevie is the environment of a stevie.
func (s *server) forStevie() []string { return []string{"STEVE_DEVICE=" + s.Path} }

// A process is a program in a process group of its own. That ends with the test.
type process struct {
	*exec.Cmd
	log   string
	ended chan struct{} // closed when it has; it is not waited for, so that its process id and group stay its own
	end   func() error  // kills what is left of the group and waits
}

// start starts argv in dir. The environment is this one, without what a make around these tests has put there, and env.
func start(t *testing.T, dir string, env []string, argv ...string) *process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p := &process{Cmd: exec.Command(argv[0], argv[1:]...), log: log.Name(), ended: make(chan struct{})}
	p.Dir, p.Stdout, p.Stderr = dir, log, log
	p.Env = slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains([]string{"MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS", "MAKELEVEL", "CARGO_MAKEFLAGS", "STEVE_DEVICE"}, name)
	})
	p.Env = append(p.Env, env...)
	p.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		for unix.Waitid(unix.P_PID, p.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}()
	p.end = sync.OnceValue(func() error {
		unix.Kill(-p.Process.Pid, unix.SIGKILL)
		<-p.ended
		return p.Wait()
	})
	t.Cleanup(func() { p.end() })
	return p
}

// succeed returns when the process has ended, which it must do well.
func (p *process) succeed(t *testing.T) {
	t.Helper()
	<-p.ended
	if err := p.end(); err != nil {
		t.Errorf("%q in %s: %v\n%s", p.Args, p.Dir, err, p.output(t))
	}
}

// awaitEnd returns when the process has ended, however.
func (p *process) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%q runs on\n%s", p.Args, p.output(t))
	}
}

func (p *process) output(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
