package jobs

import (
	"bytes"
	"fmt"
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

	"steve/internal/testkit/need"
)

// Patience is how long a test waits for something that happens at once, on a machine that has little time for it.
const Patience = 30 * time.Second

// A Process is a program in a session of its own. That ends with the test.
type Process struct {
	*exec.Cmd
	// Ended is closed when it has. It is not waited for then, so that its process id, group and session stay its own.
	Ended chan struct{}
	// End kills what is left of the session and waits; the error is that of exec.Cmd.Wait.
	End func() error

	log string
}

// Start starts argv in dir. The environment is this one, without what a make around these tests has put there, and env.
func Start(t testing.TB, dir string, env []string, argv ...string) *Process {
	t.Helper()
	need.DefaultSignals()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p := &Process{Cmd: exec.Command(argv[0], argv[1:]...), log: log.Name(), Ended: make(chan struct{})}
	p.Dir, p.Stdout, p.Stderr = dir, log, log
	p.Env = slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains([]string{"MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS", "MAKELEVEL", "CARGO_MAKEFLAGS"}, name) ||
			strings.HasPrefix(name, "STEVE_")
	})
	p.Env = append(p.Env, env...)
	p.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.Ended)
		for unix.Waitid(unix.P_PID, p.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}()
	p.End = sync.OnceValue(func() error {
		// What forks meanwhile is found the next time.
		for members := p.Members(t); len(members) > 0; members = p.Members(t) {
			for _, pid := range members {
				unix.Kill(pid, unix.SIGKILL)
			}
			time.Sleep(time.Millisecond)
		}
		<-p.Ended
		return p.Wait()
	})
	t.Cleanup(func() { p.End() })
	return p
}

// Members returns the processes of its session that have not ended.
func (p *Process) Members(t testing.TB) []int {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var members []int
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): pid, name in parentheses, state, parent, group, session
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if fields[3] == strconv.Itoa(p.Process.Pid) && fields[0] != "Z" && fields[0] != "X" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			members = append(members, pid)
		}
	}
	return members
}

// Succeed returns when the process has ended, which it must do well.
func (p *Process) Succeed(t testing.TB) {
	t.Helper()
	<-p.Ended
	if err := p.End(); err != nil {
		t.Errorf("%q in %s: %v\n%s", p.Args, p.Dir, err, p.Output(t))
	}
}

// AwaitEnd returns when the process has ended, however.
func (p *Process) AwaitEnd(t testing.TB) {
	t.Helper()
	select {
	case <-p.Ended:
	case <-time.After(Patience):
		t.Fatalf("%q runs on\n%s", p.Args, p.Output(t))
	}
}

// AwaitMembers returns when all processes of its session have ended.
func (p *Process) AwaitMembers(t testing.TB) {
	t.Helper()
	Await(t, "end of all processes", func() (bool, string) {
		members := p.Members(t)
		return len(members) == 0, fmt.Sprintf("%v of %q run on\n%s", members, p.Args, p.Output(t))
	})
}

// Output returns what it has written to its standard output and error.
func (p *Process) Output(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Await returns when ok does, and when that was asked, which unlike the time of the answer does not depend on how soon a
// busy machine lets this process go on. With false goes what there is instead.
func Await(t testing.TB, what string, ok func() (bool, string)) time.Time {
	t.Helper()
	for deadline := time.Now().Add(Patience); ; time.Sleep(time.Millisecond) {
		asked := time.Now()
		done, instead := ok()
		if done {
			return asked
		}
		if asked.After(deadline) {
			t.Fatalf("no %s in %v: %s", what, Patience, instead)
		}
	}
}
