package proc

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is also the processes that the tests look at: with helperEnv set it obeys commands from its standard input.
const helperEnv = "PROC_TEST_HELPER"

// patience is how long a test waits for what must come soon, on a machine as busy as may be.
const patience = time.Minute

func init() {
	if os.Getenv(helperEnv) != "" {
		runtime.LockOSThread() // the main goroutine is the main thread
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		helper()
	}
	code := m.Run()
	if leaked := pidfds(); leaked != 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "%d pidfds left open\n", leaked)
		code = 1
	}
	os.Exit(code)
}

func pidfds() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	n := 0
	for _, e := range entries {
		if name, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.Contains(name, "pidfd") {
			n++
		}
	}
	return n
}

// helper answers each command by one line. It ends with its standard input.
func helper() {
	leave := make(chan struct{})
	go func() {
		defer os.Exit(0)
		threads := make(map[string]chan struct{})
		fmt.Println("ready")
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			command, arg, _ := strings.Cut(in.Text(), " ")
			switch command {
			case "thread": // start a thread, tell its id
				tid, end := make(chan int), make(chan struct{})
				go func() {
					runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
					tid <- unix.Gettid()
					<-end
				}()
				id := strconv.Itoa(<-tid)
				threads[id] = end
				fmt.Println(id)
			case "end": // end a thread, return when it is gone
				close(threads[arg])
				tid, _ := strconv.Atoi(arg)
				for unix.Tgkill(os.Getpid(), tid, 0) != unix.ESRCH {
					runtime.Gosched()
				}
				fmt.Println("ended")
			case "name": // rename the main thread, which is the process to others
				must(os.WriteFile("/proc/self/comm", []byte(arg), 0))
				fmt.Println("named")
			case "leave": // end the main thread only
				close(leave)
				for !strings.Contains(state(os.Getpid()), "Z") {
					runtime.Gosched()
				}
				fmt.Println("left")
			case "exec": // execve by another thread than the main one: its id, then the new program's "ready"
				fmt.Println(unix.Gettid())
				err := syscall.Exec("/proc/self/exe", os.Args, os.Environ())
				fmt.Println(err)
			case "visible": // Visible as nobody, who is in the group arg only
				group, _ := strconv.Atoi(arg)
				must(syscall.Setgroups([]int{group}))
				must(syscall.Setgid(65534))
				must(syscall.Setuid(65534))
				fmt.Println(Root.Visible())
			}
		}
	}()
	<-leave
	syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0) // exit_group would be the end of all threads
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// state returns the state of the main thread of a process, such as "Z (zombie)".
func state(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, _ := strings.Cut(string(b), "State:\t")
	line, _, _ := strings.Cut(after, "\n")
	return line
}

// A process is a running helper.
type process struct {
	pid     int
	cmd     *exec.Cmd
	in, out *os.File
	lines   *bufio.Reader
	reaped  bool
}

func start(t testing.TB) *process {
	t.Helper()
	inRead, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, outWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "helper")
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inRead, outWrite, os.Stderr
	err = cmd.Start()
	inRead.Close()
	outWrite.Close()
	if err != nil {
		in.Close()
		out.Close()
		t.Fatal(err)
	}
	p := &process{pid: cmd.Process.Pid, cmd: cmd, in: in, out: out, lines: bufio.NewReader(out)}
	t.Cleanup(func() {
		p.kill()
		p.reap()
		in.Close()
		out.Close()
	})
	if got := p.line(t); got != "ready" {
		t.Fatalf("helper says %q", got)
	}
	return p
}

func (p *process) line(t testing.TB) string {
	t.Helper()
	p.out.SetReadDeadline(time.Now().Add(patience))
	line, err := p.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("no answer from the helper: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (p *process) ask(t testing.TB, command string) string {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		t.Fatal(err)
	}
	return p.line(t)
}

func (p *process) number(t testing.TB, command string) int {
	t.Helper()
	n, err := strconv.Atoi(p.ask(t, command))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// kill sends SIGKILL; the process stays a zombie until reap.
func (p *process) kill() { p.cmd.Process.Kill() }

// reap waits for the end of the process and frees its pid.
func (p *process) reap() {
	if !p.reaped {
		p.cmd.Wait()
		p.reaped = true
	}
}

// rerun runs the calling test in a child process, in new namespaces as flags say, and returns true in the parent when
// that is done.
func rerun(t *testing.T, cloneflags uintptr) (parent bool) {
	t.Helper()
	const childEnv = "PROC_TEST_RERUN"
	if os.Getenv(childEnv) == t.Name() {
		return false
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), childEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: cloneflags}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in the child: %v\n%s", err, out)
	}
	return true
}

// ownProc mounts, in the namespaces of rerun, a proc file system with options.
func ownProc(t *testing.T, options string) {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(os.NewSyscallError("mount", err))
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, options); err != nil {
		t.Fatal(os.NewSyscallError("mount", err))
	}
}

// nextPID makes id the next one in this pid namespace, of a process or a thread, if it is free.
func nextPID(t *testing.T, id int) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(id-1)), 0); err != nil {
		t.Fatal(err)
	}
}

// recycle starts a process with the id of another process or thread, which free makes, ends, and returns the id of.
// free is called again if a new thread of this very process, which the Go runtime starts when it likes, took the id.
func recycle(t *testing.T, free func() (id int)) *process {
	t.Helper()
	for {
		id := free()
		nextPID(t, id)
		p := start(t)
		if p.pid == id {
			return p
		}
		p.kill()
		p.reap()
	}
}
