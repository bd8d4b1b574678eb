package conform

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/pool"
	"steve/internal/testkit/guest"
	"steve/internal/testkit/need"
	"steve/internal/testkit/steved"
)

// transport is that of the servers of this process's tests.
type transport string

const (
	fuse transport = "fuse"
	cuse transport = "cuse"
)

// lifetime is how long a server may run. Then it is killed and its connection aborted, which ends the wait of every
// client in it: without that one gone wrong would leave processes behind that not even SIGKILL ends.
const lifetime = time.Minute

// A server is a running steve, and a connection of the test's to ask it by.
type server struct {
	t         *testing.T
	transport transport
	name      string        // --dev-name
	path      string        // of the token file, as the test and its clients see it
	cmd       *exec.Cmd     // as it was started
	process   *os.Process   // the one that users signal
	ended     chan struct{} // that one is reaped
	state     *os.ProcessState
	deadline  *time.Timer

	frozen         []int // processes
	stdout, stderr text
	ctl            *ctl.Conn
}

// serverOption changes how a server is started.
type serverOption func(*server)

// rootOf is the root directory of a process.
func rootOf(pid int) string { return fmt.Sprintf("/proc/%d/root", pid) }

var names atomic.Int32

// newName returns a name for a token file of its own.
func newName() string { return fmt.Sprintf("steve-conform-%d-%d", os.Getpid(), names.Add(1)) }

// launch starts steve with options of the command line.
func launch(t *testing.T, tr transport, name string, args []string, options ...serverOption) *server {
	t.Helper()
	need.DefaultSignals()
	s := &server{t: t, transport: tr, name: name}
	s.cmd = exec.Command(program(t), append([]string{"--transport", string(tr), "--dev-name", name}, args...)...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGTERM}
	for _, o := range options {
		o(s)
	}
	stdout := s.pipe(&s.stdout)
	stderr := s.pipe(&s.stderr)
	s.cmd.Stdout, s.cmd.Stderr = stdout, stderr
	err := s.cmd.Start()
	stdout.Close()
	stderr.Close()
	if err != nil {
		t.Fatal(err)
	}
	s.is(s.cmd.Process)
	s.deadline = time.AfterFunc(lifetime, s.abort)
	t.Cleanup(func() {
		s.abort()
		s.deadline.Stop()
		if t.Failed() {
			t.Logf("steve's standard output:\n%s\nstandard error:\n%s", s.stdout.String(), s.stderr.String())
		}
	})
	return s
}

// is makes a child of the test the process that users signal.
func (s *server) is(p *os.Process) {
	ended := make(chan struct{})
	s.process, s.ended = p, ended
	go func() {
		s.state, _ = p.Wait()
		close(ended)
	}()
}

// pipe copies what is written to the file it returns.
func (s *server) pipe(to *text) *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer r.Close()
		for lines := bufio.NewReader(r); ; {
			line, err := lines.ReadString('\n')
			to.add(line)
			if err != nil {
				return
			}
		}
	}()
	return w
}

var running = regexp.MustCompile(`(?m)^steve running on (\S+) for \d+ jobs\nat least \d+ jobs will be always available$`)

// start starts steve, waits until it serves, and connects.
func start(t *testing.T, tr transport, args []string, options ...serverOption) *server {
	t.Helper()
	s := launch(t, tr, newName(), args, options...)
	s.serves()
	s.connect()
	return s
}

// serves waits until the server says where it serves.
func (s *server) serves() {
	s.t.Helper()
	s.stdout.await(s.t, running, s.ended)
	path := running.FindStringSubmatch(s.stdout.String())[1]
	if s.cmd.SysProcAttr.Cloneflags&unix.CLONE_NEWNS != 0 {
		path = rootOf(s.process.Pid) + path
	}
	s.path = path
}

// connect opens the file for questions.
func (s *server) connect() {
	s.t.Helper()
	c, err := ctl.Open(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.ctl = c
	s.t.Cleanup(func() { c.Close() })
}

// status asks for the moment's counts.
func (s *server) status() ctl.Status {
	s.t.Helper()
	st, err := s.ctl.Status()
	if err != nil {
		s.t.Fatal(err)
	}
	if st.Free != max(0, st.Limits.Jobs-st.Held) {
		s.t.Fatalf("a token lost or invented: %+v", st)
	}
	return st
}

// has fails the test unless so many tokens are held now, and the rest free.
func (s *server) has(held int) {
	s.t.Helper()
	if st := s.status(); st.Held != held {
		s.t.Fatalf("%d tokens held, want %d", st.Held, held)
	}
}

// becomes waits until the counts are as ok says.
func (s *server) becomes(what string, ok func(ctl.Status) bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		st := s.status()
		if ok(st) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("never became so: %s: %+v", what, st)
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// waiting waits until so many processes wait.
func (s *server) waiting(n int) {
	s.t.Helper()
	s.becomes(fmt.Sprintf("%d processes wait", n), func(st ctl.Status) bool { return st.Waiters == n })
}

// holds waits until so many tokens are held.
func (s *server) holds(n int) {
	s.t.Helper()
	s.becomes(fmt.Sprintf("%d tokens held", n), func(st ctl.Status) bool { return st.Held == n })
}

// set changes settings.
func (s *server) set(mask pool.Field, l pool.Limits) {
	s.t.Helper()
	if err := s.ctl.Set(mask, l); err != nil {
		s.t.Fatal(err)
	}
}

// resize sets the number of tokens.
func (s *server) resize(jobs int) {
	s.t.Helper()
	s.set(pool.FieldJobs, pool.Limits{Jobs: jobs})
}

// soon is within how much time tokens are reclaimed and requests answered, whatever else goes on: a promise to users. User-mode
// Linux, on one processor, takes ten times as long as a machine for nearly everything.
func soon() time.Duration {
	const promise = 100 * time.Millisecond
	if guest.Inside() {
		return 10 * promise
	}
	return promise
}

// longestReclaim is over all tests of this process.
var longestReclaim atomic.Int64

// reclaims kills a client, and fails the test unless its tokens are soon back, when held are left.
func (s *server) reclaims(c *client, held int) {
	s.t.Helper()
	begin := time.Now()
	if err := c.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	s.holds(held)
	took := time.Since(begin)
	c.reap()
	for {
		old := longestReclaim.Load()
		if int64(took) <= old || longestReclaim.CompareAndSwap(old, int64(took)) {
			break
		}
	}
	s.t.Logf("reclaimed %v after SIGKILL", took)
	if took > soon() {
		s.t.Errorf("reclaimed %v after SIGKILL, promised %v", took, soon())
	}
}

// signal sends a signal to the server.
func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// freeze stops the server by SIGSTOP, so that requests queue up, until thaw. Its keeper is stopped with it, which would
// replace it.
func (s *server) freeze() {
	s.t.Helper()
	s.halt(s.process.Pid, steved.Worker(s.process.Pid))
}

// halt stops processes until thaw.
func (s *server) halt(pids ...int) {
	s.t.Helper()
	s.frozen = pids
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			s.t.Fatal(err)
		}
		for threadState(pid, pid) != 'T' || runs(pid) {
			time.Sleep(100 * time.Microsecond)
		}
	}
}

// runs says whether a thread of a process is not stopped yet.
func runs(pid int) bool {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return slices.ContainsFunc(tasks, func(e os.DirEntry) bool {
		var tid int
		fmt.Sscan(e.Name(), &tid)
		return threadState(pid, tid) != 'T'
	})
}

func (s *server) thaw() {
	s.t.Helper()
	for _, pid := range slices.Backward(s.frozen) {
		if err := unix.Kill(pid, unix.SIGCONT); err != nil {
			s.t.Fatal(err)
		}
	}
}

// exit waits for the end of the server and returns its status.
func (s *server) exit() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatal("steve did not end")
	}
	return s.state.ExitCode()
}

// stop stops the server as a service manager does, and fails the test unless it ends well and leaves nothing.
func (s *server) stop(sig syscall.Signal) {
	s.t.Helper()
	s.signal(sig)
	if status := s.exit(); status != 0 {
		s.t.Errorf("%v after %v", s.state, sig)
	}
	s.gone()
}

// gone fails the test if the token file is still there.
func (s *server) gone() {
	s.t.Helper()
	if strings.HasPrefix(s.path, "/proc/") {
		return // with the server's mount namespace
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		s.t.Fatal(err)
	}
	if strings.Contains(string(mounts), " "+s.path+" ") {
		s.t.Fatalf("steve left its mount at %s", s.path)
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
		s.t.Errorf("steve left %s: %v", s.path, err)
	}
}

// kill kills the server and its keeper, and returns when they are dead.
func (s *server) kill() {
	s.t.Helper()
	steved.Kill(s.process.Pid)
	s.exit()
}

// abort ends the server and its connection whatever state they are in.
func (s *server) abort() {
	steved.Kill(s.process.Pid)
	<-s.ended
	if !running.MatchString(s.stdout.String()) {
		return // it made nothing; what has the name is another's
	}
	os.WriteFile("/sys/class/cuse/"+s.name+"/abort", []byte("1"), 0)
	mounts, _ := os.ReadFile("/proc/self/mountinfo") // proc_pid_mountinfo(5): id, parent, device, root, mount point
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 5 || filepath.Base(f[4]) != s.name {
			continue
		}
		_, minor, _ := strings.Cut(f[2], ":")
		os.WriteFile("/sys/fs/fuse/connections/"+minor+"/abort", []byte("1"), 0)
		if unix.Unmount(f[4], unix.MNT_DETACH) != nil {
			exec.Command("fusermount3", "-u", "-z", "--", f[4]).Run()
		}
		os.Remove(f[4])
	}
	os.Remove("/run/steve/" + s.name + ".lock")
}

// text is what somebody else goes on writing.
type text struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (x *text) add(s string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	io.WriteString(&x.bytes, s)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.bytes.String()
}

// await waits until the text matches, or its writer has ended.
func (x *text) await(t *testing.T, re *regexp.Regexp, ended <-chan struct{}) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !re.MatchString(x.String()) {
		select {
		case <-ended:
			t.Fatalf("ended without a word of %q:\n%s", re, x.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("never said %q:\n%s", re, x.String())
		}
		time.Sleep(time.Millisecond)
	}
}
