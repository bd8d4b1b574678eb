package proc

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEviction(t *testing.T) {
	table, o := newTable(t, 4)
	var ids []ID
	var processes []*process
	for range 12 {
		p := start(t)
		id := caller(t, table, p.pid)
		watch(t, table, id)
		processes, ids = append(processes, p), append(ids, id)
		o.used[ids[0]], o.used[ids[min(2, len(ids)-1)]] = true, true // the first and the third keep something
		if _, ok := table.PID(id); !ok {
			t.Fatal("a process just watched was dropped")
		}
		idle := table.watched.Len() - len(o.used)
		if idle > 4 {
			t.Fatalf("%d idle processes are watched, budget is 4", idle)
		}
	}
	if len(o.forgotten) == 0 {
		t.Fatal("none was evicted")
	}
	// Longest watched first, and none in use.
	var idle []ID
	for _, id := range ids {
		if !o.used[id] {
			idle = append(idle, id)
		}
	}
	if !slices.Equal(o.forgotten, idle[:len(o.forgotten)]) {
		t.Errorf("evicted %v of %v, in use %v", o.forgotten, ids, o.used)
	}
	// It is as if an evicted one had never been: unknown, silent, a new ID when it comes again.
	old := o.forgotten[0]
	if _, ok := table.PID(old); ok {
		t.Error("evicted ID has a PID")
	}
	p := processes[slices.Index(ids, old)]
	again := caller(t, table, p.pid)
	if slices.Contains(ids, again) {
		t.Errorf("evicted process comes back as %d, an ID given before", again)
	}
	p.kill()
	p.reap()
	wantNoExit(t, table)
}

// A child of this program holds copies of all descriptors between fork and exec. They must not keep an event alive.
func TestCopiedDescriptor(t *testing.T) {
	table, _ := newTable(t, 0)
	p := start(t)
	id := caller(t, table, p.pid)
	watch(t, table, id)
	fd, err := unix.Dup(table.records[id].pidfd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	p.kill()
	if got := exited(t, table); !slices.Equal(got, []ID{id}) {
		t.Errorf("Exited returns %v, want [%d]", got, id)
	}
	wantNoExit(t, table)
}

// Thousands of waiters need no descriptor, and leave nothing when they are gone.
func TestSweep(t *testing.T) {
	table, o := newTable(t, 0)
	table.sweepRecordsAt = 4
	watched, waiting, idle, gone := start(t), start(t), start(t), start(t)
	ids := make(map[*process]ID)
	for _, p := range []*process{watched, waiting, idle, gone} {
		ids[p] = caller(t, table, p.pid)
	}
	watch(t, table, ids[watched])
	o.used[ids[waiting]] = true
	gone.kill()
	gone.reap()

	next := start(t)
	id := caller(t, table, next.pid)
	slices.Sort(o.forgotten)
	if want := []ID{ids[idle], ids[gone]}; !slices.Equal(o.forgotten, want) {
		t.Errorf("swept %v, want %v", o.forgotten, want)
	}
	for p, want := range map[*process]ID{watched: ids[watched], waiting: ids[waiting], next: id} {
		if got := caller(t, table, p.pid); got != want {
			t.Errorf("after the sweep %d is %d, want %d", p.pid, got, want)
		}
	}
	if got := caller(t, table, idle.pid); got <= id {
		t.Errorf("a swept process comes back as %d", got)
	}
	if table.sweepRecordsAt != sweepFloor+2*2 {
		t.Errorf("next sweep at %d records", table.sweepRecordsAt)
	}
}

// A sweep that is due when an idle process comes by a new thread must not sweep that very process.
func TestSweepKeepsCaller(t *testing.T) {
	table, o := newTable(t, 0)
	p := start(t)
	id := caller(t, table, p.pid)
	table.sweepRecordsAt = 1
	if got := caller(t, table, p.number(t, "thread")); got != id || len(o.forgotten) != 0 {
		t.Errorf("new thread gives %d, want %d; swept %v", got, id, o.forgotten)
	}
	if got := caller(t, table, p.pid); got != id {
		t.Errorf("then main thread gives %d, want %d", got, id)
	}
}

func TestSweepThreads(t *testing.T) {
	table, _ := newTable(t, 0)
	p := start(t)
	id := caller(t, table, p.pid)
	watch(t, table, id)
	kept := p.number(t, "thread")
	caller(t, table, kept)
	for range 5 {
		tid := p.number(t, "thread")
		caller(t, table, tid)
		p.ask(t, fmt.Sprint("end ", tid))
	}
	swept := start(t) // alive, but swept itself: its thread is of no more use
	caller(t, table, swept.pid)
	table.sweepRecordsAt, table.sweepThreadsAt = 1, 1
	last := p.number(t, "thread")
	caller(t, table, last)
	for tid := range table.threads {
		if !slices.Contains([]int{p.pid, kept, last}, tid) {
			t.Errorf("thread %d is kept", tid)
		}
	}
	if len(table.threads) != 3 {
		t.Errorf("%d threads are kept, want 3", len(table.threads))
	}
	if table.sweepThreadsAt != sweepFloor+2*2 {
		t.Errorf("next sweep at %d threads", table.sweepThreadsAt)
	}
}

func TestNoDescriptor(t *testing.T) {
	if rerun(t, 0) {
		return
	}
	holder, idle, next := start(t), start(t), start(t)
	limit := unix.Rlimit{Cur: 128, Max: 128}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	table, o := newTable(t, 0)
	if table.budget != 32 {
		t.Errorf("budget is %d, want a quarter of 128", table.budget)
	}
	idHolder, idIdle, idNext := caller(t, table, holder.pid), caller(t, table, idle.pid), caller(t, table, next.pid)
	watch(t, table, idHolder)
	watch(t, table, idIdle)
	o.used[idHolder], o.used[idIdle], o.used[idNext] = true, true, true

	// Fill up all, then see that the table has left the last ones alone, then take those too.
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
		if err := table.Watch(idNext); err != ErrNoDescriptor {
			t.Errorf("%s: Watch: %v, want ErrNoDescriptor", what, err)
		}
	}
	check("no descriptor left")
	if _, err := table.Caller(os.Getpid()); err != ErrNoDescriptor {
		t.Errorf("no descriptor left: Caller of a new thread: %v, want ErrNoDescriptor", err)
	}
	if got := caller(t, table, next.pid); got != idNext {
		t.Errorf("no descriptor left: known thread gives %d, want %d", got, idNext)
	}
	// The highest numbers go first: what is free then is the spare part.
	for range spareDescriptors {
		files[len(files)-1].Close()
		files = files[:len(files)-1]
	}
	check("the spare ones left")
	caller(t, table, os.Getpid())

	if len(o.forgotten) != 0 {
		t.Errorf("dropped %v, which were in use", o.forgotten)
	}
	delete(o.used, idIdle)
	watch(t, table, idNext)
	if !slices.Equal(o.forgotten, []ID{idIdle}) {
		t.Errorf("evicted %v, want [%d]", o.forgotten, idIdle)
	}
	next.kill()
	if got := exited(t, table); !slices.Equal(got, []ID{idNext}) {
		t.Errorf("Exited returns %v, want [%d]", got, idNext)
	}
}

func TestDescriptorError(t *testing.T) {
	for _, err := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOSPC} {
		if got := descriptorError("call", err); got != ErrNoDescriptor {
			t.Errorf("%v becomes %v", err, got)
		}
	}
	if got := descriptorError("call", unix.EPERM); !errors.Is(got, unix.EPERM) || errors.Is(got, ErrNoDescriptor) {
		t.Errorf("EPERM becomes %v", got)
	}
}
