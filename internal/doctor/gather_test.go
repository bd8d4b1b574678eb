package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/proc"
)

// host is one with nothing but what a test puts there.
func host(t *testing.T, env map[string]string) Host {
	t.Helper()
	dir := t.TempDir()
	// What stevie looks at itself.
	for _, name := range []string{"MAKEFLAGS", "CARGO_MAKEFLAGS", "STEVE_BRIDGE"} {
		t.Setenv(name, "")
	}
	t.Setenv("STEVE_DEVICE", filepath.Join(dir, "steve"))
	t.Setenv("PATH", dir)
	h := Host{Proc: proc.FS(filepath.Join(dir, "proc")), RootPath: filepath.Join(dir, "root"), CUSE: filepath.Join(dir, "cuse")}
	for name, value := range env {
		t.Setenv(name, value)
	}
	h.Env = os.Environ()
	return h
}

func (h Host) at(name string) string { return filepath.Join(filepath.Dir(h.RootPath), name) }

func TestGatherNothing(t *testing.T) {
	h := host(t, nil)
	f := h.Gather()
	switch {
	case f.Used.State != Missing || f.Used.Path != h.at("steve"):
		t.Errorf("stevie uses %+v, want %s, which is missing", f.Used, h.at("steve"))
	case f.Root.State != Missing || f.CUSE || len(f.Programs) > 0 || len(f.Sccache) > 0:
		t.Errorf("%+v", f)
	}
	if want := "unable to open " + h.at("steve") + ": No such file or directory"; f.Used.Problem != want {
		t.Errorf("problem %q, want %q", f.Used.Problem, want)
	}
}

func TestGather(t *testing.T) {
	h := host(t, map[string]string{"CARGO_MAKEFLAGS": "-j --jobserver-auth=fifo:/nonexistent/fifo", "NINJAOPTS": "-j4"})
	status := fmt.Sprintf("Name:\tsccache\nUid:\t0\t%d\t0\t0\n", os.Geteuid())
	const stat = "4711 (sccache) S 1 7 7 0 -1 4194560 97 0 0 0 0 0 0 0 20 0 1 0 12345 2494464 208 18\n"
	if err := errors.Join(
		os.MkdirAll(h.at("proc/4711"), 0o700),
		os.WriteFile(h.at("proc/4711/comm"), []byte("sccache\n"), 0o600),
		os.WriteFile(h.at("proc/4711/status"), []byte(status), 0o600),
		os.WriteFile(h.at("proc/4711/stat"), []byte(stat), 0o600),
		os.MkdirAll(h.at("proc/4712"), 0o700),
		os.WriteFile(h.at("proc/4712/comm"), []byte("other\n"), 0o600),
		os.WriteFile(h.at("root"), nil, 0o600),
		os.WriteFile(h.at("cuse"), nil, 0o600),
		os.WriteFile(h.at("make"), []byte("#!/bin/sh\necho GNU Make 4.3\n"), 0o700),
		os.Symlink("make", h.at("gmake")),
		os.WriteFile(h.at("ninja"), []byte("#!/bin/sh\necho 1.11.1\n"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	f := h.Gather()
	if f.Env["NINJAOPTS"] != "-j4" || !f.CUSE {
		t.Errorf("environment %q, CUSE %t", f.Env["NINJAOPTS"], f.CUSE)
	}
	if f.Root.State != Plain {
		t.Errorf("root's is %+v, want a plain file", f.Root)
	}
	if f.Make.Auth != "" || f.Cargo.Auth != "fifo:/nonexistent/fifo" || f.Cargo.State != Missing {
		t.Errorf("MAKEFLAGS %+v, CARGO_MAKEFLAGS %+v", f.Make, f.Cargo)
	}
	if !slices.Equal(f.Sccache, []int{4711}) {
		t.Errorf("sccache is %v, want 4711", f.Sccache)
	}
	var names []string
	for _, p := range f.Programs {
		names = append(names, p.String())
	}
	if want := []string{"make 4.3", "ninja 1.11.1"}; !slices.Equal(names, want) {
		t.Errorf("programs %q, want %q", names, want)
	}
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.WriteFile(at("plain"), nil, 0o600),
		unix.Mkfifo(at("unserved"), 0o600),
		unix.Mkfifo(at("served"), 0o600),
		os.Mkdir(at("bridge"), 0o700),
		unix.Mkfifo(at("bridge/fifo"), 0o600),
		os.Symlink("loop", at("loop")),
		unix.Mknod(at("socket"), unix.S_IFSOCK|0o600, 0),
	); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"served", "bridge/fifo"} {
		f, err := os.OpenFile(at(name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	for path, want := range map[string]State{
		at("nothing"):     Missing,
		at("plain/below"): Missing,
		at("plain"):       Plain,
		at("bridge"):      Plain,
		at("unserved"):    Unserved,
		at("served"):      Foreign,
		at("bridge/fifo"): Bridge,
		at("loop"):        Unclear,
		at("socket"):      Dead, // what a FUSE file was mounted on
		os.DevNull:        Device,
	} {
		got := look(path, at("bridge"))
		if got.State != want || got.Path != path {
			t.Errorf("%s: %+v, want state %d", path, got, want)
		}
		if got.State == Unclear && got.Problem == "" {
			t.Errorf("%s: no word about %+v", path, got)
		}
	}
	if got := look(at("bridge/fifo"), "").State; got != Foreign {
		t.Errorf("a FIFO without any stevie above: state %d, want that of another jobserver", got)
	}
}

func TestFailed(t *testing.T) {
	for errno, want := range map[error]State{
		unix.ENOENT: Missing, unix.EACCES: Denied, unix.ENOTCONN: Dead, unix.ENXIO: Dead, unix.ENODEV: Dead, unix.EIO: Unclear,
	} {
		err := &os.PathError{Op: "open", Path: "/dev/steve", Err: errno}
		if got := (File{Path: "/dev/steve"}).failed(err); got.State != want || got.Problem == "" {
			t.Errorf("%v: %+v, want state %d", errno, got, want)
		}
	}
}

func TestLookInherited(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(path string) string {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return fmt.Sprintf("%d,%[1]d", f.Fd())
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epoll)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, tt := range []struct {
		name, auth, bridge string
		want               State
	}{
		{"a pipe of make's", fmt.Sprintf("%d,%d", r.Fd(), w.Fd()), "", Foreign},
		{"a FIFO of another", open(fifo), "", Foreign},
		{"a FIFO of stevie's", open(fifo), dir, Bridge},
		{"withheld by make 4.4", "-2,-2", "", Closed},
		{"not open", "1000000,1000001", "", Closed},
		{"reused for a plain file", open(plain), "", Closed},
		{"reused for a device", open(os.DevNull), "", Closed},
		{"reused by the runtime", fmt.Sprintf("%d,%[1]d", epoll), "", Closed},
	} {
		if got := lookInherited(tt.auth, tt.bridge); got.State != tt.want {
			t.Errorf("%s: %+v, want state %d", tt.name, got, tt.want)
		}
	}
}

// A file system that does not answer is given up.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if n, answered := bounded(func() int { return 7 }); n != 7 || !answered {
			t.Errorf("%d, %t", n, answered)
		}
		wait := make(chan struct{})
		defer close(wait)
		began := time.Now()
		if _, answered := bounded(func() int { <-wait; return 7 }); answered {
			t.Error("an answer that never came")
		}
		if took := time.Since(began); took != patience {
			t.Errorf("it took %v, want %v", took, patience)
		}
	})
}
