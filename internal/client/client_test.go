package client

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEnviron(t *testing.T) {
	for _, tt := range []struct{ env, want []string }{
		{
			env: []string{"HOME=/root"},
			want: []string{
				"HOME=/root",
				"MAKEFLAGS=--jobserver-auth=AUTH",
				"CARGO_MAKEFLAGS=--jobserver-auth=AUTH",
			},
		},
		{
			// CARGO_MAKEFLAGS of an outer cargo would be looked at before MAKEFLAGS.
			env: []string{"MFLAGS=-kj8", "CARGO_MAKEFLAGS=-j --jobserver-fds=8,9", "MAKEFLAGS=kj8 -- X=1", "HOME=/root", "GNUMAKEFLAGS=-j"},
			want: []string{
				"HOME=/root",
				"MAKEFLAGS=-k --jobserver-auth=AUTH -- X=1",
				"CARGO_MAKEFLAGS=-k --jobserver-auth=AUTH -- X=1",
				"GNUMAKEFLAGS=",
				"MFLAGS=-k",
			},
		},
	} {
		before := slices.Clone(tt.env)
		if got := environ(tt.env, "AUTH"); !slices.Equal(got, tt.want) {
			t.Errorf("environ(%q) = %q, want %q", tt.env, got, tt.want)
		}
		if !slices.Equal(tt.env, before) {
			t.Errorf("environ changed its argument to %q", tt.env)
		}
	}
}

func TestLookPath(t *testing.T) {
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
		got, err := lookPath(tt.name)
		if !errors.Is(err, tt.err) || err == nil && got != tt.want {
			t.Errorf("lookPath(%q) = %q, %v, want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}

func TestStripNinjaJobs(t *testing.T) {
	for _, tt := range []struct{ args, kept, removed []string }{
		{args: nil},
		{args: []string{"-v", "all"}, kept: []string{"-v", "all"}},
		{args: []string{"-j8", "all", "-j", "9"}, kept: []string{"all"}, removed: []string{"-j8", "-j 9"}},
		{args: []string{"-vj8"}, kept: []string{"-v"}, removed: []string{"-j8"}},
		{args: []string{"-nvj", "8", "x"}, kept: []string{"-nv", "x"}, removed: []string{"-j 8"}},
		{args: []string{"-C", "-j8", "-fj8", "-l2"}, kept: []string{"-C", "-j8", "-fj8", "-l2"}},
		{args: []string{"-C", "d", "-t", "compdb", "-j8"}, kept: []string{"-C", "d", "-t", "compdb", "-j8"}},
		{args: []string{"--quiet", "-j1", "--", "-j8"}, kept: []string{"--quiet", "--", "-j8"}, removed: []string{"-j1"}},
		{args: []string{"-v", "-j"}, kept: []string{"-v"}, removed: []string{"-j"}},
		{args: []string{"-", "-t"}, kept: []string{"-", "-t"}},
	} {
		kept, removed := stripNinjaJobs(tt.args)
		if !slices.Equal(kept, tt.kept) || !slices.Equal(removed, tt.removed) {
			t.Errorf("stripNinjaJobs(%q) = %q, %q, want %q, %q", tt.args, kept, removed, tt.kept, tt.removed)
		}
	}
}

func TestVersion(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		script       string
		major, minor int
		ok           bool
	}{
		{script: "echo GNU Make 4.2.93; echo Built for x86_64", major: 4, minor: 2, ok: true},
		{script: "echo GNU Make 5.0", major: 5, minor: 0, ok: true},
		{script: "echo bmake 20200710"},
		{script: "exit 2"},
		// It is asked without the variables that are meant for its real run.
		{script: "echo GNU Make 4.${MAKEFLAGS-0}${CARGO_MAKEFLAGS-1}", major: 4, minor: 1, ok: true},
	} {
		t.Setenv("MAKEFLAGS", "7")
		t.Setenv("CARGO_MAKEFLAGS", "7")
		path := filepath.Join(dir, "make")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		c := &command{path: path}
		major, minor, ok := c.version(makeVersion)
		if major != tt.major || minor != tt.minor || ok != tt.ok {
			t.Errorf("%s: %d.%d, %v, want %d.%d, %v", tt.script, major, minor, ok, tt.major, tt.minor, tt.ok)
		}
	}
}
