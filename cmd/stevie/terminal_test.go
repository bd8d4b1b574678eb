package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
)

// A lockedBuffer collects output while others look at it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A terminal is a pseudo-terminal with one session on it.
type terminal struct {
	t      *testing.T
	master *os.File
	output lockedBuffer
}

// startOnTerminal starts cmd as the leader of a session on a terminal of its own.
func startOnTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()

	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty := &terminal{t: t, master: master}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			tty.output.Write(b[:n])
			if err != nil {
				return // EIO: the last process of the session is gone
			}
		}
	}()
	return tty
}

func (tty *terminal) typeIn(keys string) {
	tty.t.Helper()
	if _, err := tty.master.WriteString(keys); err != nil {
		tty.t.Fatal(err)
	}
}

// expect waits for output that matches and returns the last submatch.
func (tty *terminal) expect(pattern string) string {
	tty.t.Helper()
	re := regexp.MustCompile(pattern)
	var m []string
	defer func() {
		if m == nil {
			tty.t.Logf("output: %q", tty.output.String())
		}
	}()
	eventually(tty.t, "there is output like "+pattern, func() bool {
		m = re.FindStringSubmatch(tty.output.String())
		return m != nil
	})
	return m[len(m)-1]
}

const (
	ctrlC = "\x03"
	ctrlZ = "\x1a"
)

func TestIntegrationTerminalWaiting(t *testing.T) {
	c := startSteve(t, "-j1")
	l := startListener(t, c)
	cmd := stevieCommand(c, "true")
	tty := startOnTerminal(t, cmd)
	tty.expect(`(?m)^stevie: waiting for a token \(1 of 1 out\)\r$`)
	tty.typeIn(ctrlC)
	if got := exitStatus(t, cmd.Wait()); got != 130 {
		t.Errorf("exit status %d, want 130", got)
	}
	syscall.Kill(l.child, syscall.SIGUSR1)
	l.Wait()
}

func TestIntegrationTerminalInterrupt(t *testing.T) {
	c := startSteve(t, "-j1")
	cmd := stevieCommand(c, "listener")
	tty := startOnTerminal(t, cmd)
	child, _ := strconv.Atoi(tty.expect(`listening (\d+)`))
	tty.typeIn(ctrlC)
	tty.expect("got interrupt")
	// Had stevie passed the interrupt on, it would have done so before this.
	cmd.Process.Signal(syscall.SIGTERM)
	tty.expect("got terminated")
	syscall.Kill(child, syscall.SIGUSR1)
	if got := exitStatus(t, cmd.Wait()); got != 3 {
		t.Errorf("exit status %d, want 3", got)
	}
	if n := strings.Count(tty.output.String(), "got interrupt"); n != 1 {
		t.Errorf("the command was interrupted %d times, want once: %q", n, tty.output.String())
	}
}

func TestIntegrationTerminalJobControl(t *testing.T) {
	t.Run("one", func(t *testing.T) { testJobControl(t, "stevie listener") })
	t.Run("nested", func(t *testing.T) { testJobControl(t, "stevie stevie listener") })
}

func testJobControl(t *testing.T, command string) {
	c := startSteve(t, "-j1")
	shell := exec.Command(need.Tool(t, "bash"), "--norc", "--noprofile", "-i")
	shell.Env = append(os.Environ(), "STEVE_DEVICE="+c.File().Name(), "HISTFILE=", "PS1=ready> ")
	tty := startOnTerminal(t, shell)
	tty.expect("ready> ")
	tty.typeIn(command + "\n")
	child, _ := strconv.Atoi(tty.expect(`listening (\d+)`))
	stevie := child
	job := []int{child}
	for range strings.Count(command, "stevie") {
		stevie = parent(t, stevie)
		job = append(job, stevie)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, pid := range job {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			shell.Process.Kill()
		}
	})

	for i := range 20 {
		tty.typeIn(ctrlZ)
		for _, pid := range job {
			eventually(t, fmt.Sprintf("%d is stopped (round %d)", pid, i), func() bool { return state(t, pid) == "T" })
		}
		if s := status(t, c); s.Held != 1 {
			t.Fatalf("%d tokens held, want 1", s.Held)
		}
		// The prompt comes back only when the shell has seen its job stopped.
		tty.expect(fmt.Sprintf(`(?s)(Stopped.*ready> .*){%d}`, i+1))
		tty.typeIn("fg\n")
		for _, pid := range job {
			eventually(t, fmt.Sprintf("%d goes on (round %d)", pid, i), func() bool { return state(t, pid) != "T" })
		}
		// All are in the foreground again.
		syscall.Kill(stevie, syscall.SIGTERM)
		tty.expect(fmt.Sprintf(`(?s)(got terminated.*){%d}`, i+1))
	}

	// Stopped by name, the command is alone in it.
	syscall.Kill(child, syscall.SIGSTOP)
	eventually(t, "the command is stopped", func() bool { return state(t, child) == "T" })
	syscall.Kill(child, syscall.SIGCONT)
	syscall.Kill(child, syscall.SIGUSR1)
	eventually(t, "the token is back", func() bool { return status(t, c).Free == 1 })
	tty.typeIn("echo status=$?\n")
	tty.expect("status=3")
	tty.typeIn("exit\n")
	shell.Wait()
}

// state is the letter for a process's state, parent the id of its parent: proc_pid_stat(5).
func state(t *testing.T, pid int) string { return stat(t, pid)[0] }

func parent(t *testing.T, pid int) int {
	n, err := strconv.Atoi(stat(t, pid)[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func stat(t *testing.T, pid int) []string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	s := string(b)
	return strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
}
