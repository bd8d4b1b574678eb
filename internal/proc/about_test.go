package proc

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func bootTime(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}

func TestAbout(t *testing.T) {
	before := bootTime(t)
	cmd := exec.Command("cat")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	after := bootTime(t)
	a, err := Root.About(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if a.UID != os.Geteuid() {
		t.Errorf("user %d, want %d", a.UID, os.Geteuid())
	}
	if a.Started < before-tick || a.Started > after {
		t.Errorf("started at %v, want %v to %v", a.Started, before, after)
	}
	input.Close()
	cmd.Wait()
	if _, err := Root.About(cmd.Process.Pid); !errors.Is(err, ErrGone) {
		t.Errorf("after its end: %v, want ErrGone", err)
	}
}

func TestAboutFixture(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "7"), 0o700),
		os.WriteFile(filepath.Join(dir, "7/status"), []byte("Name:\tUid: 5\nPPid:\t1\nUid:\t1000\t0\t1000\t1000\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "7/stat"), []byte("7 (a) b (c) S 1 7 7 0 -1 4194560 97 0 0 0 0 0 0 0 20 0 1 0 12345 2494464 208 18\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	want := About{UID: 0, Started: 123450 * time.Millisecond}
	if a, err := FS(dir).About(7); a != want || err != nil {
		t.Errorf("%+v, %v, want %+v", a, err, want)
	}
}

func TestCgroup(t *testing.T) {
	for lines, want := range map[string]string{
		"": "",
		"0::/user.slice/user-1000.slice/session-2.scope\n": "/user.slice/user-1000.slice/session-2.scope",
		"0::/\n": "/",
		"12:cpu,cpuacct:/a\n1:name=systemd:/user.slice\n0::/v2\n":       "/v2",
		"12:cpu,cpuacct:/a\n1:name=systemd:/user.slice/x.scope\n0::/\n": "/user.slice/x.scope",
		"0::/a:b\n":  "/a:b",
		"5:cpu:/a\n": "",
	} {
		if got := cgroup(lines); got != want {
			t.Errorf("%q: %q, want %q", lines, got, want)
		}
	}
}
