package proc

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"steve/internal/testkit/need"
)

const newPIDs = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS

// An id is given again before the exit of its former process was collected.
func TestIntegrationRecycledPID(t *testing.T) {
	need.Root(t)
	if rerun(t, newPIDs) {
		return
	}
	ownProc(t, "")
	var table *Table
	var old ID
	q := recycle(t, func() int {
		var o *owner
		table, o = newTable(t, 0)
		p := start(t)
		old = caller(t, table, p.pid)
		watch(t, table, old)
		o.used[old] = true
		p.kill()
		p.reap()
		return p.pid
	})
	if id, ok := table.Watched(q.pid); ok {
		t.Errorf("pid %d is taken for that of watched process %d", q.pid, id)
	}
	id := caller(t, table, q.pid)
	if id == old {
		t.Fatalf("the process that got pid %d inherits ID %d", q.pid, old)
	}
	if got := caller(t, table, q.number(t, "thread")); got != id {
		t.Errorf("another thread of it gives %d, want %d", got, id)
	}
	watch(t, table, id)
	if pid, ok := table.PID(old); pid != q.pid || !ok {
		t.Errorf("until its exit is collected the former has PID %d, %v", pid, ok)
	}
	if got := exited(t, table); !slices.Equal(got, []ID{old}) {
		t.Errorf("Exited returns %v, want [%d]", got, old)
	}
	if got := caller(t, table, q.pid); got != id {
		t.Errorf("the former's end makes it %d, want %d", got, id)
	}
	q.kill()
	if got := exited(t, table); !slices.Equal(got, []ID{id}) {
		t.Errorf("Exited returns %v, want [%d]", got, id)
	}
}

// The same, where the new process is first seen by a thread of its own that was never seen before.
func TestIntegrationRecycledPIDSeenByThread(t *testing.T) {
	need.Root(t)
	if rerun(t, newPIDs) {
		return
	}
	ownProc(t, "")
	var table *Table
	var old ID
	q := recycle(t, func() int {
		table, _ = newTable(t, 0)
		p := start(t)
		old = caller(t, table, p.pid)
		watch(t, table, old)
		p.kill()
		p.reap()
		return p.pid
	})
	if id := caller(t, table, q.number(t, "thread")); id == old {
		t.Errorf("the process that got pid %d inherits ID %d", q.pid, old)
	}
}

// The pid is another process's when a later table adopts the process that had it.
func TestIntegrationAdoptRecycledPID(t *testing.T) {
	need.Root(t)
	if rerun(t, newPIDs) {
		return
	}
	ownProc(t, "")
	var old Process
	q := recycle(t, func() int {
		table, o := newNoting(t)
		p := start(t)
		watch(t, table, caller(t, table, p.pid))
		old = o.noted[len(o.noted)-1]
		p.kill()
		p.reap()
		for bootTime(t) < time.Duration(old.Start+1)*tick {
		}
		return p.pid
	})
	table, o := successor(t, []Process{old})
	id := caller(t, table, q.pid)
	if id == old.ID {
		t.Fatalf("the process that got pid %d inherits ID %d", q.pid, id)
	}
	o.used[id] = true
	watch(t, table, id)
	wantReported(t, table, old.ID)
	q.kill()
	if got := exited(t, table); !slices.Equal(got, []ID{id}) {
		t.Errorf("Exited returns %v, want [%d]", got, id)
	}
}

// A thread ends and its id becomes another process's.
func TestIntegrationRecycledThread(t *testing.T) {
	need.Root(t)
	if rerun(t, newPIDs) {
		return
	}
	ownProc(t, "")
	for _, watched := range []bool{false, true} {
		t.Run(fmt.Sprint("watched=", watched), func(t *testing.T) {
			var table *Table
			var p *process
			var id ID
			q := recycle(t, func() int {
				table, _ = newTable(t, 0)
				p = start(t)
				tid := p.number(t, "thread")
				id = caller(t, table, tid)
				if watched {
					watch(t, table, id)
				}
				p.ask(t, fmt.Sprint("end ", tid))
				return tid
			})
			other := caller(t, table, q.pid)
			if other == id {
				t.Errorf("the process that got id %d is taken for the one it was a thread of", q.pid)
			}
			if got := caller(t, table, p.pid); got != id {
				t.Errorf("main thread gives %d, want %d", got, id)
			}
			if got := caller(t, table, q.pid); got != other {
				t.Errorf("then the other gives %d, want %d", got, other)
			}
		})
	}
}

// A process that was not watched ends, and its pid becomes the id of a mere thread.
func TestIntegrationWatchRecycledAsThread(t *testing.T) {
	need.Root(t)
	if rerun(t, newPIDs) {
		return
	}
	ownProc(t, "")
	table, _ := newTable(t, 0)
	p, q := start(t), start(t)
	old := caller(t, table, p.pid)
	p.kill()
	p.reap()
	nextPID(t, p.pid)
	// The next new thread gets the id, one of q or one of this process.
	for !threadAlive(q.pid, p.pid) && !threadAlive(os.Getpid(), p.pid) {
		q.number(t, "thread")
	}
	if err := table.Watch(old); err != ErrGone {
		t.Errorf("Watch: %v, want ErrGone", err)
	}
	if got := caller(t, table, p.pid); got == old {
		t.Errorf("the thread is taken for the process, %d, that had its id", old)
	}
}

func TestIntegrationVisible(t *testing.T) {
	need.Root(t)
	if rerun(t, newPIDs) {
		return
	}
	tests := []struct {
		options string
		visible bool
	}{
		{"hidepid=0", true},
		{"hidepid=1", false},
		{"hidepid=2", false},
		{"hidepid=2,gid=4242", true},
		{"hidepid=2,gid=4243", false},
	}
	for _, tt := range tests {
		t.Run(tt.options, func(t *testing.T) {
			ownProc(t, tt.options)
			answer := start(t).ask(t, "visible 4242")
			if visible := answer == "<nil>"; visible != tt.visible {
				t.Errorf("nobody in group 4242 is told %q", answer)
			}
			if !tt.visible && !strings.Contains(answer, "gid=GROUP") {
				t.Errorf("%q gives no way out", answer)
			}
			if err := Root.Visible(); err != nil {
				t.Errorf("root is told %q", err)
			}
		})
	}
}
