package programs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
)

func TestLook(t *testing.T) {
	dir := t.TempDir()
	for path, mode := range map[string]os.FileMode{"closed/tool": 0o644, "open/tool": 0o755, "closed/only": 0o644} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, mode)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("PATH", dir+"/none:"+dir+"/closed:open:"+dir)
	for _, tt := range []struct {
		name, want string
		err        error
	}{
		{name: "tool", want: "open/tool"},
		{name: "./open/tool", want: "./open/tool"},
		{name: "only", err: unix.EACCES},
		{name: "open", err: unix.EACCES}, // a directory
		{name: "nothing", err: unix.ENOENT},
		{name: "./nothing", err: unix.ENOENT},
		{name: "./closed/tool", err: unix.EACCES},
		{name: "./open/tool/x", err: unix.ENOTDIR},
		{name: "", err: unix.ENOENT},
	} {
		got, err := Look(tt.name)
		if !errors.Is(err, tt.err) || err == nil && got != tt.want {
			t.Errorf("Look(%q) = %q, %v, want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}

func TestProbe(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		want         Version
	}{
		{name: "make", script: "echo GNU Make 4.2.93; echo Built for x86_64", want: Version{4, 2, 93}},
		{name: "gmake", script: "echo GNU Make 5.0", want: Version{5, 0, 0}},
		{name: "make", script: "echo bmake 20200710"},
		{name: "make", script: "exit 2"},
		{name: "ninja", script: "echo 1.13.2", want: Version{1, 13, 2}},
		{name: "ninja", script: "echo 1.14.0.git", want: Version{1, 14, 0}},
		{name: "ninja-build", script: "echo 1.11.1.git.kitware.jobserver-1", want: Version{1, 11, 1}},
		{name: "gcc-14", script: "echo 'gcc-14 (Debian 14.2.0-19) 14.2.0'; echo Copyright", want: Version{14, 2, 0}},
		{name: "gcc", script: "echo 'gcc (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0'", want: Version{11, 4, 0}},
		{name: "cc", script: "echo 'Debian clang version 14.0.6'"},
		{name: "clang", script: "echo 'Debian clang version 22.1.8 (1)'", want: Version{22, 1, 8}},
		{name: "ctest", script: "echo ctest version 3.31.6", want: Version{3, 31, 6}},
		{name: "make", script: "echo GNU Make 99999999999999999999.1"},
		// It is asked without the variables that are meant for its real run.
		{name: "make", script: "echo GNU Make 4.${MAKEFLAGS-0}${CARGO_MAKEFLAGS-1}", want: Version{4, 1, 0}},
		// What it does not depend on is not asked.
		{name: "cargo", script: "echo cargo 1.95.0; kill $PPID"},
	} {
		t.Setenv("MAKEFLAGS", "7")
		t.Setenv("CARGO_MAKEFLAGS", "7")
		path := filepath.Join(t.TempDir(), tt.name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		want := Program{Path: path, Kind: KindOf(tt.name), Version: tt.want}
		if got := Probe(path); got != want {
			t.Errorf("%s, %s: %+v, want %+v", tt.name, tt.script, got, want)
		}
		// Once, that is: it is remembered.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got := Probe(path); got != want {
			t.Errorf("%s, %s, again: %+v, want %+v", tt.name, tt.script, got, want)
		}
	}
}

// TestProbeReal asks real programs.
func TestProbeReal(t *testing.T) {
	for _, tt := range []struct {
		name         string
		major, minor int
	}{
		{"make-4.4", 4, 4},
		{"ninja-1.13", 1, 13},
		{"ctest-3.31", 3, 31},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := Probe(need.Client(t, tt.name)).Version
			if v.Major != tt.major || v.Minor != tt.minor {
				t.Errorf("version %v", v)
			}
		})
	}
	for _, name := range []string{"make", "gcc"} {
		t.Run(name, func(t *testing.T) {
			if p := Probe(need.Tool(t, name)); !p.Version.Known() {
				t.Errorf("no version: %+v", p)
			}
		})
	}
}
