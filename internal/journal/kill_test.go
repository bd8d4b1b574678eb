//go:build !race

// The race detector sees one thread in each process, and would only make for ten times the instructions.

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
)

// script is what is done to a journal while it is stopped at every instruction: a step each, most with one commit.
var script = []func(j *Journal){
	func(j *Journal) { take(j, "one", Fact{Kind: 1, A: 2}) },
	func(j *Journal) { event(j, 1, strings.Repeat("e", 48)) },
	func(j *Journal) { j.Received() },
	func(j *Journal) { event(j, 2, "") },
	func(j *Journal) { j.Append(KindFact, 0, AppendFact(j.Room(), Fact{Kind: 2})) },
	func(j *Journal) { take(j, strings.Repeat("two", 9), Fact{Kind: 3}, Fact{Kind: 4}) },
	func(j *Journal) { event(j, 3, "short") },
	func(j *Journal) { take(j, "three") }, // over what the first bank had
	func(j *Journal) { event(j, 4, "four") },
	func(j *Journal) { j.Snapshot(noRoom); j.Switch() },
	func(j *Journal) { event(j, 5, "goes on") },
	func(j *Journal) { j.Append(KindEvent, 6, noRoom) },
	func(j *Journal) { event(j, 7, "is not there") },
	func(j *Journal) { take(j, "healed") },
	func(j *Journal) { event(j, 8, "and on") },
}

func take(j *Journal, data string, facts ...Fact) {
	j.Snapshot(append(j.SnapshotRoom(), data...))
	for _, f := range facts {
		j.Append(KindFact, 0, AppendFact(j.Room(), f))
	}
	j.Switch()
}

var noRoom = make([]byte, bankSize)

func init() {
	children["script"] = scriptChild
	children["count"] = countChild
}

// scriptChild goes through the script.
func scriptChild(p *progress) error {
	j, err := Open(journalFD)
	if err != nil {
		return err
	}
	return p.work(func() {
		for i, do := range script {
			do(j)
			p.done.Store(uint32(i + 1))
		}
	})
}

// singleStep has the child do its work, and look called after each of its instructions.
func singleStep(t *testing.T, c *child, look func()) {
	t.Helper()
	// All of ptrace(2) must come from one thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.await(t, "begun", func() bool { return c.tid.Load() != 0 })
	tid := int(c.tid.Load())
	if err := unix.PtraceSeize(tid); err == unix.EPERM {
		need.Missing(t, "the right to trace a child: "+err.Error())
	} else if err != nil {
		t.Fatal(os.NewSyscallError("ptrace", err))
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		t.Fatal(os.NewSyscallError("ptrace", err))
	}
	stopped := func() {
		var ws unix.WaitStatus
		for {
			_, err := unix.Wait4(tid, &ws, unix.WALL, nil)
			if err == unix.EINTR {
				continue
			}
			if err != nil || !ws.Stopped() {
				t.Fatalf("the child has not stopped, but %#x: %v", ws, err)
			}
			return
		}
	}
	stopped()
	c.begin.Store(1)
	n := 0
	for c.end.Load() == 0 && !t.Failed() {
		if err := unix.PtraceSingleStep(tid); err != nil {
			t.Fatal(os.NewSyscallError("ptrace", err))
		}
		stopped()
		look()
		n++
	}
	t.Logf("%d instructions", n)
	if err := unix.PtraceDetach(tid); err != nil {
		t.Error(os.NewSyscallError("ptrace", err))
	}
}

// At every instruction the journal is what it was before the step, or after it.
func TestEveryInstruction(t *testing.T) {
	// What it is after each step.
	twin := create(t)
	reader := open(t, twin.FD())
	states := []string{content(reader)}
	for _, do := range script {
		do(twin)
		states = append(states, content(reader))
	}
	if want := "journal refused: its writer could not write all of it down"; states[13] != want || states[12] != want {
		t.Fatalf("the script does not do what it is to: %q", states)
	}
	if want := `"healed" 1@8:"and on"`; states[len(states)-1] != want {
		t.Fatalf("the script ends with %q", states)
	}

	j := create(t)
	whole := bytes.Repeat([]byte{0xff}, requestSize)
	copy(j.Slot(), whole)
	c := startChild(t, "script", j)
	reader = open(t, j.FD())
	seen := 0
	singleStep(t, c, func() {
		done := int(c.done.Load())
		got := content(reader)
		if got != states[done] && (done == len(script) || got != states[done+1]) {
			t.Errorf("after step %d the journal is %s, not %s", done, got, states[done])
		}
		if got != states[seen] {
			seen = done + 1
		}
		slot := reader.Slot()
		if word(slot, 0).Load() != 0 && !bytes.Equal(slot[:requestSize], whole) {
			t.Errorf("after step %d a request is there that is not whole: %x", done, slot[:requestSize])
		}
	})
	if got := int(c.done.Load()); got != len(script) {
		t.Errorf("the child did %d steps of %d", got, len(script))
	}
	expect(t, reader, states[len(states)-1])
}

// At every instruction of Reset the journal is the old, the new, or refused.
func TestEveryInstructionOfReset(t *testing.T) {
	j := create(t)
	snapshot(t, j, "old")
	c := startChild(t, "reset", j)
	seen := map[string]bool{}
	var last, h [headerSize]byte // Reset writes no more than this
	singleStep(t, c, func() {
		clear(h[:])
		if _, err := unix.Pread(j.FD(), h[:], 0); err != nil {
			t.Fatal(err)
		}
		if h == last {
			return
		}
		last = h
		got, err := reading(j.FD())
		if err != nil {
			if got = "refused"; !errors.Is(err, ErrRefused) {
				t.Error(err)
			}
		}
		if seen[got] = true; seen["empty"] && got != "empty" || seen["refused"] && got == `"old"` {
			t.Errorf("after %v it is %s", seen, got)
		}
	})
	if len(seen) != 3 || !seen[`"old"`] || !seen["refused"] || !seen["empty"] {
		t.Errorf("seen was %v", seen)
	}
}

// countChild takes the journal over from the one that was killed, and appends numbers: each is one more than the last, and
// a snapshot is the last number before it. Some snapshots are large, so that their writers die over them as well.
func countChild(p *progress) error {
	j, err := Open(journalFD)
	if err != nil {
		return err
	}
	if err := j.Lock(true); err != nil {
		return err
	}
	n, err := count(j)
	if err != nil {
		return err
	}
	p.done.Store(n)
	p.tid.Store(1)
	for !orphaned() {
		if j.Full() || n%1000 == 0 {
			data := append(j.SnapshotRoom(), make([]byte, 4+n%5000)...)
			binary.NativeEndian.PutUint32(data, n)
			j.Snapshot(data)
			if err := j.Switch(); err != nil {
				return err
			}
		}
		n++
		data := binary.NativeEndian.AppendUint32(j.Room(), n)
		j.Append(KindEvent, time.Duration(n), data[:4+n%100])
		p.done.Store(n)
	}
	return nil
}

// count is the last number in the journal, in which none may be missing.
func count(j *Journal) (uint32, error) {
	data, records, err := j.Read()
	if err != nil || j.Empty() {
		return 0, err
	}
	n := binary.NativeEndian.Uint32(data)
	if len(data) != int(4+n%5000) {
		return 0, fmt.Errorf("a snapshot of %d bytes at %d", len(data), n)
	}
	for r := range records {
		n++
		if got := binary.NativeEndian.Uint32(r.Data); got != n || r.Now != time.Duration(n) || len(r.Data) != int(4+n%100) {
			return 0, fmt.Errorf("%d@%v of %d bytes after %d", got, r.Now, len(r.Data), n-1)
		}
	}
	return n, nil
}

func TestKills(t *testing.T) {
	const kills = 200
	j := create(t)
	last := uint32(0)
	for range kills {
		c := startChild(t, "count", j)
		// The lock excludes the one before, which may be killed but not gone.
		c.await(t, "taken over", func() bool { return c.tid.Load() != 0 })
		target := last + rand.Uint32N(3000)
		c.await(t, "counted on", func() bool { return c.done.Load() >= target })
		if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		c.cmd.Wait()
		if ws := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
			t.Fatalf("the child was not killed but ended: %v", c.cmd.ProcessState)
		}
		// What was appended when the kill came may be there or not. All that Append had returned from is.
		next, err := Open(j.FD())
		if err != nil {
			t.Fatal(err)
		}
		got, err := count(next)
		next.Close()
		if done := c.done.Load(); err != nil || got < done || got > done+1 {
			t.Fatalf("killed after %d the journal ends with %d: %v", done, got, err)
		}
		last = got
	}
	t.Logf("%d numbers", last)
}
