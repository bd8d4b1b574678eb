package shims

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"steve/internal/jobserver"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/cli"
)

// TestMain is the shim where the test binary is called by the name of one, and in place of stevie prints its arguments.
func TestMain(m *testing.M) {
	switch {
	case Called(os.Args[0]):
		err := Main(os.Args)
		fmt.Fprintln(os.Stderr, "stevie:", err)
		os.Exit(cli.Status(err, 125))
	case os.Args[0] == "stevie":
		fmt.Println(os.Args)
		return
	}
	os.Exit(m.Run())
}

// tool puts a script called name in a directory of its own, which is returned.
func tool(t *testing.T, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shims")
	tools := tool(t, "make", "")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := dir + "/make:" + tools + "::/none"
	want := []string{"STEVE_JOBSERVER=/dev/x", "STEVE_JOBSERVER_PAIR=/in,/out", "STEVE_SHIMS=" + dir, "PATH=" + path}
	// Below a stevie that has made them, and after that one was replaced by another.
	for _, before := range []string{tools + "::/none", path, dir + "/ninja:" + path} {
		t.Setenv("PATH", before)
		got, err := Create(dir, jobserver.Jobserver{Path: "/dev/x", In: "/in", Out: "/out"})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
		shim := filepath.Join(dir, "make/make")
		if target, err := os.Readlink(shim); err != nil || target != self {
			t.Errorf("link to %q, %v, want %q", target, err, self)
		}
		if err := errors.Join(os.Remove(shim), os.Symlink("/none/stevie", shim)); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := filepath.Glob(dir + "/*/*"); err != nil || len(left) != 1 {
		t.Errorf("%q, %v, want one link", left, err)
	}

	for _, bad := range []string{"shims", dir + ":x"} {
		if _, err := Create(bad, jobserver.Jobserver{}); err == nil {
			t.Errorf("%q is taken for a directory of PATH", bad)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, jobserver.Jobserver{}); err == nil {
		t.Error("a directory that all can write to is used")
	}
}

func TestFind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shims")
	wrapper, tools := tool(t, "make", ""), tool(t, "make", "")
	closed := tool(t, "make", "")
	t.Setenv("PATH", tools)
	if _, err := Create(dir, jobserver.Jobserver{}); err != nil {
		t.Fatal(err)
	}
	shims := dir + "/make"
	copied, other := t.TempDir(), t.TempDir()
	err := errors.Join(os.Chmod(closed+"/make", 0o644),
		os.Symlink(shims+"/make", copied+"/make"),
		os.WriteFile(other+"/stevie", nil, 0o755), os.Symlink("stevie", other+"/make"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, shims, want string
		err               error
	}{
		{path: shims + ":" + tools, shims: dir, want: tools},
		{path: shims + ":" + dir + "/ninja:" + tools, shims: dir, want: tools},
		{path: shims + ":" + tools + ":" + wrapper, shims: dir, want: tools},
		// The build went before the shims, and maybe called this one from there.
		{path: wrapper + ":" + shims + ":" + tools, shims: dir, want: tools},
		// It was called by its path.
		{path: wrapper + ":" + tools, shims: dir, want: wrapper},
		// The environment is lost, or tells of other shims.
		{path: shims + ":" + tools, want: tools},
		{path: copied + ":" + shims + ":" + other + ":" + tools, shims: "/elsewhere", want: tools},
		{path: shims + ":" + copied, shims: dir, err: unix.ENOENT},
		{path: shims + ":" + closed, shims: dir, err: unix.EACCES},
	} {
		t.Setenv("PATH", tt.path)
		t.Setenv(DirVar, tt.shims)
		got, err := find("make")
		if !errors.Is(err, tt.err) || err == nil && got != tt.want+"/make" {
			t.Errorf("%+v: %q, %v", tt, got, err)
		}
	}
}

func TestCalled(t *testing.T) {
	for name, want := range map[string]bool{
		"make": true, "/x/shims/ninja/ninja": true, "gmake": true, "ninja-build": true,
		"stevie": false, "/usr/bin/stevie": false, "": false,
	} {
		if got := Called(name); got != want {
			t.Errorf("Called(%q) = %v", name, got)
		}
	}
}

func TestDir(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", home)
	if dir, err := Dir(); err != nil || dir != home+"/.cache/steve/shims" {
		t.Errorf("%q, %v", dir, err)
	}
	for _, none := range []string{"", home + "/none"} {
		t.Setenv("HOME", none)
		if dir, err := Dir(); err == nil {
			t.Errorf("HOME=%q: %q", none, dir)
		}
	}
}

func TestEnvNoPair(t *testing.T) {
	for _, e := range Env(jobserver.Jobserver{Path: "/p"}) {
		if name, value, _ := strings.Cut(e, "="); name == PairVar && value != "" {
			t.Errorf("a pair %q where there is none", value)
		}
	}
}
