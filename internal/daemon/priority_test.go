package daemon

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
)

// niceOf returns the nice value of the calling thread.
func niceOf(t *testing.T) int {
	t.Helper()
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Error(err)
	}
	return 20 - raw
}

// TestIntegrationAhead: the thread that serves is preferred, no other is, and a priority that was chosen stays.
func TestIntegrationAhead(t *testing.T) {
	need.Root(t)
	before := niceOf(t)
	got := make(chan int)
	go ahead(func() { got <- niceOf(t) })
	if nice, want := <-got, map[bool]int{true: highest, false: before}[before == 0]; nice != want {
		t.Errorf("nice %d, want %d", nice, want)
	}
	if nice := niceOf(t); nice != before {
		t.Errorf("another thread has nice %d, was %d", nice, before)
	}
	go func() {
		runtime.LockOSThread() // for good: its priority is nobody else's
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 5); err != nil {
			t.Error(err)
		}
		ahead(func() { got <- niceOf(t) })
	}()
	if nice := <-got; nice != 5 {
		t.Errorf("nice %d, was chosen to be 5", nice)
	}
}
