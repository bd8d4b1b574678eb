package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
)

// alone returns an environment in which stevies have no steve, but a pool of one token, and the socket of who serves it.
func alone(t *testing.T) (env []string, socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "alone") // short, for there is a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	need.DefaultSignals()
	return append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "STEVE_DEVICE=/nonexistent/steve", "HISTFILE=", "PS1=ready> "),
		filepath.Join(dir, "stevie-pool.1.socket")
}

// A stevie that gets no answer, as who serves its pool is stopped, can be ended.
func TestIntegrationSignalWhileServerStopped(t *testing.T) {
	env, _ := alone(t)
	serving := exec.Command("stevie", "-j1", "sleep", "60")
	serving.Env = env
	out := new(lockedBuffer)
	serving.Stderr = out
	if err := serving.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		serving.Process.Signal(unix.SIGTERM)
		serving.Process.Signal(unix.SIGCONT)
		serving.Wait()
	})
	eventually(t, "the first stevie serves", func() bool { return strings.Contains(out.String(), "sharing 1 job tokens") })
	serving.Process.Signal(unix.SIGSTOP)
	eventually(t, "it is stopped", func() bool { return state(t, serving.Process.Pid) == "T" })
	for _, s := range []syscall.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP} {
		cmd := exec.Command("stevie", "true")
		cmd.Env = env
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it has called the server", func() bool { return hasSocket(cmd.Process.Pid) })
		cmd.Process.Signal(s)
		timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		if got := exitStatus(t, cmd.Wait()); got != 128+int(s) {
			t.Fatalf("%v: exit status %d, want %d", s, got, 128+int(s))
		}
		timer.Stop()
	}
}

func hasSocket(pid int) bool {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "socket:") {
			return true
		}
	}
	return false
}

// A stevie that serves its pool while it waits for a token itself hands over before job control stops it.
func TestIntegrationTerminalWaitingServer(t *testing.T) {
	env, socket := alone(t)
	newShell := func() *terminal {
		shell := exec.Command(need.Tool(t, "bash"), "--norc", "--noprofile", "-i")
		shell.Env = env
		tty := startOnTerminal(t, shell)
		t.Cleanup(func() {
			shell.Process.Kill()
			tty.master.Close() // hangs up what it has run
			shell.Wait()
		})
		tty.expect("ready> ")
		return tty
	}
	first, waiting := newShell(), newShell()
	first.typeIn("stevie -j1 listener\n")
	child, _ := strconv.Atoi(first.expect(`listening (\d+)`))
	t.Cleanup(func() {
		syscall.Kill(child, syscall.SIGUSR1)
		syscall.Kill(child, syscall.SIGCONT)
	})
	waiting.typeIn("stevie -j1 sh -c 'echo ran'\n")
	waiting.expect(`waiting for a token \(1 of 1 out\)`)

	first.typeIn(ctrlZ)
	first.expect("Stopped")
	awaitOther(t, socket, parent(t, child))
	waiting.typeIn(ctrlZ)
	waiting.expect("Stopped")

	// The token comes back, and somebody must be there to give it out.
	first.typeIn("fg\n")
	eventually(t, "the first goes on", func() bool { return state(t, child) != "T" })
	syscall.Kill(child, syscall.SIGUSR1)
	first.expect(`(?s)Stopped.*ready> .*ready> `)
	first.typeIn("stevie sh -c 'echo third'\n")
	first.expect(`\nthird`)
	waiting.typeIn("fg\n")
	waiting.expect(`\nran`)
}

// awaitOther waits until a process other than pid serves the pool.
func awaitOther(t *testing.T, socket string, pid int) {
	t.Helper()
	eventually(t, "another process serves", func() bool {
		server := serverAt(socket)
		return server != 0 && server != pid
	})
}
