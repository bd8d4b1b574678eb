package proc

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// owner is the pool's part: what is in use, what it was told to forget, and what to note.
type owner struct {
	used      map[ID]bool
	forgotten []ID
	noted     []Process
}

// newTable returns a table without a Note.
func newTable(t testing.TB, budget int) (*Table, *owner) {
	t.Helper()
	o := &owner{used: make(map[ID]bool)}
	return o.table(t, Options{Budget: budget}), o
}

// table returns a table with functions of o.
func (o *owner) table(t testing.TB, opts Options) *Table {
	t.Helper()
	opts.InUse = func(id ID) bool { return o.used[id] }
	opts.Forget = func(id ID) { o.forgotten = append(o.forgotten, id) }
	table, err := NewTable(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	return table
}

func caller(t testing.TB, table *Table, tid int) ID {
	t.Helper()
	id, err := table.Caller(tid)
	if err != nil {
		t.Fatalf("Caller(%d): %v", tid, err)
	}
	return id
}

func watch(t testing.TB, table *Table, id ID) {
	t.Helper()
	if err := table.Watch(id); err != nil {
		t.Fatalf("Watch(%d): %v", id, err)
	}
}

// exited waits until the table has exits to report.
func exited(t testing.TB, table *Table) []ID {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		fds := []unix.PollFd{{Fd: int32(table.FD()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(time.Until(deadline).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			t.Fatalf("no exit is reported, poll says %v", err)
		}
		return reported(table)
	}
}

// reported returns the IDs that Exited reports.
func reported(table *Table) []ID {
	var ids []ID
	for _, e := range table.Exited(nil) {
		ids = append(ids, e.ID)
	}
	return ids
}

// wantNoExit checks that there is nothing to report, in both ways.
func wantNoExit(t testing.TB, table *Table) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(table.FD()), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); n != 0 || err != nil {
		t.Errorf("FD polls %d, %v, want nothing", n, err)
	}
	if ids := reported(table); len(ids) != 0 {
		t.Errorf("Exited returns %v, want none", ids)
	}
}

func TestThreadsAreOneProcess(t *testing.T) {
	table, _ := newTable(t, 0)
	p, q := start(t), start(t)
	tid := p.number(t, "thread")
	id := caller(t, table, tid) // first seen by a thread that is not the main one
	for range 2 {
		if got := caller(t, table, p.pid); got != id {
			t.Errorf("main thread gives %d, other thread %d", got, id)
		}
		if got := caller(t, table, tid); got != id {
			t.Errorf("thread gives %d, then %d", id, got)
		}
		watch(t, table, id)
	}
	if other := caller(t, table, q.pid); other == id {
		t.Errorf("two processes are both %d", id)
	}
	if pid, ok := table.PID(id); pid != p.pid || !ok {
		t.Errorf("PID is %d, %v, want %d", pid, ok, p.pid)
	}
	p.ask(t, fmt.Sprint("end ", tid))
	if _, err := table.Caller(tid); err != ErrGone {
		t.Errorf("Caller of an ended thread: %v, want ErrGone", err)
	}
	if got := caller(t, table, p.pid); got != id {
		t.Errorf("after a thread's end: %d, want %d", got, id)
	}
	wantNoExit(t, table)
}

func TestCallerErrors(t *testing.T) {
	table, _ := newTable(t, 0)
	p := start(t)
	id := caller(t, table, p.pid)
	p.kill()
	p.reap()
	for tid, want := range map[int]error{0: ErrUnseen, -1: ErrUnseen, p.pid: ErrGone, 1 << 30: ErrGone} {
		if _, err := table.Caller(tid); err != want {
			t.Errorf("Caller(%d): %v, want %v", tid, err, want)
		}
	}
	if err := table.Watch(id); err != ErrGone {
		t.Errorf("Watch of a process that ended: %v, want ErrGone", err)
	}
	if err := table.Watch(id + 1); err != ErrGone {
		t.Errorf("Watch of an ID never given: %v, want ErrGone", err)
	}
}

func TestExit(t *testing.T) {
	table, o := newTable(t, 0)
	p, q := start(t), start(t)
	tid := p.number(t, "thread")
	id, other := caller(t, table, tid), caller(t, table, q.pid)
	caller(t, table, p.pid)
	watch(t, table, id)
	watch(t, table, other)
	o.used[id] = true
	wantNoExit(t, table)
	if got, ok := table.Watched(p.pid); got != id || !ok {
		t.Errorf("Watched is %d, %v, want %d", got, ok, id)
	}
	if got, ok := table.Watched(os.Getpid()); ok {
		t.Errorf("the test itself is watched as %d", got)
	}

	p.kill()
	if got := exited(t, table); !slices.Equal(got, []ID{id}) { // a zombie yet: it has to be reported before it is reaped
		t.Fatalf("Exited returns %v, want [%d]", got, id)
	}
	wantNoExit(t, table)
	if pid, ok := table.PID(id); ok {
		t.Errorf("after the exit PID is %d", pid)
	}
	if err := table.Watch(id); err != ErrGone {
		t.Errorf("Watch after the exit: %v, want ErrGone", err)
	}
	p.reap()
	for _, tid := range []int{p.pid, tid} {
		if _, err := table.Caller(tid); err != ErrGone {
			t.Errorf("Caller(%d) after the exit: %v, want ErrGone", tid, err)
		}
	}

	q.kill()
	if got := exited(t, table); !slices.Equal(got, []ID{other}) {
		t.Errorf("Exited returns %v, want [%d]", got, other)
	}
	if next := caller(t, table, start(t).pid); next == id || next == other {
		t.Errorf("ID %d was given twice", next)
	}
	if len(o.forgotten) != 0 {
		t.Errorf("Forget is told %v, which Exited reported", o.forgotten)
	}
}

func TestManyExitsAtOnce(t *testing.T) {
	table, _ := newTable(t, 0)
	var want []ID
	var processes []*process
	for range len(table.events) + 1 {
		p := start(t)
		id := caller(t, table, p.pid)
		watch(t, table, id)
		want = append(want, id)
		processes = append(processes, p)
	}
	for _, p := range processes {
		p.kill()
		p.reap()
	}
	there := Exit{ID: 1 << 40}
	exits := table.Exited([]Exit{there})
	if exits[0] != there {
		t.Errorf("Exited overwrites %v with %v", there, exits[0])
	}
	var got []ID
	for _, e := range exits[1:] {
		got = append(got, e.ID)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Exited returns %v, want %v", got, want)
	}
	wantNoExit(t, table)
}

// A process whose main thread has ended is alive, as long as another thread is.
func TestMainThreadGone(t *testing.T) {
	for _, when := range []string{"before Watch", "after Watch"} {
		t.Run(when, func(t *testing.T) {
			table, o := newTable(t, 0)
			p := start(t)
			tid := p.number(t, "thread")
			id := caller(t, table, p.pid)
			if when == "after Watch" {
				watch(t, table, id)
			}
			p.ask(t, "leave")
			if s := state(p.pid); s != "Z (zombie)" {
				t.Fatalf("main thread is %q", s)
			}
			o.used[id] = true
			if got := caller(t, table, tid); got != id {
				t.Errorf("thread gives %d, want %d", got, id)
			}
			watch(t, table, id)
			if got := caller(t, table, tid); got != id {
				t.Errorf("thread gives %d when watched, want %d", got, id)
			}
			wantNoExit(t, table)
			p.kill()
			if got := exited(t, table); !slices.Equal(got, []ID{id}) {
				t.Errorf("Exited returns %v, want [%d]", got, id)
			}
		})
	}
}

// The thread that calls execve takes over the pid of the process, all others end.
func TestExecByAnotherThread(t *testing.T) {
	table, o := newTable(t, 0)
	p := start(t)
	tid := p.number(t, "thread")
	id := caller(t, table, tid)
	watch(t, table, id)
	o.used[id] = true
	for range 2 {
		execer := p.number(t, "exec")
		if execer == p.pid {
			t.Fatal("the main thread called execve")
		}
		if got := p.line(t); got != "ready" {
			t.Fatalf("execve: %s", got)
		}
		wantNoExit(t, table)
		if got := caller(t, table, p.pid); got != id {
			t.Errorf("after execve: %d, want %d", got, id)
		}
		for _, tid := range []int{tid, execer} {
			if _, err := table.Caller(tid); err != ErrGone {
				t.Errorf("Caller of former thread %d: %v, want ErrGone", tid, err)
			}
		}
		tid = p.number(t, "thread")
		if got := caller(t, table, tid); got != id {
			t.Errorf("new thread after execve: %d, want %d", got, id)
		}
	}
	p.kill()
	if got := exited(t, table); !slices.Equal(got, []ID{id}) {
		t.Errorf("Exited returns %v, want [%d]", got, id)
	}
}

func TestGone(t *testing.T) {
	table, _ := newTable(t, 0)
	p := start(t)
	id := caller(t, table, p.pid)
	if table.Gone(id) {
		t.Error("a process that lives is gone")
	}
	p.kill()
	p.reap()
	if !table.Gone(id) {
		t.Error("a process that was reaped is not gone")
	}

	// Of a watched one the end is reported, and is not to be found out twice.
	p = start(t)
	id = caller(t, table, p.pid)
	watch(t, table, id)
	p.kill()
	p.reap()
	if table.Gone(id) {
		t.Error("a watched process is gone before its exit is reported")
	}
	if e := table.Exited(nil); len(e) != 1 || e[0] != (Exit{id, p.pid}) {
		t.Errorf("Exited returns %v, want %v", e, Exit{id, p.pid})
	}
	if !table.Gone(id) {
		t.Error("a process whose exit was reported is not gone")
	}
}
