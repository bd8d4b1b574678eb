package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/testkit/need"
	"steve/internal/testkit/steved"
)

// Bounds of the number of tokens. A steve starts with most.
const fewest, most = 3, 6

// limit is how long anything may take that a server does by itself, on a machine as busy as may be.
const limit = 20 * time.Second

// A server is a steve: a keeper and its worker, which may change.
type server struct {
	t         *testing.T
	program   string
	transport string
	name      string // --dev-name
	path      string // of the token file
	keeper    int    // its process
	conn      *ctl.Conn
	log       text // standard output and error of all its processes

	own      *exec.Cmd // the keeper that was started
	ended    chan struct{}
	outlived *time.Timer
}

var names atomic.Int32

// start starts a steve of a name of its own. It is taken down when the test ends.
func start(t *testing.T, program, transport string, env ...string) *server {
	t.Helper()
	name := fmt.Sprintf("steve-torture-%d-%d", os.Getpid(), names.Add(1))
	return startNamed(t, program, transport, name, env...)
}

func startNamed(t *testing.T, program, transport, name string, env ...string) *server {
	t.Helper()
	need.DefaultSignals()
	s := &server{t: t, program: program, transport: transport, name: name, ended: make(chan struct{})}
	s.own = exec.Command(program, "--transport", transport, "--dev-name", name, "--jobs", strconv.Itoa(most))
	s.own.Env = append(os.Environ(), env...)
	// It must not outlive a test that crashes, its mount even less.
	s.own.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGTERM}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.own.Stdout, s.own.Stderr = w, w
	err = s.own.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	s.keeper = s.own.Process.Pid
	go s.log.copy(r)
	go func() {
		s.own.Wait() // its status is in the state
		close(s.ended)
	}()
	t.Cleanup(s.takeDown)
	lifetime := 10 * time.Minute
	if deadline, ok := t.Deadline(); ok {
		lifetime = time.Until(deadline) - 10*time.Second
	}
	s.outlived = time.AfterFunc(lifetime, s.abort)
	s.path = s.serves()
	if s.conn, err = ctl.Open(s.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

var running = regexp.MustCompile(`(?m)^steve running on (\S+) for \d+ jobs$`)

// serves waits until the server says where it does.
func (s *server) serves() (path string) {
	s.t.Helper()
	s.await("word that it serves", func() bool {
		match := running.FindStringSubmatch(s.log.String())
		if match != nil {
			path = match[1]
		}
		return match != nil || s.hasEnded()
	})
	if path == "" {
		s.t.Fatalf("steve does not start: %v\n%s", s.own.ProcessState, s.log.String())
	}
	return path
}

// await waits until ok.
func (s *server) await(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(deadline) {
			s.abort()
			s.t.Fatalf("steve: no %s in %v\n%s%s", what, limit, s.describe(), s.log.last())
		}
	}
}

func (s *server) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// worker waits until there is a worker other than old, and returns it.
func (s *server) worker(old int) int {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	pid, err := steved.AwaitWorker(ctx, s.keeper, old)
	if err != nil {
		s.abort()
		s.t.Fatalf("%v\n%s%s", err, s.describe(), s.log.last())
	}
	return pid
}

// stop stops the server as a user does.
func (s *server) stop() {
	s.t.Helper()
	s.conn.Close()
	s.signal(s.keeper, unix.SIGTERM)
	s.stops()
}

// stops waits for the end of the server, which must leave nothing behind.
func (s *server) stops() {
	s.t.Helper()
	s.gone(s.keeper)
	if s.keeper == s.own.Process.Pid {
		<-s.ended
		if code := s.own.ProcessState.ExitCode(); code != 0 {
			s.t.Errorf("steve: %v\n%s", s.own.ProcessState, s.log.String())
		}
	}
	// By name only: a look at the file itself may hang.
	if mounted(s.path) != "" {
		s.t.Errorf("steve left its mount at %s", s.path)
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
		s.t.Errorf("steve left %s behind", s.path)
	}
}

// abort ends the connection, and with it every wait for the server.
func (s *server) abort() {
	os.WriteFile("/sys/class/cuse/"+s.name+"/abort", []byte("1"), 0)
	if _, minor, ok := strings.Cut(mounted("/dev/"+s.name), ":"); ok {
		os.WriteFile(filepath.Join("/sys/fs/fuse/connections", minor, "abort"), []byte("1"), 0)
	}
}

// takeDown leaves nothing of the server.
func (s *server) takeDown() {
	s.outlived.Stop()
	s.abort()
	s.await("end of all its processes", func() bool {
		pids := s.processes()
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		return len(pids) == 0
	})
	<-s.ended
	path := "/dev/" + s.name
	if mounted(path) != "" {
		unix.Unmount(path, unix.MNT_DETACH)
	}
	if s.transport == "fuse" {
		os.Remove(path)
	}
	os.Remove("/run/steve/" + s.name + ".lock")
	if s.t.Failed() {
		s.t.Logf("steve said:\n%s", s.log.last())
	}
}

// mounted returns the device number, "MAJOR:MINOR", of what is mounted on path; empty for nothing.
func mounted(path string) (device string) {
	mounts, _ := os.ReadFile("/proc/self/mountinfo") // proc_pid_mountinfo(5): id, parent, device, root, mount point
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == path {
			device = f[2]
		}
	}
	return device
}

// takeovers is how often one worker has taken over from another.
func (s *server) takeovers() int {
	s.t.Helper()
	about, err := s.conn.Server()
	if err != nil {
		s.t.Fatal(err)
	}
	return int(about.Takeovers)
}
