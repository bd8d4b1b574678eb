package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
)

// create makes a journal that ends with the test, and its descriptor too.
func create(t testing.TB) *Journal {
	t.Helper()
	j, err := Create([]byte("/dev/steve"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(j.Close(), unix.Close(j.FD())); err != nil {
			t.Error(err)
		}
	})
	return j
}

// open opens the same journal once more, as the next process does.
func open(t testing.TB, fd int) *Journal {
	t.Helper()
	j, err := Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

// event appends an event as the broker does: in place.
func event(j *Journal, now time.Duration, data string) {
	j.Append(KindEvent, now, append(j.Room(), data...))
}

// snapshot makes a snapshot the journal, with facts that belong to it.
func snapshot(t testing.TB, j *Journal, data string, facts ...Fact) {
	t.Helper()
	j.Snapshot(append(j.SnapshotRoom(), data...))
	for _, f := range facts {
		j.Append(KindFact, 0, AppendFact(j.Room(), f))
	}
	if err := j.Switch(); err != nil {
		t.Fatal(err)
	}
}

// content is all that Read says of a journal: a word for each record.
func content(j *Journal) string {
	if j.Empty() {
		return "empty"
	}
	data, records, err := j.Read()
	if err != nil {
		return err.Error()
	}
	b := fmt.Appendf(nil, "%q", data)
	for r := range records {
		b = fmt.Appendf(b, " %d@%d:%q", r.Kind, r.Now, r.Data)
	}
	return string(b)
}

func expect(t testing.TB, j *Journal, want string) {
	t.Helper()
	if got := content(j); got != want {
		t.Errorf("the journal is %.300s, want %.300s", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	j := create(t)
	if flags, err := unix.FcntlInt(uintptr(j.FD()), unix.F_GETFD, 0); err != nil || flags != unix.FD_CLOEXEC {
		t.Errorf("descriptor flags %#x, %v: want close-on-exec", flags, err)
	}
	second := open(t, j.FD())
	if string(second.About()) != "/dev/steve" || second.FD() != j.FD() {
		t.Errorf("about %q, descriptor %d", second.About(), second.FD())
	}
	if !second.Empty() {
		t.Error("not empty from the start")
	}

	fact := Fact{Kind: 3, A: 1, B: 1 << 63, C: 42}
	snapshot(t, j, "one", fact)
	if second.Empty() {
		t.Error("empty with a snapshot")
	}
	wantFact := fmt.Sprintf("2@0:%q", AppendFact(nil, fact))
	expect(t, second, `"one" `+wantFact)

	event(j, 5, "a")
	event(j, -6, "")
	j.Append(KindEvent, 7, []byte("not in place"))
	expect(t, second, `"one" `+wantFact+` 1@5:"a" 1@-6:"" 1@7:"not in place"`)

	// The second goes on where the first has stopped, and a third reads both.
	event(second, 8, "b")
	third := open(t, j.FD())
	expect(t, third, `"one" `+wantFact+` 1@5:"a" 1@-6:"" 1@7:"not in place" 1@8:"b"`)

	// What is begun does not count before it is all there.
	second.Snapshot(append(second.SnapshotRoom(), "two"...))
	event(second, 9, "c")
	expect(t, third, `"one" `+wantFact+` 1@5:"a" 1@-6:"" 1@7:"not in place" 1@8:"b"`)
	if err := second.Switch(); err != nil {
		t.Fatal(err)
	}
	expect(t, third, `"two" 1@9:"c"`)

	// One more begun is left by its writer, and begun anew by the next.
	second.Snapshot(append(second.SnapshotRoom(), "never"...))
	event(second, 10, "never")
	expect(t, third, `"two" 1@9:"c"`)
	event(third, 11, "d")
	snapshot(t, third, "")
	event(third, 12, "e")
	expect(t, open(t, j.FD()), `"" 1@12:"e"`)
}

func TestReadStopsWhenToldTo(t *testing.T) {
	j := create(t)
	snapshot(t, j, "")
	event(j, 1, "a")
	event(j, 2, "b")
	_, records, err := j.Read()
	if err != nil {
		t.Fatal(err)
	}
	for r := range records {
		if r.Now != 1 {
			t.Errorf("a record of %v after the end", r.Now)
		}
		break
	}
}

func TestAbout(t *testing.T) {
	for _, n := range []int{0, 1, MaxAbout} {
		about := bytes.Repeat([]byte("x"), n)
		j, err := Create(about)
		if err != nil {
			t.Fatal(err)
		}
		if j := open(t, j.FD()); !bytes.Equal(j.About(), about) {
			t.Errorf("%d bytes, want %d", len(j.About()), n)
		}
		j.Close()
		unix.Close(j.FD())
	}
	if j, err := Create(make([]byte, MaxAbout+1)); err == nil {
		t.Errorf("made a journal with too much about it: %d bytes", len(j.About()))
	}
}

func TestSlot(t *testing.T) {
	j := create(t)
	slot := j.Slot()
	if len(slot) != 8<<10 || cap(slot) != 8<<10 {
		t.Fatalf("%d bytes of %d", len(slot), cap(slot))
	}
	snapshot(t, j, "one")
	for i := range slot {
		slot[i] = 0xff
	}
	second := open(t, j.FD())
	if !bytes.Equal(second.Slot(), slot) {
		t.Error("the request is not there for the next process")
	}
	j.Received()
	want := append(make([]byte, requestSize), bytes.Repeat([]byte{0xff}, len(slot)-requestSize)...)
	if !bytes.Equal(second.Slot(), want) {
		t.Errorf("received, but there is %x", second.Slot()[:96])
	}
	expect(t, second, `"one"`)
}

// The kernel's own account of the mapping says that the slot is locked.
func TestSlotIsLocked(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < 64<<10 && os.Geteuid() != 0 {
		need.Missing(t, "the right to lock 64 KiB of memory")
	}
	locked := func() (kib int) {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(status), "VmLck:")
		if _, err := fmt.Sscan(after, &kib); err != nil {
			t.Fatal(err)
		}
		return kib
	}
	before := locked()
	create(t)
	if got := locked() - before; got < slotSize>>10 {
		t.Errorf("%d KiB more are locked in memory, want at least %d", got, slotSize>>10)
	}
}

func TestReset(t *testing.T) {
	j := create(t)
	snapshot(t, j, strings.Repeat("old", 1000))
	event(j, 1, "old")
	j.Slot()[0] = 1
	for name, spoil := range map[string]func(){
		"good":  func() {},
		"empty": func() { unix.Ftruncate(j.FD(), 0) },
		"short": func() { unix.Ftruncate(j.FD(), 100) },
		"long":  func() { unix.Ftruncate(j.FD(), fileSize+1) },
		"newer": func() { unix.Pwrite(j.FD(), []byte{2}, versionAt) },
	} {
		t.Run(name, func(t *testing.T) {
			spoil()
			n, err := Reset(j.FD(), []byte("new"))
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			second := open(t, n.FD())
			if !second.Empty() || string(second.About()) != "new" || second.Slot()[0] != 0 {
				t.Errorf("empty %v, about %q, slot %d", second.Empty(), second.About(), second.Slot()[0])
			}
			expect(t, second, "empty")
			snapshot(t, n, "fresh")
			event(n, 2, "new")
			expect(t, second, `"fresh" 1@2:"new"`)
		})
	}
}

// reseal makes a changed header good again.
func reseal(h []byte) { binary.NativeEndian.PutUint32(h[headerSumAt:], sum(h[:headerSumAt])) }

func TestOpenRefuses(t *testing.T) {
	truncate := func(size int64) func(*testing.T, *Journal) {
		return func(t *testing.T, j *Journal) {
			if err := unix.Ftruncate(j.FD(), size); err != nil {
				t.Fatal(err)
			}
		}
	}
	header := func(change func(h []byte)) func(*testing.T, *Journal) {
		return func(t *testing.T, j *Journal) {
			change(j.mem[:headerSize])
			reseal(j.mem[:headerSize])
		}
	}
	tests := map[string]struct {
		spoil func(*testing.T, *Journal)
		want  string
	}{
		"nothing at all": {truncate(0), "cut short at 0 bytes"},
		"one byte":       {truncate(1), "cut short at 1 bytes"},
		"half a header":  {truncate(headerSize - 1), "cut short at 2107 bytes"},
		"a header":       {truncate(headerSize), "cut short at 2108 bytes"},
		"no second bank": {truncate(banksAt + bankSize), "cut short at 67174400 bytes"},
		"a byte missing": {truncate(fileSize - 1), "cut short at 134283263 bytes"},
		"another file":   {header(func(h []byte) { copy(h, "#!/bin/sh\n") }), "not a journal"},
		"zeros":          {header(func(h []byte) { clear(h) }), "not a journal"},
		"newer":          {header(func(h []byte) { h[versionAt]++ }), "written by a newer steve (layout 2, not 1)"},
		"older":          {header(func(h []byte) { h[versionAt] = 0 }), "written by an older steve (layout 0, not 1)"},
		"newer, smaller, with other sums": {func(t *testing.T, j *Journal) {
			j.mem[versionAt] = 9
			truncate(1<<20)(t, j)
		}, "written by a newer steve (layout 9, not 1)"},
		"other boot": {header(func(h []byte) { h[bootAt] ^= 1 }), "written before this machine was started"},
		"long about": {header(func(h []byte) { binary.NativeEndian.PutUint32(h[aboutLenAt:], MaxAbout+1) }), "its header is damaged"},
		"other owner": {func(t *testing.T, j *Journal) {
			need.Root(t)
			if err := unix.Fchown(j.FD(), 65534, 65534); err != nil {
				t.Fatal(err)
			}
			if n, err := Reset(j.FD(), nil); !errors.Is(err, ErrRefused) {
				t.Errorf("reset to %v, %v: want it refused", n, err)
			}
		}, "owned by another user (UID 65534)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			j := create(t)
			snapshot(t, j, "one")
			tt.spoil(t, j)
			second, err := Open(j.FD())
			if err == nil {
				second.Close()
			}
			if want := "journal refused: " + tt.want; !errors.Is(err, ErrRefused) || err.Error() != want {
				t.Errorf("opened with %v, want %s", err, want)
			}
		})
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if j, err := Open(pipe[0]); !errors.Is(err, ErrRefused) {
		t.Errorf("a pipe: %v, %v", j, err)
	}
	if j, err := Reset(pipe[0], nil); !errors.Is(err, ErrRefused) {
		t.Errorf("a pipe was reset: %v, %v", j, err)
	}
	if j, err := Open(-1); !errors.Is(err, unix.EBADF) || errors.Is(err, ErrRefused) {
		t.Errorf("no descriptor: %v, %v", j, err)
	}
}

func TestFact(t *testing.T) {
	f := Fact{Kind: 255, A: 1, B: 1<<64 - 1, C: 3}
	b := AppendFact([]byte("x"), f)[1:]
	if len(b) != 25 {
		t.Errorf("%d bytes", len(b))
	}
	if got, err := ParseFact(b); err != nil || got != f {
		t.Errorf("%v, %v", got, err)
	}
	for _, n := range []int{0, 24, 26} {
		if got, err := ParseFact(make([]byte, n)); !errors.Is(err, ErrRefused) {
			t.Errorf("%d bytes: %v, %v", n, got, err)
		}
	}
}

func TestAttempts(t *testing.T) {
	j := create(t)
	for range 2 {
		for want := uint32(1); want < 4; want++ {
			if got := open(t, j.FD()).Attempt(); got != want {
				t.Errorf("attempt %d, want %d", got, want)
			}
		}
		j.Settled()
	}
}

func TestClear(t *testing.T) {
	j := create(t)
	j.Snapshot([]byte("snapshot"))
	if err := j.Switch(); err != nil {
		t.Fatal(err)
	}
	j.Clear()
	if again := open(t, j.FD()); !j.Empty() || !j.Cleared() || !again.Empty() || !again.Cleared() {
		t.Error("it is not empty, or not known to have been cleared")
	}
	j.Snapshot([]byte("another"))
	if err := j.Switch(); err != nil {
		t.Fatal(err)
	}
	again := open(t, j.FD())
	if got, _, err := again.Read(); string(got) != "another" || err != nil || again.Cleared() {
		t.Errorf("%q, %v, cleared %t", got, err, again.Cleared())
	}
	if create(t).Cleared() {
		t.Error("a new one was cleared")
	}
}
