package client

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/testkit/need"
)

func TestCandidates(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", dir)
	for makeflags, want := range map[string][]string{
		"":                                   {ctl.RootPath, dir + "/steve"},
		"k --jobserver-auth=fifo:/x -- X=1":  {"/x", ctl.RootPath, dir + "/steve"},
		"k -j4 --jobserver-auth=3,4 -- X=1":  {ctl.RootPath, dir + "/steve"},
		"k -- X=1 --jobserver-auth=fifo:/no": {ctl.RootPath, dir + "/steve"},
	} {
		t.Setenv("MAKEFLAGS", makeflags)
		if got := candidates(); !slices.Equal(got, want) {
			t.Errorf("MAKEFLAGS=%q: %q, want %q", makeflags, got, want)
		}
	}
}

const nobody = 65534

// TestPermission opens files as an ordinary user, which on Linux one thread can be alone.
func TestPermission(t *testing.T) {
	need.Root(t)
	// Not t.TempDir, whose parent is closed to others.
	dir, err := os.MkdirTemp("", "stevie")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "steve")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Setenv(DeviceVar, "")
	t.Setenv("MAKEFLAGS", "--jobserver-auth=fifo:"+path)
	found := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread ends with the goroutine
		unix.Setfsuid(nobody)
		// What MAKEFLAGS names is there, and so the search ends, though not all has been tried.
		_, err := Find("")
		found <- err
	}()
	err = <-found
	var open *OpenError
	if !errors.As(err, &open) || open.Path != path || !errors.Is(err, unix.EACCES) {
		t.Errorf("error %v, want EACCES of %s", err, path)
	}
}

func TestWhoMay(t *testing.T) {
	const (
		owner = "(only its owner, root, may)"
		root  = "(only group root may: have steve started with --group GROUP)" // in which nobody should be for that
		group = "(group 4294967294 may: usermod -aG 4294967294 USER, then log in again)"
		steve = "(its steve cannot see this process: run steve outside of any pid namespace)"
	)
	for _, tt := range []struct {
		mode, owner, group uint32
		uid                int
		gids               []int
		want               string
	}{
		{mode: 0o660, uid: 1, gids: []int{1}, want: root},
		{mode: 0o660, group: 4294967294, uid: 1, gids: []int{1}, want: group},
		{mode: 0o600, uid: 1, gids: []int{1}, want: owner},
		{mode: 0o640, uid: 1, gids: []int{1, 0}, want: owner},
		{mode: 0o660, uid: 1, gids: []int{1, 0}, want: steve},
		{mode: 0o666, uid: 1, gids: []int{1}, want: steve},
		{mode: 0o600, owner: 1, uid: 1, gids: []int{1}, want: steve},
		{mode: 0o600, owner: 1, uid: 0, want: steve},
	} {
		st := &syscall.Stat_t{Mode: unix.S_IFREG | tt.mode, Uid: tt.owner, Gid: tt.group}
		if got := whoMay(st, tt.uid, tt.gids); got != " "+tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
