package journal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// used is how much memory the journal takes.
func used(t *testing.T, j *Journal) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(j.FD(), &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

func TestBounded(t *testing.T) {
	for _, size := range []int{0, 100, 1 << 20} {
		t.Run(fmt.Sprintf("snapshot=%d", size), func(t *testing.T) {
			j := create(t)
			state := bytes.Repeat([]byte("s"), size)
			snapshots := 0
			take := func() {
				j.Snapshot(append(j.SnapshotRoom(), state...))
				if err := j.Switch(); err != nil {
					t.Fatal(err)
				}
				snapshots++
			}
			take()
			data := bytes.Repeat([]byte("d"), 48)
			const n = 1_000_000
			for i := range n {
				if j.Full() {
					take()
				}
				j.Append(KindEvent, 0, append(j.Room(), data...))
				if i == 0 && j.Full() {
					t.Fatal("full at once")
				}
			}
			if err := j.Err(); err != nil {
				t.Fatal(err)
			}
			// A record takes 72 bytes, and one more than fit was written.
			log := max(minLog, size/4)
			if got, most := snapshots, 1+n*72/log; got < 2 || got > most {
				t.Errorf("%d snapshots, want at most %d", got, most)
			}
			const pages = 256 << 10 // of both banks, their begin and end, the header, the slot, on any machine
			if got, most := used(t, j), int64(2*(size+log)+pages); got > most {
				t.Errorf("%d bytes of memory, want at most %d", got, most)
			}
		})
	}
}

func TestGivesMemoryBack(t *testing.T) {
	j := create(t)
	snapshot(t, j, strings.Repeat("x", 20<<20))
	if got := used(t, j); got < 20<<20 {
		t.Fatalf("%d bytes of memory with a snapshot of 20 MiB", got)
	}
	snapshot(t, j, "small")
	if got := used(t, j); got > keptPages+1<<20 {
		t.Errorf("%d bytes of memory after the next snapshot", got)
	}
	// One who wrote a large snapshot was killed before it counted.
	second := open(t, j.FD())
	expect(t, second, `"small"`)
	second.Snapshot(append(second.SnapshotRoom(), make([]byte, 20<<20)...))
	third := open(t, j.FD())
	expect(t, third, `"small"`)
	snapshot(t, third, "next")
	snapshot(t, third, "and the next")
	if got := used(t, j); got > 2*keptPages+1<<20 {
		t.Errorf("%d bytes of memory after a kill", got)
	}
	expect(t, third, `"and the next"`)
}

func TestOverflow(t *testing.T) {
	const spoiled = "journal refused: its writer could not write all of it down"
	tooMuch := make([]byte, bankSize)
	j := create(t)
	second := open(t, j.FD())

	// A snapshot that has no room leaves all as it was.
	if err := func() error { j.Snapshot(tooMuch); return j.Switch() }(); !errors.Is(err, ErrNoRoom) {
		t.Errorf("the first: %v", err)
	}
	expect(t, second, "empty")
	snapshot(t, j, "one")
	event(j, 1, "a")
	j.Snapshot(tooMuch)
	event(j, 2, "never")
	if j.Room() != nil {
		t.Error("there is room after what had none")
	}
	if err := j.Switch(); !errors.Is(err, ErrNoRoom) {
		t.Errorf("the second: %v", err)
	}
	if j.Err() != nil || j.Full() {
		t.Errorf("the journal from before: %v, full %v", j.Err(), j.Full())
	}
	event(j, 3, "b")
	expect(t, second, `"one" 1@1:"a" 1@3:"b"`)

	// Nor does one whose facts have none.
	j.Snapshot(append(j.SnapshotRoom(), "two"...))
	j.Append(KindFact, 0, tooMuch)
	if err := j.Switch(); !errors.Is(err, ErrNoRoom) {
		t.Errorf("the third: %v", err)
	}
	expect(t, second, `"one" 1@1:"a" 1@3:"b"`)

	// A record that has no room spoils the journal, whatever follows it, until the next snapshot.
	j.Append(KindEvent, 4, tooMuch)
	event(j, 5, "c")
	if !errors.Is(j.Err(), ErrNoRoom) || !j.Full() {
		t.Errorf("err %v, full %v", j.Err(), j.Full())
	}
	expect(t, second, spoiled)
	j.Snapshot(tooMuch)
	j.Switch()
	event(j, 6, "d")
	expect(t, second, spoiled)
	j.Snapshot(append(j.SnapshotRoom(), "three"...))
	expect(t, second, spoiled)
	if err := j.Switch(); err != nil || j.Err() != nil || j.Full() {
		t.Errorf("healed: %v, %v, full %v", err, j.Err(), j.Full())
	}
	event(j, 7, "e")
	expect(t, second, `"three" 1@7:"e"`)
}

// To the last byte of a bank: records that just fit, and one that does not.
func TestLastRoom(t *testing.T) {
	j := create(t)
	second := open(t, j.FD())
	room := j.SnapshotRoom()
	j.Snapshot(room[:cap(room)-64])
	if err := j.Switch(); err != nil {
		t.Fatal(err)
	}
	if !j.Full() {
		t.Error("64 bytes before the end it is not full")
	}
	for want := 47; want >= -1; want -= 24 {
		if room := j.Room(); cap(room) != max(want, 0) {
			t.Fatalf("room for %d bytes, want %d", cap(room), want)
		}
		if want < 0 {
			break
		}
		if _, _, err := second.Read(); err != nil {
			t.Fatal(err)
		}
		event(j, 1, "seven b")
	}
	if err := j.Err(); err != nil {
		t.Fatal(err)
	}
	event(j, 2, "")
	if err := j.Err(); !errors.Is(err, ErrNoRoom) {
		t.Error(err)
	}
}

// One who has not read the journal cannot write into it by mistake.
func TestAppendBeforeRead(t *testing.T) {
	j := create(t)
	snapshot(t, j, "one")
	snapshot(t, j, "two") // in the second bank
	second := open(t, j.FD())
	event(second, 1, "a")
	if err := second.Err(); !errors.Is(err, ErrNoRoom) {
		t.Error(err)
	}
	expect(t, j, `"two"`)
}

// TestFullCountsFromSwitch: a journal that begins with a small snapshot and many records is not full because of these.
func TestFullCountsFromSwitch(t *testing.T) {
	j := create(t)
	const n = 50000 // 2 MiB of facts
	j.Snapshot(append(j.SnapshotRoom(), "small"...))
	for range n {
		j.Append(KindFact, 0, AppendFact(j.Room(), Fact{Kind: 1}))
	}
	if err := j.Switch(); err != nil {
		t.Fatal(err)
	}
	began := j.log.next
	for !j.Full() {
		j.Append(KindEvent, 0, append(j.Room(), "event"...))
	}
	if grown, want := j.log.next-began, began/4; grown < want*9/10 || grown > want*11/10 {
		t.Errorf("full after %d bytes more, want %d", grown, want)
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	j := create(t)
	snapshot(t, j, "one")
	f := Fact{Kind: 1}
	if n := testing.AllocsPerRun(1000, func() {
		j.Append(KindFact, 1, AppendFact(j.Room(), f))
		j.Received()
		if j.Full() {
			j.Snapshot(append(j.SnapshotRoom(), "two"...))
			j.Switch()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{16, 48, 256} {
		b.Run(fmt.Sprintf("data=%d", size), func(b *testing.B) {
			j := create(b)
			snapshot(b, j, "")
			data := make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				if j.Full() {
					snapshot(b, j, "")
				}
				j.Append(KindEvent, 1, append(j.Room(), data...))
			}
		})
	}
}

func BenchmarkSwitch(b *testing.B) {
	for _, size := range []int{0, 4 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("snapshot=%d", size), func(b *testing.B) {
			j := create(b)
			data := make([]byte, size)
			for b.Loop() {
				j.Snapshot(append(j.SnapshotRoom(), data...))
				if err := j.Switch(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReceived(b *testing.B) {
	j := create(b)
	for b.Loop() {
		j.Received()
	}
}
