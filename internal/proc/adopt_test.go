package proc

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// newNoting returns a table whose Note is the owner's.
func newNoting(t testing.TB) (*Table, *owner) {
	t.Helper()
	o := &owner{used: make(map[ID]bool)}
	return o.table(t, Options{Note: func(p Process) { o.noted = append(o.noted, p) }}), o
}

// successor returns a table that has adopted processes, in their order.
func successor(t testing.TB, processes []Process) (*Table, *owner) {
	t.Helper()
	table, o := newNoting(t)
	for _, p := range processes {
		adopt(t, table, p)
	}
	if len(o.noted)+len(o.forgotten) != 0 {
		t.Errorf("Adopt notes %v and forgets %v", o.noted, o.forgotten)
	}
	return table, o
}

func adopt(t testing.TB, table *Table, p Process) {
	t.Helper()
	if err := table.Adopt(p); err != nil {
		t.Fatalf("Adopt(%v): %v", p, err)
	}
}

// wantReported checks what the next Exited returns, whether or not FD polls readable.
func wantReported(t testing.TB, table *Table, want ...ID) {
	t.Helper()
	got := reported(table)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Exited returns %v, want %v", got, want)
	}
}

// field22 reads a start time as proc_pid_stat(5) describes it, of a process without blanks in its name.
func field22(t testing.TB, pid int) uint64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	start, err := strconv.ParseUint(strings.Fields(string(b))[21], 10, 64)
	if err != nil || start == 0 {
		t.Fatalf("%q: %v", b, err)
	}
	return start
}

func TestNote(t *testing.T) {
	table, o := newNoting(t)
	p, q := start(t), start(t)
	noted := func(want ...Process) {
		t.Helper()
		if !slices.Equal(o.noted, want) {
			t.Errorf("noted %v, want %v", o.noted, want)
		}
		o.noted = nil
	}
	tid := p.number(t, "thread")
	id := caller(t, table, tid)
	noted(Process{id, p.pid, 0})
	caller(t, table, tid)
	caller(t, table, p.pid)
	noted()
	other := caller(t, table, q.pid)
	noted(Process{other, q.pid, 0})
	watch(t, table, id)
	noted(Process{id, p.pid, field22(t, p.pid)})
	watch(t, table, id)
	noted()

	want := []Process{{id, p.pid, field22(t, p.pid)}, {other, q.pid, 0}}
	got := slices.Collect(table.All())
	slices.SortFunc(got, func(a, b Process) int { return int(a.ID) - int(b.ID) })
	if !slices.Equal(got, want) {
		t.Errorf("All returns %v, want %v", got, want)
	}

	q.kill()
	q.reap()
	if err := table.Watch(other); err != ErrGone {
		t.Errorf("Watch of a process that ended: %v, want ErrGone", err)
	}
	noted()
}

// A process goes on under its ID, whichever of its threads comes, and its end is seen, as if nothing had been.
func TestAdopt(t *testing.T) {
	old, before := newNoting(t)
	p, q := start(t), start(t)
	tid := p.number(t, "thread")
	id, waiting := caller(t, old, tid), caller(t, old, q.pid)
	watch(t, old, id)

	table, o := successor(t, before.noted)
	o.used[id], o.used[waiting] = true, true
	wantNoExit(t, table)
	for _, tid := range []int{tid, p.pid, p.number(t, "thread")} {
		if got := caller(t, table, tid); got != id {
			t.Errorf("thread %d gives %d, want %d", tid, got, id)
		}
	}
	if got, ok := table.Watched(p.pid); got != id || !ok {
		t.Errorf("Watched is %d, %v, want %d", got, ok, id)
	}
	if _, ok := table.Watched(q.pid); ok {
		t.Error("a process that was not watched is")
	}
	if got := caller(t, table, q.pid); got != waiting {
		t.Errorf("the process that was not watched is %d, want %d", got, waiting)
	}
	watch(t, table, id)
	watch(t, table, waiting)
	if want := []Process{{waiting, q.pid, field22(t, q.pid)}}; !slices.Equal(o.noted, want) {
		t.Errorf("noted %v, want %v", o.noted, want)
	}
	if next := caller(t, table, start(t).pid); next != max(id, waiting)+1 {
		t.Errorf("a new process is %d, after %d and %d", next, id, waiting)
	}

	p.kill()
	if got := exited(t, table); !slices.Equal(got, []ID{id}) {
		t.Errorf("Exited returns %v, want [%d]", got, id)
	}
	q.kill()
	if got := exited(t, table); !slices.Equal(got, []ID{waiting}) {
		t.Errorf("Exited returns %v, want [%d]", got, waiting)
	}
	if len(o.forgotten) != 0 {
		t.Errorf("Forget is told %v", o.forgotten)
	}
}

// What ended while there was no table is reported once, and by Exited.
func TestAdoptEnded(t *testing.T) {
	old, before := newNoting(t)
	lives, zombie, reaped, waited := start(t), start(t), start(t), start(t)
	var ids []ID
	for _, p := range []*process{lives, zombie, reaped, waited} {
		ids = append(ids, caller(t, old, p.pid))
		if p != waited {
			watch(t, old, ids[len(ids)-1])
		}
	}
	for _, p := range []*process{zombie, reaped, waited} {
		p.kill()
	}
	reaped.reap()
	waited.reap()
	for n := 0; n < 2; { // of those watched
		n += len(exited(t, old))
	}

	table, o := successor(t, before.noted)
	for _, id := range ids {
		o.used[id] = true
	}
	if err := table.Watch(ids[3]); err != ErrGone {
		t.Errorf("Watch of a process that had ended: %v, want ErrGone", err)
	}
	if _, err := table.Caller(reaped.pid); err != ErrGone {
		t.Errorf("Caller of a process that had ended: %v, want ErrGone", err)
	}
	if pid, ok := table.PID(ids[2]); pid != reaped.pid || !ok {
		t.Errorf("until its exit is collected the former has PID %d, %v", pid, ok)
	}
	wantReported(t, table, ids[1], ids[2], ids[3])
	wantNoExit(t, table)
	if got := slices.Collect(table.All()); !slices.Equal(got, []Process{{ids[0], lives.pid, field22(t, lives.pid)}}) {
		t.Errorf("left are %v", got)
	}
	if got := caller(t, table, lives.pid); got != ids[0] {
		t.Errorf("the process that lives is %d, want %d", got, ids[0])
	}
	if next := caller(t, table, start(t).pid); next <= ids[3] {
		t.Errorf("a new process is %d, which was given before", next)
	}
	if len(o.forgotten) != 0 {
		t.Errorf("Forget is told %v, which Exited reported", o.forgotten)
	}
}

// A process with the pid of another, or a thread with it, is not that one.
func TestAdoptAnotherStart(t *testing.T) {
	table, o := newNoting(t)
	p, q := start(t), start(t)
	adopt(t, table, Process{7, p.pid, field22(t, p.pid) - 1})
	adopt(t, table, Process{8, q.number(t, "thread"), field22(t, q.pid)})
	if _, ok := table.Watched(p.pid); ok {
		t.Error("the later process is watched")
	}
	id := caller(t, table, p.pid)
	if id <= 8 {
		t.Errorf("the later process is %d", id)
	}
	watch(t, table, id)
	o.used[id] = true
	if err := table.Watch(7); err != ErrGone {
		t.Errorf("Watch of the former process: %v, want ErrGone", err)
	}
	wantReported(t, table, 7, 8)
	if got := caller(t, table, p.pid); got != id {
		t.Errorf("the former's end makes the later %d, want %d", got, id)
	}
	p.kill()
	if got := exited(t, table); !slices.Equal(got, []ID{id}) {
		t.Errorf("Exited returns %v, want [%d]", got, id)
	}
}

// An execve keeps the start time, and so does the end of the main thread.
func TestAdoptAfterExec(t *testing.T) {
	old, before := newNoting(t)
	p, q := start(t), start(t)
	ids := []ID{caller(t, old, p.pid), caller(t, old, q.pid)}
	watch(t, old, ids[0])
	watch(t, old, ids[1])
	p.ask(t, "exec")
	if got := p.line(t); got != "ready" {
		t.Fatalf("execve: %s", got)
	}
	tid := q.number(t, "thread")
	q.ask(t, "leave")

	table, _ := successor(t, before.noted)
	wantNoExit(t, table)
	for i, tid := range []int{p.pid, tid} {
		if got := caller(t, table, tid); got != ids[i] {
			t.Errorf("thread %d gives %d, want %d", tid, got, ids[i])
		}
	}
	q.kill()
	if got := exited(t, table); !slices.Equal(got, ids[1:]) {
		t.Errorf("Exited returns %v, want %v", got, ids[1:])
	}
}

// Of what is adopted twice the later call counts.
func TestAdoptTwice(t *testing.T) {
	p := start(t)
	lives := Process{3, p.pid, field22(t, p.pid)}
	other := Process{3, p.pid, lives.Start - 1}
	waits := Process{3, p.pid, 0}
	for _, tt := range []struct {
		name    string
		adopted []Process
		ended   bool
		watched int
	}{
		{"watched later", []Process{waits, lives}, false, 1},
		{"the same", []Process{lives, lives}, false, 1},
		{"no more watched", []Process{lives, waits}, false, 0},
		{"not ended", []Process{other, lives}, false, 1},
		{"ended", []Process{lives, other}, true, 0},
		{"ended twice", []Process{other, other}, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table, _ := successor(t, tt.adopted)
			if got := table.watched.Len(); got != tt.watched {
				t.Errorf("%d are watched, want %d", got, tt.watched)
			}
			if got := caller(t, table, p.pid); (got == 3) == tt.ended {
				t.Errorf("the process is %d", got)
			}
			if tt.ended {
				wantReported(t, table, 3)
			}
			wantNoExit(t, table)
		})
	}
}

// Of two with the same pid the one with the greater ID has it, in whichever order they come.
func TestAdoptSamePID(t *testing.T) {
	p := start(t)
	earlier, later := Process{4, p.pid, 0}, Process{5, p.pid, field22(t, p.pid)}
	for _, processes := range [][]Process{{earlier, later}, {later, earlier}} {
		table, o := successor(t, processes)
		o.used[4] = true
		if got := caller(t, table, p.pid); got != 5 {
			t.Errorf("adopted %v: the process is %d, want 5", processes, got)
		}
		if err := table.Watch(4); err != ErrGone {
			t.Errorf("adopted %v: Watch of the earlier: %v, want ErrGone", processes, err)
		}
		if got := caller(t, table, p.pid); got != 5 {
			t.Errorf("adopted %v: then the process is %d, want 5", processes, got)
		}
	}
}

// Adopted processes count like any other when there are too many.
func TestAdoptBudget(t *testing.T) {
	o := &owner{used: make(map[ID]bool)}
	table := o.table(t, Options{Budget: 4})
	var ids []ID
	for i := range 8 {
		p := start(t)
		id := ID(10 + i)
		adopt(t, table, Process{id, p.pid, field22(t, p.pid)})
		ids = append(ids, id)
	}
	if len(o.forgotten) != 0 {
		t.Fatalf("Adopt drops %v", o.forgotten)
	}
	o.used[ids[1]] = true
	p := start(t)
	id := caller(t, table, p.pid)
	watch(t, table, id)
	if want := []ID{10, 12, 13, 14, 15}; !slices.Equal(o.forgotten, want) {
		t.Errorf("dropped %v, want %v", o.forgotten, want)
	}

	// One that is not watched is swept, and one found dead also: it is told to Forget or by Exited, not both.
	o.forgotten = nil
	q, gone := start(t), start(t)
	gone.kill()
	gone.reap()
	adopt(t, table, Process{30, q.pid, 0})
	adopt(t, table, Process{31, gone.pid, 0})
	table.sweepRecordsAt = 1
	caller(t, table, start(t).pid)
	slices.Sort(o.forgotten)
	if want := []ID{30, 31}; !slices.Equal(o.forgotten, want) {
		t.Errorf("swept %v, want %v", o.forgotten, want)
	}
	wantNoExit(t, table)
}

func TestAdoptNoDescriptor(t *testing.T) {
	if rerun(t, 0) {
		return
	}
	idle, p := start(t), start(t)
	limit := unix.Rlimit{Cur: 128, Max: 128}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	table, o := newNoting(t)
	adopt(t, table, Process{3, idle.pid, field22(t, idle.pid)})
	next := Process{9, p.pid, field22(t, p.pid)}
	id := caller(t, table, p.pid)
	o.used[3], o.used[id] = true, true
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		files = append(files, f)
	}
	check := func(what string) {
		t.Helper()
		o.noted = nil
		if err := table.Watch(id); err != ErrNoDescriptor || len(o.noted) != 0 {
			t.Errorf("%s: Watch: %v, noted %v, want ErrNoDescriptor", what, err, o.noted)
		}
		if err := table.Adopt(next); err != ErrNoDescriptor {
			t.Errorf("%s: Adopt: %v, want ErrNoDescriptor", what, err)
		}
		if _, ok := table.PID(next.ID); ok {
			t.Errorf("%s: adopted", what)
		}
	}
	check("no descriptor left")
	files[0].Close() // one below the spare ones, which the pidfd takes: the start time cannot be read
	files = files[1:]
	check("one descriptor left")
	delete(o.used, 3)
	if err := table.Adopt(next); err != ErrNoDescriptor || len(o.forgotten) != 0 {
		t.Errorf("Adopt with an idle process watched: %v, and drops %v", err, o.forgotten)
	}
	for _, f := range files {
		f.Close()
	}
	adopt(t, table, next)
	if got := caller(t, table, start(t).pid); got <= next.ID {
		t.Errorf("a new process is %d", got)
	}
	p.kill()
	if got := exited(t, table); !slices.Equal(got, []ID{next.ID}) {
		t.Errorf("Exited returns %v, want [%d]", got, next.ID)
	}
}

// Watch with a Note, and Adopt, read a start time; to watch no more is in the time.
func BenchmarkWatch(b *testing.B) {
	for name, newTable := range map[string]func(testing.TB) (*Table, *owner){
		"plain":  func(b testing.TB) (*Table, *owner) { return newTable(b, 0) },
		"noting": newNoting,
	} {
		b.Run(name, func(b *testing.B) {
			table, o := newTable(b)
			id := caller(b, table, start(b).pid)
			b.ReportAllocs()
			for b.Loop() {
				watch(b, table, id)
				table.unwatch(table.records[id])
				o.noted = o.noted[:0]
			}
		})
	}
}

func BenchmarkAdopt(b *testing.B) {
	p := start(b)
	for name, process := range map[string]Process{
		"watched":   {1, p.pid, field22(b, p.pid)},
		"unwatched": {1, p.pid, 0},
		"ended":     {1, p.pid, 1},
	} {
		b.Run(name, func(b *testing.B) {
			table, _ := newTable(b, 0)
			b.ReportAllocs()
			for b.Loop() {
				adopt(b, table, process)
				table.drop(table.records[1])
				table.ended = table.ended[:0]
			}
		})
	}
}
