package front_test

import (
	"log/slog"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/front"
	"steve/internal/fuseconn"
	"steve/internal/fusewire"
	"steve/internal/journal"
	"steve/internal/pool"
	"steve/internal/testkit/fakekernel"
)

// heir returns a world with the kernel of w, whose server has ended, and that one's pool as it was. What it notes goes to
// facts.
func (w *world) heir(facts *[]journal.Fact) *world {
	w.t.Helper()
	p, err := pool.Restore(w.pool.State())
	if err != nil {
		w.t.Fatal(err)
	}
	return w.next(p, facts)
}

// next returns a world with the kernel of w and that pool.
func (w *world) next(p *pool.Pool, facts *[]journal.Fact) *world {
	w.t.Helper()
	w.kernel.Kill()
	next := &world{t: w.t, kernel: w.kernel, pool: p, now: w.now, slot: w.slot}
	s, err := front.New(front.Config{
		Conn: fuseconn.NewIn(w.kernel, w.slot), FD: -1, Pool: p, Log: slog.New(slog.NewTextHandler(&next.log, nil)),
		Note: func(f journal.Fact) { *facts = append(*facts, f) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	next.Server = s
	return next
}

// restore has w go on from a past, and steps what follows.
func (w *world) restore(p front.Past) {
	w.t.Helper()
	if p.Received == nil {
		p.Received = func() { w.t.Error("the request read last counts as written down") }
	}
	events, err := w.Restore(p)
	if err != nil {
		w.t.Fatal(err)
	}
	w.step(events...)
	for _, c := range w.Exited(nil) {
		w.step(pool.Event{Kind: pool.Exit, Client: c})
	}
}

// empty is a slot with no request in it.
func (w *world) empty() { clear(w.slot) }

// facts are what the server has to say to the next.
func (w *world) facts() []journal.Fact {
	var facts []journal.Fact
	w.Facts(func(f journal.Fact) { facts = append(facts, f) })
	return facts
}

func TestRestore(t *testing.T) {
	var facts []journal.Fact
	first := newWorld(t, 2)
	first.slot = make([]byte, fusewire.MinReadBuffer)
	w := first.heir(&facts) // the first that notes
	other := exec.Command("cat")
	if _, err := other.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	theirs := header(8)
	theirs.PID = uint32(other.Process.Pid)
	w.serve(read(2, 0), read(4, 0), poll(6, 7), fakekernel.BuildRead(theirs, fusewire.ReadIn{Fh: 2, Size: 1, ReadFlags: fusewire.ReadLockOwner}))
	w.answers(6, 0, writable)
	w.waits(8)
	w.empty()

	// Another process goes on, and then one that has only what the other has to say.
	for range 2 {
		w = w.heir(&facts)
		w.restore(front.Past{Facts: facts})
		facts = w.facts()
		w.holds(2)
	}
	if wakes := w.kernel.TakeWakes(); !slices.Equal(wakes, []uint64{7, 7}) {
		t.Errorf("woken: %v, want 7, once by each", wakes)
	}
	// The end of a process that holds something is seen, also where it came between two servers.
	w.serve(write(10, "+"))
	w.answers(8, 0, "+")
	w.empty()
	facts = w.facts()
	other.Process.Kill()
	other.Wait()
	w = w.heir(&facts)
	w.restore(front.Past{Facts: facts})
	w.holds(1)
	// RELEASE ends what was armed before.
	w.serve(read(12, 0), poll(14, 7))
	w.empty()
	w = w.heir(&facts)
	w.restore(front.Past{Facts: facts})
	w.kernel.TakeWakes()
	w.serve(fakekernel.BuildRelease(fusewire.Header{Unique: 16, NodeID: 1}, fusewire.ReleaseIn{Fh: 1}), write(18, "+"))
	if wakes := w.kernel.TakeWakes(); len(wakes) != 0 {
		t.Errorf("woken after its release: %v", wakes)
	}
}

// cut is a world whose server was killed when it had read a READ with unique 2, that event, and what it had noted.
func cut(t *testing.T) (w *world, e pool.Event, facts []journal.Fact) {
	t.Helper()
	w = newWorld(t, 1)
	w.slot = make([]byte, fusewire.MinReadBuffer)
	w = w.heir(&facts)
	w.kernel.Queue(read(2, 0))
	e, _, err := w.Next()
	if err != nil || e.Kind != pool.Acquire {
		t.Fatal(e, err)
	}
	return w, e, facts
}

func TestRestoreUnfinished(t *testing.T) {
	// The event was written down: the pool has seen it, and its request is not looked at again.
	w, e, facts := cut(t)
	w = w.heir(&facts)
	effects := slices.Clone(w.pool.Step(0, e))
	received := 0
	w.restore(front.Past{Facts: facts, Effects: effects, Ticket: e.Ticket, Received: func() { received++ }})
	w.answers(2, 0, "+")
	w.serve()
	w.holds(1)
	if received != 1 {
		t.Errorf("%d times told that the request is written down", received)
	}
	// It was not.
	w, _, facts = cut(t)
	w = w.heir(&facts)
	w.restore(front.Past{Facts: facts})
	w.serve()
	w.answers(2, 0, "+")
	w.holds(1)
	// Nor was it, but it was answered, by an error that needs no event. Then the token that it gets now finds nobody.
	w, _, facts = cut(t)
	w.kernel.Abort(2)
	w = w.heir(&facts)
	w.restore(front.Past{Facts: facts})
	w.serve(read(4, 0))
	w.answers(4, 0, "+")
	w.holds(1)
}

// A process that was granted a token cannot be watched when that is done again.
func TestRestoreOutOfDescriptors(t *testing.T) {
	for name, delivered := range map[string]bool{"it had the token": true, "it had not": false} {
		t.Run(name, func(t *testing.T) {
			w, e, facts := cut(t)
			w.empty()
			effects := slices.Clone(w.pool.Step(0, e))
			state := w.pool.State()
			if delivered {
				if _, err := w.Do(effects[0]); err != nil {
					t.Fatal(err)
				}
			}
			p, err := pool.Restore(state)
			if err != nil {
				t.Fatal(err)
			}
			var next *world
			fewDescriptors(t, func() { next = w.next(p, &facts) })
			for i := range facts { // as by a table that has not got to watch it
				facts[i].C = 0
			}
			next.restore(front.Past{Facts: facts, Effects: effects, Ticket: e.Ticket})
			if delivered {
				next.answers(2, 0, "+")
				next.holds(1)
			} else {
				next.answers(2, syscall.EINTR, "")
				next.holds(0)
			}
		})
	}
}

func TestInherit(t *testing.T) {
	w := newWorld(t, 1)
	w.slot = make([]byte, fusewire.MinReadBuffer)
	w.serve(read(2, 0), read(4, 0))
	w.waits(4)
	w.empty()
	var facts []journal.Fact
	w = w.next(pool.New(pool.DefaultLimits(1)), &facts)
	if err := w.Inherit(); err != nil {
		t.Fatal(err)
	}
	if wakes := w.kernel.TakeWakes(); !slices.Contains(wakes, 1) || !slices.Contains(wakes, 1000) {
		t.Errorf("%d open files woken, 1 and 1000 not among them", len(wakes))
	}
	w.waits(4)
	w.serve(read(6, unix.O_NONBLOCK))
	w.answers(4, syscall.EINTR, "")
	w.answers(6, 0, "+")
	// A token of before and one of now come back on a file of before, which the next server must know of, too.
	w.serve(write(8, "++"))
	w.answers(8, 0, "\x02\x00\x00\x00\x00\x00\x00\x00")
	w.empty()
	facts = w.facts()
	w = w.heir(&facts)
	w.restore(front.Past{Facts: facts})
	w.serve(write(10, "+"))
	w.answers(10, 0, one)
	w.holds(0)
	if n := w.pool.Forgiven(); n != 2 {
		t.Errorf("%d forgiven, want 2", n)
	}
	// On a file of now it is a loan, or nothing.
	open := func(unique uint64) []byte { return fakekernel.BuildOpen(header(unique), fusewire.OpenIn{}) }
	w.serve(open(12))
	r, _ := w.kernel.Reply(12)
	fh := uint64(0)
	for i := range 8 {
		fh |= uint64(r.Body[i]) << (8 * i)
	}
	w.serve(fakekernel.BuildWrite(header(14), fusewire.WriteIn{Fh: fh, Data: []byte("+")}))
	w.answers(14, syscall.ENOSPC, "")
}
