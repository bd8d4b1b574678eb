package journal

import (
	"encoding/binary"
	"hash/crc32"
	"iter"
	"time"
)

// A Record is what Append was given.
type Record struct {
	Kind Kind
	Now  time.Duration
	Data []byte // in the journal's memory: not to be changed
}

// Read returns the last snapshot and the records since, all of them checked, and makes Append go on behind them. What it
// returns is of use until the next Switch. Of an empty journal it returns nothing.
//
// A journal in which anything is amiss, or whose writer could not write all of it down, is refused. Bytes that no Append
// has committed are not looked at.
func (j *Journal) Read() (snapshot []byte, records iter.Seq[Record], err error) {
	if j.Empty() {
		return nil, func(func(Record) bool) {}, nil
	}
	b := j.counting()
	if b == nil {
		return nil, nil, refused("its header is damaged")
	}
	tail, err := b.check()
	if err != nil {
		return nil, nil, err
	}
	b.began(tail)
	j.log = b
	snapshot = b.mem[snapshotAt : snapshotAt+b.snapshotLen() : snapshotAt+b.snapshotLen()]
	return snapshot, b.records(tail), nil
}

// check returns where the records end, if all up to there is as it was written.
func (b *bank) check() (tail int, err error) {
	// The length is the last that these two read before it is known to be good.
	if binary.NativeEndian.Uint32(b.mem[bankSumAt:]) != sum(b.mem[:bankSumAt]) ||
		uint64(binary.NativeEndian.Uint32(b.mem[lengthAt:])) > bankSize-padding-snapshotAt {
		return 0, refused("its snapshot is damaged")
	}
	at := b.recordsAt()
	if binary.NativeEndian.Uint32(b.mem[snapSumAt:]) != sum(b.mem[snapshotAt:at]) {
		return 0, refused("its snapshot is damaged")
	}
	w := b.tail.Load()
	if w == spoiled {
		return 0, refused("its writer could not write all of it down")
	}
	tail, ok := parseTail(w)
	if !ok || tail < at || tail > bankSize {
		return 0, refused("its end is damaged")
	}
	seed := sum(b.mem[:lengthAt])
	for n := 1; at < tail; n++ {
		end, ok := recordEnd(b.mem, at, tail)
		if !ok || binary.NativeEndian.Uint32(b.mem[at:]) != crc32.Update(seed, castagnoli, b.mem[at+recordLenAt:end]) {
			return 0, refused("record %d after its snapshot is damaged", n)
		}
		at = end
	}
	return tail, nil
}

// recordEnd is where a record with its padding ends, and false if that is beyond the tail.
func recordEnd(mem []byte, at, tail int) (int, bool) {
	if tail-at < dataAt {
		return 0, false
	}
	n := binary.NativeEndian.Uint32(mem[at+recordLenAt:])
	if uint64(n) > uint64(tail-at-dataAt) {
		return 0, false
	}
	end := padded(at + dataAt + int(n))
	return end, end <= tail
}

// records goes through the records of a bank that was checked.
func (b *bank) records(tail int) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for at := b.recordsAt(); at < tail; {
			data := at + dataAt
			end := data + int(binary.NativeEndian.Uint32(b.mem[at+recordLenAt:]))
			r := Record{
				Kind: Kind(b.mem[at+kindAt]),
				Now:  time.Duration(binary.NativeEndian.Uint64(b.mem[at+recordNowAt:])),
				Data: b.mem[data:end:end],
			}
			if !yield(r) {
				return
			}
			at = padded(end)
		}
	}
}
