package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"steve/internal/ctl"
	"steve/internal/testkit/need"
	"steve/internal/testkit/steved"
)

// startSteve starts a steve for the test alone and returns a connection to it.
func startSteve(t *testing.T, args ...string) *ctl.Conn {
	t.Helper()
	need.Root(t)
	need.FUSE(t)
	program, err := buildSteve()
	if err != nil {
		t.Fatal(err)
	}
	s, err := steved.Start(program, args...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ctl.Open(s.Path)
	t.Cleanup(func() {
		if c != nil {
			c.Close()
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// stevieCommand returns stevie as a client of the steve behind c.
func stevieCommand(c *ctl.Conn, args ...string) *exec.Cmd {
	cmd := exec.Command("stevie", args...)
	cmd.Env = append(os.Environ(), "STEVE_DEVICE="+c.File().Name())
	return cmd
}

// A listening command is a stevie that runs listener.
type listening struct {
	*exec.Cmd
	child int
	lines *bufio.Reader
}

func startListener(t *testing.T, c *ctl.Conn) *listening {
	t.Helper()
	l := &listening{Cmd: stevieCommand(c, "listener")}
	out, err := l.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.lines = bufio.NewReader(out)
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanf(l.lines, "listening %d\n", &l.child); err != nil {
		t.Fatal(err)
	}
	// A line that never comes would be waited for without an end.
	deadline := time.AfterFunc(time.Minute, func() { syscall.Kill(l.child, syscall.SIGKILL) })
	t.Cleanup(func() { deadline.Stop() })
	// It outlives a stevie that is killed, and ends with the pipe's reader at the latest.
	t.Cleanup(func() { syscall.Kill(l.child, syscall.SIGUSR1) })
	return l
}

// eventually waits for something that must come true and has no event to wait for.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so: %s", what)
		}
	}
}

func status(t *testing.T, c *ctl.Conn) ctl.Status {
	t.Helper()
	s, err := c.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func exitStatus(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if err == nil {
		return 0
	}
	if !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return exit.ExitCode()
}

func TestIntegrationSignalsArePassedOn(t *testing.T) {
	c := startSteve(t, "-j1")
	l := startListener(t, c)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		l.Process.Signal(s)
		if line, err := l.lines.ReadString('\n'); line != "got "+s.String()+"\n" {
			t.Fatalf("%v: %q, %v", s, line, err)
		}
	}
	// The terminal's interrupt reaches the command without help, so this one must not.
	l.Process.Signal(syscall.SIGINT)
	l.Process.Signal(syscall.SIGTERM)
	if line, err := l.lines.ReadString('\n'); line != "got terminated\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if s := status(t, c); s.Held != 1 {
		t.Errorf("%d tokens held, want 1", s.Held)
	}
	syscall.Kill(l.child, syscall.SIGUSR1)
	if rest, _ := io.ReadAll(l.lines); len(rest) > 0 {
		t.Errorf("more signals: %q", rest)
	}
	if got := exitStatus(t, l.Wait()); got != 3 {
		t.Errorf("exit status %d, want the command's", got)
	}
	if s := status(t, c); s.Free != 1 {
		t.Errorf("%d tokens free, want 1", s.Free)
	}
}

func TestIntegrationKilled(t *testing.T) {
	c := startSteve(t, "-j1")
	l := startListener(t, c)
	l.Process.Kill()
	eventually(t, "the token is back", func() bool { return status(t, c).Free == 1 })
	// The command runs on.
	syscall.Kill(l.child, syscall.SIGUSR2)
	if line, err := l.lines.ReadString('\n'); line != "got user defined signal 2\n" {
		t.Fatalf("%q, %v", line, err)
	}
	syscall.Kill(l.child, syscall.SIGUSR1)
	l.Wait()
}

func TestIntegrationSignalsWhileWaiting(t *testing.T) {
	c := startSteve(t, "-j1")
	l := startListener(t, c)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		cmd := stevieCommand(c, "true")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "stevie waits", func() bool { return status(t, c).Waiters == 1 })
		cmd.Process.Signal(s)
		if got := exitStatus(t, cmd.Wait()); got != 128+int(s) {
			t.Errorf("exit status %d after %v, want %d", got, s, 128+int(s))
		}
	}

	cmd := stevieCommand(c, "sh", "-c", "exit 5")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stevie waits", func() bool { return status(t, c).Waiters == 1 })
	syscall.Kill(l.child, syscall.SIGUSR1)
	if got := exitStatus(t, cmd.Wait()); got != 5 {
		t.Errorf("exit status %d, want 5", got)
	}
	if got := exitStatus(t, l.Wait()); got != 3 {
		t.Errorf("exit status %d, want 3", got)
	}
	if s := status(t, c); s.Free != 1 {
		t.Errorf("%d tokens free, want 1", s.Free)
	}
}

// TestIntegrationInterruptAtAnyTime types ^C, so to speak, in all phases of a stevie up to and beyond the fork.
func TestIntegrationInterruptAtAnyTime(t *testing.T) {
	c := startSteve(t, "-j1")
	start := time.Now()
	l := startListener(t, c)
	untilCommand := time.Since(start)
	syscall.Kill(l.child, syscall.SIGUSR1)
	if got := exitStatus(t, l.Wait()); got != 3 {
		t.Fatalf("exit status %d, want 3", got)
	}

	const rounds = 200
	for i := range rounds {
		cmd := stevieCommand(c, "sleep", "20")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := untilCommand * time.Duration(i) / rounds
		time.Sleep(after)
		syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		cmd.Wait()
		// Killed by it, before all else, or with the status of a command that was.
		if s := cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() && s.ExitStatus() != 128+int(syscall.SIGINT) {
			t.Fatalf("exit status %d after an interrupt at %v", s.ExitStatus(), after)
		}
		eventually(t, "the token is back", func() bool { return status(t, c).Free == 1 })
	}
}

// TestIntegrationBrokenStderr is about messages that nobody reads.
func TestIntegrationBrokenStderr(t *testing.T) {
	c := startSteve(t, "-j1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	cmd := stevieCommand(c, "gmake", "-j8", "all") // it says that it drops the -j8
	cmd.Stderr = w
	if out, err := cmd.Output(); !strings.Contains(string(out), `["all"]`) || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// TestIntegrationServerStops is about a wait that ends without a token.
func TestIntegrationServerStops(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	program, err := buildSteve()
	if err != nil {
		t.Fatal(err)
	}
	s, err := steved.Start(program, "-j1")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ctl.Open(s.Path)
	if err != nil {
		t.Fatal(errors.Join(err, s.Stop()))
	}
	defer c.Close()
	l := startListener(t, c)
	cmd := stevieCommand(c, "true")
	var stderr lockedBuffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stevie waits", func() bool { return status(t, c).Waiters == 1 })
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if got := exitStatus(t, cmd.Wait()); got != 125 {
		t.Errorf("exit status %d, want 125", got)
	}
	want := fmt.Sprintf("stevie: unable to take a token from %s: Software caused connection abort (did steve stop?)\n", s.Path)
	if got := stderr.String(); got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
	// The command that runs is none the worse for it, nor is its stevie.
	syscall.Kill(l.child, syscall.SIGUSR1)
	if got := exitStatus(t, l.Wait()); got != 3 {
		t.Errorf("exit status %d, want 3", got)
	}
}
