package journal

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// Each bit of what counts is looked at, and no bit of what does not.
func TestFlippedBits(t *testing.T) {
	j := create(t)
	snapshot(t, j, "old", Fact{Kind: 1})
	event(j, 1, "old")
	snapshot(t, j, "snapshot", Fact{Kind: 2})
	event(j, 2, "event")
	event(j, 3, "")
	tail := j.log.next
	event(j, 4, "beyond the tail: its writer was killed before it was committed")
	j.log.tail.Store(tailWord(tail))
	want := content(j)

	const bank0, bank1 = banksAt, banksAt + bankSize
	for _, tt := range []struct {
		name     string
		from, to int
		counts   bool
	}{
		{"header", 0, headerSize, true},
		{"after the header", headerSize, headerSize + 64, false},
		{"slot", slotAt, slotAt + 256, false},
		{"before the banks", banksAt - 64, banksAt, false},
		{"bank of before", bank0, bank0 + 256, false},
		{"bank", bank1, bank1 + tail, true},
		{"beyond the tail", bank1 + tail, bank1 + tail + 128, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for at := tt.from; at < tt.to; at++ {
				for bit := range 8 {
					j.mem[at] ^= 1 << bit
					got, err := reading(j.FD())
					j.mem[at] ^= 1 << bit
					switch {
					case tt.counts && !errors.Is(err, ErrRefused):
						t.Fatalf("bit %d of byte %d: read as %s, %v", bit, at, got, err)
					case !tt.counts && (err != nil || got != want):
						t.Fatalf("bit %d of byte %d: read as %s, %v, want %s", bit, at, got, err, want)
					}
				}
			}
		})
	}
	expect(t, j, want)
}

// reading is the content of the journal for one who opens it now.
func reading(fd int) (string, error) {
	j, err := Open(fd)
	if err != nil {
		return "", err
	}
	defer j.Close()
	if _, _, err := j.Read(); err != nil {
		return "", err
	}
	return content(j), nil
}

// A tail is known from any other number, among them other tails with a bit flipped.
func TestTail(t *testing.T) {
	for tail := snapshotAt; tail <= bankSize; tail += 8 * 97 {
		w := tailWord(tail)
		if got, ok := parseTail(w); got != tail || !ok || w == spoiled {
			t.Fatalf("%d becomes %#x, and that %d, %v", tail, w, got, ok)
		}
		for bit := range 32 {
			if got, ok := parseTail(w ^ 1<<bit); ok {
				t.Fatalf("%d with bit %d flipped is %d", tail, bit, got)
			}
		}
	}
}

// Lengths that lie, with good checksums.
func TestReadRefuses(t *testing.T) {
	tests := map[string]struct {
		spoil func(b *bank)
		want  string
	}{
		"snapshot beyond the bank": {func(b *bank) {
			binary.NativeEndian.PutUint32(b.mem[lengthAt:], bankSize)
			binary.NativeEndian.PutUint32(b.mem[bankSumAt:], sum(b.mem[:bankSumAt]))
		}, "its snapshot is damaged"},
		"snapshot as long as can be written": {func(b *bank) {
			binary.NativeEndian.PutUint32(b.mem[lengthAt:], 1<<32-1)
			binary.NativeEndian.PutUint32(b.mem[bankSumAt:], sum(b.mem[:bankSumAt]))
		}, "its snapshot is damaged"},
		"other snapshot":           {func(b *bank) { b.mem[snapshotAt] ^= 1 }, "its snapshot is damaged"},
		"tail before the records":  {func(b *bank) { b.tail.Store(tailWord(snapshotAt)) }, "its end is damaged"},
		"tail beyond the bank":     {func(b *bank) { b.tail.Store(tailWord(bankSize + 8)) }, "its end is damaged"},
		"no tail":                  {func(b *bank) { b.tail.Store(1) }, "its end is damaged"},
		"spoiled":                  {func(b *bank) { b.spoil() }, "its writer could not write all of it down"},
		"tail in a record's head":  {func(b *bank) { b.tail.Store(tailWord(b.recordsAt() + 8)) }, "record 1 after its snapshot is damaged"},
		"tail in a record's data":  {func(b *bank) { b.tail.Store(tailWord(b.recordsAt() + 24)) }, "record 1 after its snapshot is damaged"},
		"tail beyond the last":     {func(b *bank) { b.tail.Store(tailWord(b.next + 32)) }, "record 3 after its snapshot is damaged"},
		"tail at the bank's end":   {func(b *bank) { b.tail.Store(tailWord(bankSize)) }, "record 3 after its snapshot is damaged"},
		"record beyond the tail":   {func(b *bank) { b.mem[b.recordsAt()+recordLenAt+1]++ }, "record 1 after its snapshot is damaged"},
		"record of 4 GiB":          {func(b *bank) { b.mem[b.recordsAt()+recordLenAt+3] = 0xff }, "record 1 after its snapshot is damaged"},
		"second record":            {func(b *bank) { b.mem[b.next-1] = 1 }, "record 2 after its snapshot is damaged"},
		"record of a snapshot ago": {func(b *bank) { binary.NativeEndian.PutUint64(b.mem, 2); rehead(b) }, "record 1 after its snapshot is damaged"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			j := create(t)
			snapshot(t, j, "one")
			event(j, 1, "0123456789")
			event(j, 2, "a")
			tt.spoil(j.log)
			got, err := reading(j.FD())
			if want := "journal refused: " + tt.want; !errors.Is(err, ErrRefused) || err.Error() != want {
				t.Errorf("read as %s, %v, want %s", got, err, want)
			}
		})
	}
}

func rehead(b *bank) { binary.NativeEndian.PutUint32(b.mem[bankSumAt:], sum(b.mem[:bankSumAt])) }

// Whatever is in a file, it is refused or read; and what is read, written again, reads the same.
func FuzzOpen(f *testing.F) {
	j, err := Create([]byte("about"))
	if err != nil {
		f.Fatal(err)
	}
	snapshot(f, j, "snapshot", Fact{Kind: 1})
	event(j, 1, "event")
	header := append([]byte(nil), j.mem[:headerSize]...)
	bank0 := append([]byte(nil), j.banks[0].mem[:j.log.next]...)
	f.Add(header, bank0, int64(fileSize), false)
	f.Add(header, bank0, int64(fileSize), true)
	f.Add(header[:20], bank0, int64(1000), false)
	f.Add([]byte{}, []byte{}, int64(0), false)
	j.Close()
	unix.Close(j.FD())

	f.Fuzz(func(t *testing.T, header, bank []byte, size int64, seal bool) {
		fd, err := unix.MemfdCreate("fuzz", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if len(header) > banksAt || len(bank) > 64<<10 || size < 0 || size > fileSize+1 {
			return
		}
		if err := unix.Ftruncate(fd, fileSize); err != nil {
			t.Fatal(err)
		}
		j, err := mapped(fd, nil)
		if err != nil {
			t.Fatal(err)
		}
		copy(j.mem, header)
		copy(j.banks[0].mem, bank)
		if seal { // else few inputs get past the checksums
			b := &j.banks[0]
			reseal(j.mem[:headerSize])
			if b.snapshotLen() > 1<<20 { // it would be the sum of many MiB of nothing
				j.Close()
				return
			}
			binary.NativeEndian.PutUint32(b.mem[snapSumAt:], sum(b.mem[snapshotAt:b.recordsAt()]))
			rehead(b)
			j.active.Store(activeBank[0])
		}
		j.Close()
		if err := unix.Ftruncate(fd, size); err != nil {
			t.Fatal(err)
		}
		if j, err = Open(fd); err != nil {
			return
		}
		defer j.Close()
		data, records, err := j.Read()
		if err != nil || j.Empty() {
			return
		}
		again := create(t)
		again.Snapshot(data)
		for r := range records {
			again.Append(r.Kind, r.Now, r.Data)
		}
		if err := again.Switch(); err != nil {
			t.Fatal(err)
		}
		expect(t, again, content(j))
	})
}
