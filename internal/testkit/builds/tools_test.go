package builds

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
	"steve/internal/testkit/steved"
)

// toolsVar names the directory of the tools, for the tests in a guest too, where a compiler would take its time.
const toolsVar = "STEVE_BUILDS_TOOLS"

// shapeVar makes the test binary one of shapes.
const shapeVar = "STEVE_BUILDS_SHAPE"

func TestMain(m *testing.M) {
	if name := os.Getenv(shapeVar); name != "" {
		if err := shapes[name](os.Args[1]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	inherited := os.Getenv(toolsVar)
	status := m.Run()
	if dir := os.Getenv(toolsVar); dir != inherited {
		os.RemoveAll(dir)
	}
	os.Exit(status)
}

// tools returns the directory of what the tests run beside real clients:
//
//	steve, stevie  the programs of this module
//	slot           makes a program count; called gcc, the machine's; alone, a job that waits for a gate: see testdata/slot.c
//	rustc          for RUSTC_WRAPPER: before a crate whose name begins with "job" is compiled there is a job
func tools(t *testing.T) string {
	t.Helper()
	gcc := need.Tool(t, "gcc")
	if dir := os.Getenv(toolsVar); dir != "" {
		return dir
	}
	dir, err := os.MkdirTemp("", "steve-builds-")
	if err != nil {
		t.Fatal(err)
	}
	os.Setenv(toolsVar, dir) // TestMain removes it
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := steved.Build(dir); err != nil {
		t.Fatal(err)
	}
	run(t, "go", "build", "-o", filepath.Join(dir, "stevie"), "steve/cmd/stevie")
	slot := filepath.Join(dir, "slot")
	run(t, gcc, "-O2", "-Wall", "-Werror", fmt.Sprintf("-DGCC=%q", gcc), "-o", slot, filepath.Join("testdata", "slot.c"))
	const script = "#!/bin/sh\ncase \" $* \" in *\" --crate-name job\"*) %s || exit; esac\nexec \"$@\"\n"
	rustc := filepath.Join(dir, "rustc")
	writeFile(t, rustc, fmt.Sprintf(script, slot))
	if err := os.Chmod(rustc, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a program that must succeed, and returns its output.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A counter counts the processes that are run by slot with its file as $SLOTS.
type counter struct{ file *os.File }

func newCounter(t *testing.T) *counter {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "slots"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return &counter{file}
}

// peak returns how many there were at one time, at most.
func (c *counter) peak(t *testing.T) int {
	t.Helper()
	info, err := c.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size())
}

// running returns how many there are.
func (c *counter) running(t *testing.T) int {
	t.Helper()
	n := 0
	for at := range c.peak(t) {
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(at), Len: 1}
		if err := unix.FcntlFlock(c.file.Fd(), unix.F_GETLK, &lock); err != nil {
			t.Fatal(err)
		}
		if lock.Type != unix.F_UNLCK {
			n++
		}
	}
	return n
}

// A gate keeps jobs waiting that have its file as $GATE, until it is opened.
type gate struct{ file *os.File }

// newGate returns a gate that is closed.
func newGate(t *testing.T) *gate {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "gate"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return &gate{file}
}

// open opens the gate for good.
func (g *gate) open(t *testing.T) {
	t.Helper()
	if err := unix.Flock(int(g.file.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
}
