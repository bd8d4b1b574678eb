package systemd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/testkit/guest"
	"steve/internal/testkit/jobs"
	"steve/internal/testkit/need"
)

func TestMain(m *testing.M) { jobs.Main(m) }

func TestIntegrationSystemd(t *testing.T) {
	need.Client(t, "make-4.4")
	jobs.Tools(t)
	if !guest.EnterSystemd(t) {
		return
	}
	need.CUSE(t)
	install(t)
	for _, tt := range []struct {
		name    string
		kill    bool
		replace func(t *testing.T)
	}{
		{"restart", false, func(t *testing.T) { systemctl(t, "restart", unit) }},
		{"upgrade", false, func(t *testing.T) {
			jobs.Run(t, "cp", "-p", program, program+".new")
			if err := os.Rename(program+".new", program); err != nil {
				t.Fatal(err)
			}
			systemctl(t, "restart", unit)
		}},
		{"parked by hand", false, func(t *testing.T) { systemctl(t, "kill", "--signal=USR2", unit) }},
		{"killed", true, func(t *testing.T) { systemctl(t, "kill", "--signal=KILL", unit) }},
		// SIGQUIT ends a Go program as a panic does.
		{"panic", true, func(t *testing.T) { systemctl(t, "kill", "--signal=QUIT", unit) }},
		{"systemd itself is restarted", false, func(t *testing.T) {
			systemctl(t, "daemon-reexec")
			systemctl(t, "restart", unit)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { testBuild(t, tt.kill, tt.replace) })
	}
	t.Run("stop", testStop)
	t.Run("bad option", testBadOption)
	t.Run("program that cannot be executed", testBadProgram)
	t.Run("wake-ups of systemd", testWakeUps)
}

const (
	// replacements is how often steve is replaced during a build: more than the starts in 10 seconds that systemd allows by
	// default.
	replacements = 6
	// recipes is how many jobs a build has, and batch how many of them end at each replacement.
	recipes, batch = 48, 6
)

// testBuild has steve replaced again and again during a build. Jobs end, and others start, while it is; or after it, if the
// replacement is a kill: one in the very moment when the kernel copies a request costs the client an EIO in user-mode Linux,
// and only there.
func testBuild(t *testing.T, kill bool, replace func(t *testing.T)) {
	conn := start(t)
	was := identity(t)
	dir := t.TempDir()
	gate := filepath.Join(dir, "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	permits, err := os.OpenFile(gate, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer permits.Close()
	jobs.WriteFile(t, filepath.Join(dir, "Makefile"),
		fmt.Sprintf(".PHONY: all\nall: $(shell seq %d)\n%%:; @read permit <%s; echo job\n", recipes, gate))
	build := jobs.Start(t, dir, []string{"MAKEFLAGS= -j --jobserver-auth=fifo:" + device}, need.Client(t, "make-4.4"))
	allowed := 0
	allow := func(n int) {
		allowed += n
		if _, err := permits.WriteString(strings.Repeat("\n", n)); err != nil {
			t.Fatal(err)
		}
	}

	for range replacements {
		await(t, conn, "make that has all tokens and waits for more", func(s ctl.Status) bool {
			return s.Held == tokens && s.Waiters == 1
		})
		pid := mainPID(t)
		if !kill {
			allow(batch)
		}
		replace(t)
		jobs.Await(t, "another steve", func() (bool, string) {
			now := mainPID(t)
			return now != 0 && now != pid, fmt.Sprintf("process %d, was %d", now, pid)
		})
		if kill {
			allow(batch)
		}
		jobs.Await(t, "end of jobs", func() (bool, string) {
			output := build.Output(t)
			return strings.Count(output, "job\n") == allowed, output
		})
	}
	allow(recipes - allowed)
	build.Succeed(t)
	if output := build.Output(t); output != strings.Repeat("job\n", recipes) {
		t.Errorf("the build says:\n%s", output)
	}
	awaitAll(t, conn)
	if is := identity(t); is != was {
		t.Errorf("the device is %s, was %s", is, was)
	}
}

// waiter waits for a token, and returns where the outcome will be sent.
func waiter(t *testing.T) <-chan error {
	t.Helper()
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		defer unix.Close(fd)
		_, err := unix.Read(fd, make([]byte, 1))
		ended <- err
	}()
	return ended
}

// awaitAbort returns when a waiter was told that there is no server any more.
func awaitAbort(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if err != unix.ECONNABORTED {
			t.Errorf("who waited got %v, want %v", err, unix.ECONNABORTED)
		}
	case <-time.After(jobs.Patience):
		t.Fatal("who waited still waits")
	}
}

// exhaust starts steve, takes all tokens, and has somebody wait.
func exhaust(t *testing.T) (ended <-chan error) {
	t.Helper()
	conn := start(t)
	for range tokens {
		if err := conn.Take(); err != nil {
			t.Fatal(err)
		}
	}
	ended = waiter(t)
	await(t, conn, "waiter", func(s ctl.Status) bool { return s.Waiters == 1 })
	return ended
}

// expectNothing fails the test if anything is left of steve.
func expectNothing(t *testing.T) {
	t.Helper()
	if n := stored(t); n != "0" {
		t.Errorf("systemd keeps %s descriptors", n)
	}
	if _, err := os.Lstat(device); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", device, err)
	}
}

func testStop(t *testing.T) {
	ended := exhaust(t)
	if n := stored(t); n != "2" {
		t.Errorf("systemd keeps %s descriptors, want 2", n)
	}
	systemctl(t, "stop", unit)
	awaitAbort(t, ended)
	expectNothing(t)
	if got := show(t, "Result"); got != "success" {
		t.Errorf("the result is %s", got)
	}
	awaitAll(t, start(t))
}

// What cannot start must not be started for ever, with builds waiting for it.
func testBadOption(t *testing.T) {
	ended := exhaust(t)
	configure(t, "--no-such-option")
	t.Cleanup(func() { configure(t, "") })
	if err := exec.Command("systemctl", "restart", unit).Run(); err == nil {
		t.Error("steve has started with a bad option")
	}
	awaitAbort(t, ended)
	awaitState(t, "failed")
	if got := show(t, "ExecMainStatus"); got != "2" {
		t.Errorf("exit status %s, want 2", got)
	}
	expectNothing(t)
}

func testBadProgram(t *testing.T) {
	ended := exhaust(t)
	if err := os.Rename(program, program+".good"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Rename(program+".good", program); err != nil {
			t.Error(err)
		}
	})
	jobs.WriteProgram(t, program, "\x7fELF")
	if err := exec.Command("systemctl", "restart", unit).Run(); err == nil {
		t.Error("that has started")
	}
	awaitAbort(t, ended)
	awaitState(t, "failed")
	if got := show(t, "ExecMainStatus"); got != "203" {
		t.Errorf("exit status %s, want 203", got)
	}
	expectNothing(t)
}

// systemd must not poll the device that it keeps.
func testWakeUps(t *testing.T) {
	const pairs, most = 5000, 100
	conn := start(t)
	before := switches(t)
	for range pairs {
		if err := conn.Take(); err != nil {
			t.Fatal(err)
		}
		if err := conn.Return(1); err != nil {
			t.Fatal(err)
		}
	}
	if n := switches(t) - before; n > most {
		t.Errorf("systemd woke up %d times while %d tokens were taken and returned, want at most %d", n, pairs, most)
	}
}

// switches is how often PID 1 has stopped to wait.
func switches(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/1/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nvoluntary_ctxt_switches:")
	var n int
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
