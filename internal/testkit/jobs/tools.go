// Package jobs has what tests of real clients share: jobs that are counted exactly and wait to be let go, processes that do
// not outlive their test, a steve to take tokens from, and clients that are hard to come by, by their shape. What is tried
// with them is the concern of the packages builds and matrix.
package jobs

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"steve/internal/testkit/need"
	"steve/internal/testkit/steved"
)

// toolsVar names the directory of the tools, for the tests in a guest too, where a compiler would take its time.
const toolsVar = "STEVE_JOBS_TOOLS"

// Main is the TestMain of a package whose tests use this one.
func Main(m *testing.M) {
	if name := os.Getenv(shapeVar); name != "" {
		if err := shapes[name](os.Args[1]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	status := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(status)
}

// built is the directory that Main removes.
var built string

//go:embed testdata
var sources embed.FS

// Tools returns the directory of what tests run beside real clients, built once for all tests of a test binary:
//
//	steve, stevie  the programs of this module
//	slot           a job; or makes a program count; called gcc, the machine's: see testdata/slot.c
//	rustc          for RUSTC_WRAPPER: before a crate whose name begins with "job" is compiled there is a job
//	threads.so     for LD_PRELOAD: makes rustc's threads count, see testdata/threads.c
func Tools(t testing.TB) string {
	t.Helper()
	gcc := need.Tool(t, "gcc")
	if dir := os.Getenv(toolsVar); dir != "" {
		return dir
	}
	if built != "" {
		t.Fatal("the tools could not be built")
	}
	dir, err := os.MkdirTemp("", "steve-jobs-")
	if err != nil {
		t.Fatal(err)
	}
	built = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, sources); err != nil {
		t.Fatal(err)
	}
	if _, err := steved.Build(dir); err != nil {
		t.Fatal(err)
	}
	Run(t, "go", "build", "-o", filepath.Join(dir, "stevie"), "steve/cmd/stevie")
	slot := filepath.Join(dir, "slot")
	Run(t, gcc, "-O2", "-Wall", "-Werror", fmt.Sprintf("-DGCC=%q", gcc), "-o", slot, filepath.Join(dir, "testdata", "slot.c"))
	Run(t, gcc, "-O2", "-Wall", "-Werror", "-shared", "-fPIC",
		"-o", filepath.Join(dir, "threads.so"), filepath.Join(dir, "testdata", "threads.c"))
	WriteProgram(t, filepath.Join(dir, "rustc"),
		fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *\" --crate-name job\"*) %s || exit; esac\nexec \"$@\"\n", slot))
	os.Setenv(toolsVar, dir)
	return dir
}

// Run runs a program that must succeed, and returns its output.
func Run(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// WriteFile writes a file, and makes its directory.
func WriteFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// WriteProgram writes a script.
func WriteProgram(t testing.TB, path, text string) {
	t.Helper()
	WriteFile(t, path, text)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
}
