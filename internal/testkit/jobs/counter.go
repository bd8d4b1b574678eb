package jobs

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A Counter counts the processes and threads that take a slot in its file, which is $SLOTS for them.
type Counter struct{ file *os.File }

// NewCounter returns a counter of none.
func NewCounter(t testing.TB) *Counter {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "slots"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return &Counter{file}
}

// Env is the environment of those that are counted.
func (c *Counter) Env() string { return "SLOTS=" + c.file.Name() }

// Peak returns how many there were at one time, at most.
func (c *Counter) Peak(t testing.TB) int {
	t.Helper()
	info, err := c.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size())
}

// Running returns how many there are.
func (c *Counter) Running(t testing.TB) int {
	t.Helper()
	n := 0
	for at := range c.Peak(t) {
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

// A Gate keeps jobs waiting that have its file as $GATE, until it is opened.
type Gate struct{ file *os.File }

// NewGate returns a gate that is closed.
func NewGate(t testing.TB) *Gate {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "gate"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return &Gate{file}
}

// Env is the environment of the jobs that wait.
func (g *Gate) Env() string { return "GATE=" + g.file.Name() }

// Open opens the gate for good.
func (g *Gate) Open(t testing.TB) {
	t.Helper()
	if err := unix.Flock(int(g.file.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
}
