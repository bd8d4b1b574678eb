package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A bank is a snapshot and the records since:
//
//	 0  generation, 8 bytes: one more than the other bank's when this one was begun
//	 8  length of the snapshot
//	12  CRC-32C of the snapshot and its padding
//	16  CRC-32C of these three
//	20  tail: where the records end, in a form of its own (tailWord)
//	24  the snapshot, padded with zeros to a multiple of 8, and the records, padded alike:
//
//	 0  CRC-32C of all that follows, padding included, and of the generation before it
//	 4  length of the data
//	 8  when it was, 8 bytes
//	16  kind, 1 byte
//	17  data
//
// What is not within the tail does not count, and neither does a bank that the active word does not name.
const (
	lengthAt    = 8
	snapSumAt   = 12
	bankSumAt   = 16
	tailAt      = 20
	snapshotAt  = 24
	recordSumAt = 0
	recordLenAt = 4
	recordNowAt = 8
	kindAt      = 16
	dataAt      = 17

	// Padding is written as one word of zeros after the data, wherever that ends.
	padding = 8
)

const (
	// minLog is how many bytes of records there are at least between two snapshots. They cost more than a record does.
	minLog = 256 << 10
	// keptPages is how much of a bank that does not count stays in memory, so that the next snapshot faults no pages in.
	keptPages = 4 << 20
)

// ErrNoRoom says that something could not be written down.
var ErrNoRoom = errors.New("no room in the journal")

// spoiled is the tail of a bank that something is missing from. As an offset it would be beyond the end of any bank.
const spoiled = ^uint32(0)

// tailWord is how a tail, a multiple of 8, is stored: its eighth, and the XOR of the three bytes of that. So any flipped bit
// is seen, also one that would make it the end of an earlier record.
func tailWord(tail int) uint32 {
	n := uint32(tail / 8)
	return n | (n^n>>8^n>>16)<<24
}

// parseTail is the reverse of tailWord. It returns false for what is none.
func parseTail(w uint32) (int, bool) {
	tail := int(w&0xffffff) * 8
	return tail, tailWord(tail) == w
}

// Kind tells those who replay a journal what a record is.
type Kind uint8

const (
	// KindEvent is an event of the pool.
	KindEvent Kind = 1 + iota
	// KindFact is a Fact.
	KindFact
	// KindFollow is an event that followed from carrying out the effects of the last KindEvent.
	KindFollow
)

// A bank as its writer knows it.
type bank struct {
	mem   []byte
	tail  *atomic.Uint32
	seed  uint32 // of the records' checksums: that of the generation
	next  int    // where the next record goes
	limit int    // with records beyond this it is full
}

// unread is a bank that nothing can be appended to, for want of room, until it is read or begun.
func unread(mem []byte) bank {
	return bank{mem: mem, tail: word(mem, tailAt), next: bankSize, limit: bankSize}
}

// began sets where a bank's records go, for a bank with a good header.
func (b *bank) began(tail int) {
	b.seed = sum(b.mem[:lengthAt])
	b.next = tail
	b.limit = min(b.recordsAt()+max(minLog, b.snapshotLen()), bankSize-minLog)
}

func (b *bank) generation() uint64 { return binary.NativeEndian.Uint64(b.mem) }
func (b *bank) snapshotLen() int   { return int(binary.NativeEndian.Uint32(b.mem[lengthAt:])) }
func (b *bank) recordsAt() int     { return padded(snapshotAt + b.snapshotLen()) }

// padded is the next multiple of 8.
func padded(n int) int { return (n + 7) &^ 7 }

// room is an empty slice at an offset, as large as data there can be.
func (b *bank) room(at int) []byte {
	end := bankSize - padding
	if at > end {
		return nil
	}
	return b.mem[at:at:end]
}

// put puts data at an offset, where they may be already, and zeros after them. It returns where these end, and false if
// there is no room.
func (b *bank) put(at int, data []byte) (end int, ok bool) {
	end = at + len(data)
	if end > bankSize-padding {
		return 0, false
	}
	copy(b.mem[at:], data)
	binary.NativeEndian.PutUint64(b.mem[end:], 0)
	return padded(end), true
}

// spoil makes the bank one that nobody will read, and nobody can append to.
func (b *bank) spoil() {
	b.next = bankSize
	b.tail.Store(spoiled)
}

// Room is an empty slice in the place of the next record's data: what is appended to it is written where it belongs.
func (j *Journal) Room() []byte { return j.log.room(j.log.next + dataAt) }

// Append writes a record down. Its data are best what was appended to Room; others are copied. When it returns the record
// will be read by whoever comes next, or Err is not nil.
func (j *Journal) Append(k Kind, now time.Duration, data []byte) {
	b := j.log
	end, ok := b.put(b.next+dataAt, data)
	if !ok {
		b.spoil()
		return
	}
	r := b.mem[b.next:end]
	r[kindAt] = byte(k)
	binary.NativeEndian.PutUint64(r[recordNowAt:], uint64(now))
	binary.NativeEndian.PutUint32(r[recordLenAt:], uint32(len(data)))
	binary.NativeEndian.PutUint32(r[recordSumAt:], crc32.Update(b.seed, castagnoli, r[recordLenAt:]))
	b.next = end
	b.tail.Store(tailWord(end))
}

// Full says that the records since the last Switch outgrow max(256 KiB, a quarter of what was there before it), or soon the
// bank: time for the next snapshot.
func (j *Journal) Full() bool { return j.log.next > j.log.limit }

// Err is ErrNoRoom if something could not be written down. Such a journal is refused by whoever reads it, until Switch has
// succeeded.
func (j *Journal) Err() error {
	if j.log.tail.Load() == spoiled {
		return ErrNoRoom
	}
	return nil
}

// SnapshotRoom is for Snapshot what Room is for Append.
func (j *Journal) SnapshotRoom() []byte { return j.idle().room(snapshotAt) }

// Snapshot begins a new journal beside the old one, which counts until Switch. Records that are appended meanwhile belong to
// the new one. Snapshots of up to almost 64 MiB have room.
func (j *Journal) Snapshot(data []byte) {
	b := j.idle()
	generation := uint64(1)
	if old := j.counting(); old != nil {
		generation = old.generation() + 1
	}
	j.log = b
	end, ok := b.put(snapshotAt, data)
	if !ok {
		b.spoil()
		return
	}
	binary.NativeEndian.PutUint64(b.mem, generation)
	binary.NativeEndian.PutUint32(b.mem[lengthAt:], uint32(len(data)))
	binary.NativeEndian.PutUint32(b.mem[snapSumAt:], sum(b.mem[snapshotAt:end]))
	binary.NativeEndian.PutUint32(b.mem[bankSumAt:], sum(b.mem[:bankSumAt]))
	b.tail.Store(tailWord(end))
	b.began(end)
}

// Switch makes the last snapshot, and the records since, the journal. If some of it had no room the old one goes on, and is
// Full again after 256 KiB more.
func (j *Journal) Switch() error {
	if err := j.Err(); err != nil {
		if old := j.counting(); old != nil {
			j.log = old
			old.limit = old.next + minLog
		}
		j.giveBack()
		return err
	}
	// Records before Switch are part of what the journal begins with: the snapshot alone may be the smaller part.
	j.log.limit = min(j.log.next+max(minLog, (j.log.next-snapshotAt)/4), bankSize-minLog)
	for i := range j.banks {
		if j.log == &j.banks[i] {
			j.active.Store(activeBank[i])
		}
	}
	j.giveBack()
	return nil
}

// counting is the bank that the active word names, or nil.
func (j *Journal) counting() *bank {
	for i, name := range activeBank {
		if j.active.Load() == name {
			return &j.banks[i]
		}
	}
	return nil
}

// idle is the bank that does not count.
func (j *Journal) idle() *bank {
	if j.counting() == &j.banks[0] {
		return &j.banks[1]
	}
	return &j.banks[0]
}

// giveBack gives the kernel pages that a large journal has left behind. It is done whether there are any or not, since the
// one who wrote them may have been killed before it could.
func (j *Journal) giveBack() {
	at := int64(banksAt + keptPages)
	if j.idle() == &j.banks[1] {
		at += bankSize
	}
	// An error costs memory and nothing else.
	_ = unix.Fallocate(j.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, bankSize-keptPages)
}
