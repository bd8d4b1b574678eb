package conform

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// upgradeCases are about how one worker follows another, and what is when none does.
var upgradeCases = []testCase{
	{name: "steve --upgrade", run: testUpgradeCommand, anybody: true},
	{name: "upgrade to another program", run: testUpgradeProgram},
	{name: "a stopped worker is replaced", run: testStopped},
	{name: "no keeper", args: []string{"--keeper", "none", "-j2"}, run: testNoKeeper, anybody: true},
}

// upgradeCommand runs steve --upgrade.
func (s *server) upgradeCommand() (status int, stderr string) {
	s.t.Helper()
	var out, log bytes.Buffer
	cmd := exec.Command(program(s.t), "--upgrade", "--dev-name", s.name)
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	if out.Len() > 0 {
		s.t.Errorf("steve --upgrade prints %q", out.String())
	}
	return cmd.ProcessState.ExitCode(), log.String()
}

func testUpgradeCommand(t *testing.T, s *server) {
	holder, h := empties(t, s)
	read := newClient(t).on("")
	r := read.open(s.path, unix.O_RDWR)
	waits := read.blocks(r)
	s.waiting(1)
	for range 2 {
		s.replaced(func(int) {
			if status, log := s.upgradeCommand(); status != 0 || log != "" {
				t.Errorf("steve --upgrade exits with %d, and says %q", status, log)
			}
		})
		s.follows()
	}
	s.has(1)
	waits.waits()
	holder.gives(h, 1)
	waits.gets()
	read.gives(r, 1)
}

// elsewhere has the server be a copy of the program, at a path of its own.
func elsewhere(s *server) {
	s.cmd.Path = filepath.Join(s.t.TempDir(), "steve")
	s.installCopy()
}

// installCopy installs a copy of the program.
func (s *server) installCopy() {
	s.t.Helper()
	s.install(func(f *os.File) error {
		from, err := os.Open(program(s.t))
		if err != nil {
			return err
		}
		defer from.Close()
		_, err = io.Copy(f, from)
		return err
	})
}

// installScript installs a script of the shell.
func (s *server) installScript(text string) {
	s.t.Helper()
	s.install(func(f *os.File) error {
		_, err := f.WriteString("#!/bin/sh\n" + text + "\n")
		return err
	})
}

// install puts another program in the place of the server's, as package managers do.
func (s *server) install(write func(*os.File) error) {
	s.t.Helper()
	f, err := os.OpenFile(s.cmd.Path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if err := write(f); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(f.Name(), s.cmd.Path); err != nil {
		s.t.Fatal(err)
	}
}

// programIs fails the test unless a process runs what is at the server's path, or was before.
func (s *server) programIs(what string, pid int, installed bool) {
	s.t.Helper()
	exe, err := os.Stat("/proc/" + itoa(pid) + "/exe")
	if err != nil {
		s.t.Fatal(err)
	}
	disk, err := os.Stat(s.cmd.Path)
	if err != nil && installed {
		s.t.Fatal(err)
	}
	if is := disk != nil && os.SameFile(exe, disk); is != installed {
		s.t.Errorf("the %s runs the program that is installed: %v, want %v", what, is, installed)
	}
}

func testUpgradeProgram(t *testing.T, other *server) {
	s := start(t, other.transport, []string{"-j2"}, elsewhere)
	holder, h := empties(t, s)
	same := func(installed bool) {
		t.Helper()
		s.programIs("keeper", s.process.Pid, installed)
		s.programIs("worker", s.about().Worker, installed)
	}
	fails := func() {
		t.Helper()
		const line = "upgrade failed, going on with the old program"
		before := strings.Count(s.stderr.String(), line)
		s.signal(unix.SIGUSR2)
		s.stderr.await(t, regexp.MustCompile(`(?s)(`+line+`.*){`+itoa(before+1)+`}`), s.ended)
	}
	same(true)

	before := s.about()
	s.installScript("exit 3")
	fails()
	if err := os.Remove(s.cmd.Path); err != nil {
		t.Fatal(err)
	}
	fails()
	if now := s.about(); now != before {
		t.Errorf("%+v became %+v", before, now)
	}
	// One that says it is ready, and ends when it has its turn: the old program serves on as another process.
	s.replaced(func(worker int) {
		s.installScript("printf ready >&3; while kill -0 " + itoa(worker) + "; do sleep 0.01; done; exit 3")
		fails()
	})
	same(false)

	s.has(2)
	s.installCopy()
	s.replaced(func(int) { s.signal(unix.SIGUSR2) })
	s.follows()
	same(true)
	s.has(2)
	s.killKeeper()
	same(true)
	holder.gives(h, 2)
	s.stop(unix.SIGTERM)
}

func testStopped(t *testing.T, s *server) {
	holder, h := empties(t, s)
	worker := s.about().Worker
	s.halt(worker)
	s.thaw() // soon enough
	begin := time.Now()
	s.replaced(func(worker int) { s.halt(worker) })
	took := time.Since(begin)
	t.Logf("a stopped worker was replaced after %v", took)
	if took < 900*time.Millisecond || took > time.Second+10*soon() {
		t.Errorf("a stopped worker was replaced after %v, want about a second", took)
	}
	if err := unix.Kill(worker, 0); err != unix.ESRCH {
		t.Errorf("the stopped one is still there: %v", err)
	}
	s.has(1)
	holder.gives(h, 1)
}

func testNoKeeper(t *testing.T, s *server) {
	for range 2 {
		holder, h := empties(t, s)
		c := newClient(t)
		fd := c.on("").open(s.path, unix.O_RDWR)
		read := c.on("").blocks(fd)
		poll := c.on("poller").poll(fd, unix.POLLIN, -1).arrived()
		s.waiting(1)
		s.signal(unix.SIGUSR2)
		s.stderr.await(t, regexp.MustCompile(`SIGUSR2 .* no keeper`), s.ended)
		if status, log := s.upgradeCommand(); status != 1 || !strings.HasPrefix(log, "steve: ") || !strings.Contains(log, "--keeper none") || strings.Count(log, "\n") != 1 {
			t.Errorf("steve --upgrade exits with %d, and says %q", status, log)
		}
		if a := s.about(); a.Keeper != 0 || a.Worker != s.process.Pid || a.Takeovers != 0 {
			t.Errorf("%+v, want no keeper and worker %d", a, s.process.Pid)
		}
		read.waits()
		s.signal(unix.SIGKILL)
		s.exit()
		read.fails(unix.ECONNABORTED)
		if got := polled(poll.wait()); got&unix.POLLERR == 0 {
			t.Errorf("poll says %#x", got)
		}
		holder.write(h, "+").is(t, "write to the dead", 0, unix.ENOTCONN)
		next := launch(t, s.transport, s.name, []string{"--keeper", "none", "-j2"})
		next.serves()
		next.connect()
		s = next
	}
	s.stop(unix.SIGTERM)
}
