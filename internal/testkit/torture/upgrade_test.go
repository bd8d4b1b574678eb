package torture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/jobs"
	"steve/internal/testkit/need"
)

// TestIntegrationUpgradeFUSE has no like on CUSE, for time: there the conformance suite has one worker follow another.
func TestIntegrationUpgradeFUSE(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	u := upgrades{t: t, program: filepath.Join(t.TempDir(), "steve")}
	replace(t, u.program, tested(t))
	u.server = start(t, u.program, "fuse")
	u.crowd = newCrowd(t, u.server.path, seed(t), u.server.abort)
	u.crowd.join(append(residents(), "stevie", "small make")...)

	for range 30 {
		u.succeeds(u.signal)
		replace(t, u.program, tested(t)) // as a package manager does
	}
	u.succeeds(func() {
		jobs.Run(t, u.program, "--upgrade", "--transport", "fuse", "--dev-name", u.server.name)
	})
	for _, broken := range []string{
		"no program",
		"#!/bin/sh\nexit 1\n",
		"#!/bin/sh\nexec sleep 1000\n",
	} {
		u.fails(broken)
	}
	replace(t, u.program, tested(t))
	u.succeeds(u.signal)
	if err := u.server.conclude(u.crowd); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d upgrades\n%s", u.done, u.crowd.summary())
	u.server.stop()
}

// upgrades are those of one server, with a crowd at work.
type upgrades struct {
	t       *testing.T
	program string // on the disk
	server  *server
	crowd   *crowd
	done    int
}

// signal asks for an upgrade.
func (u *upgrades) signal() { u.server.signal(u.server.keeper, unix.SIGUSR2) }

// succeeds asks for an upgrade, which must come about.
func (u *upgrades) succeeds(ask func()) {
	u.t.Helper()
	worker := u.server.worker(0)
	u.done++
	ask()
	if err := u.crowd.until("takeover", limit, func() bool { return u.server.takeovers() == u.done }); err != nil {
		u.t.Fatalf("upgrade %d: %v", u.done, err)
	}
	u.server.gone(worker)
	if !same(exe(u.server.worker(0)), u.program) {
		u.t.Fatalf("upgrade %d: the worker is not of the program on the disk", u.done)
	}
	// What is asked for before it has followed may be lost on it.
	u.server.await("keeper of the new program", func() bool { return same(exe(u.server.keeper), u.program) })
}

// fails asks for an upgrade to a program that is broken: the old one goes on.
func (u *upgrades) fails(program string) {
	u.t.Helper()
	broken := filepath.Join(u.t.TempDir(), "steve")
	jobs.WriteProgram(u.t, broken, program)
	replace(u.t, u.program, broken)
	said := u.server.log.String()
	u.signal()
	err := u.crowd.until("word of an upgrade that failed", limit, func() bool {
		return strings.Contains(strings.TrimPrefix(u.server.log.String(), said), "upgrade failed")
	})
	if err != nil {
		u.t.Fatalf("%q: %v", program, err)
	}
	if n := u.server.takeovers(); n != u.done {
		u.t.Errorf("%q: %d takeovers, want %d", program, n, u.done)
	}
	if err := u.crowd.getOn(1); err != nil {
		u.t.Fatalf("%q: %v", program, err)
	}
}

// tested is the steve that is tested.
func tested(t *testing.T) string {
	t.Helper()
	return filepath.Join(jobs.Tools(t), "steve")
}

// replace puts a copy of a program in the place of another, which may run.
func replace(t *testing.T, program, by string) {
	t.Helper()
	text, err := os.ReadFile(by)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program+".new", text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(program+".new", program); err != nil {
		t.Fatal(err)
	}
}

// same says whether two paths lead to the same file. The program of a process in the middle of an execve leads nowhere.
func same(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
