// Package journal is what happened, in shared memory, written down before it is answered. It outlives the process that
// writes it, killed at whatever instruction, and is read by the next.
//
// It keeps bytes: a snapshot, and the records since. What they mean, and whether they may be replayed, is the business of
// those who encode them. So is who holds the descriptor while nobody serves.
package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Version is the version of the layout. A journal of another one is refused.
const Version = 1

// MaxAbout is the most bytes that can be said about a journal.
const MaxAbout = 2048

// ErrRefused is wrapped by errors about a journal that cannot be trusted. Each says why in a few words.
var ErrRefused = errors.New("journal refused")

// The file: a header, a slot for requests, two banks. It is sparse: only pages that were written to take memory. Offsets
// suit pages of up to 64 KiB. Numbers are in the machine's own byte order, as the file never leaves it.
const (
	slotAt   = 4 << 10
	slotSize = 8 << 10
	banksAt  = 64 << 10
	bankSize = 64 << 20
	fileSize = banksAt + 2*bankSize
)

// The header. All of it but the last word is written once. Magic and version stay where they are in all versions.
const (
	magicAt     = 0 // 8 bytes
	versionAt   = 8
	bootAt      = 12 // as the kernel prints it
	bootSize    = 36
	aboutLenAt  = 48
	aboutAt     = 52
	headerSumAt = aboutAt + MaxAbout // CRC-32C of all before
	activeAt    = headerSumAt + 4    // names the bank that counts
	headerSize  = activeAt + 4
	attemptsAt  = headerSize // see Attempt
	magic       = "stevejnl"
	requestSize = 80 // what Received zeroes: the header of a request and the arguments of the longest one that is needed
)

// What the active word is as long as there is no bank that counts: of a new journal, and of one that had something in it.
const (
	emptyJournal   = 0x55aa55aa
	clearedJournal = 0xaa55aa55
)

// activeBank are the values of the active word for either bank. All its values differ in many bits, so that a flipped one
// does not choose the other bank.
var activeBank = [2]uint32{0x0f0f0f0f, 0xf0f0f0f0}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Journal is mapped memory. It is for one thread; only the process that has it locked may read and write more than its
// header.
//
// A kill may come between any two instructions. What a store is to be seen after is written before it in the program, and
// the store is atomic: the compiler may reorder plain stores, but none across that. The processor needs no more, since
// who reads the memory next does so after the kernel has ended the writer.
type Journal struct {
	fd     int
	mem    []byte
	about  []byte
	active *atomic.Uint32
	banks  [2]bank
	log    *bank // where records go: the bank that counts, or from Snapshot to Switch the other
}

// Create makes an empty journal in memory. About says whose it is to those who open it, in at most MaxAbout bytes. It never
// changes.
//
// The descriptor, close-on-exec, is the caller's: see FD.
func Create(about []byte) (*Journal, error) {
	// Where vm.memfd_noexec is 2 the flag is a must; kernels before 6.3 do not know it.
	fd, err := unix.MemfdCreate("steve-journal", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("steve-journal", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	j, err := format(fd, about)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return j, nil
}

// Open maps the journal behind fd, which stays the caller's, and checks its header. It is open to those who do not have
// the lock yet: the rest is looked at by Read.
//
// A journal that has no good header, was written by a newer steve, before the machine was started, or belongs to a user
// who is neither root nor the effective user of this process, is refused.
func Open(fd int) (*Journal, error) {
	size, err := checkFile(fd)
	if err != nil {
		return nil, err
	}
	h := make([]byte, headerSize)
	if size < int64(len(h)) {
		return nil, refused("cut short at %d bytes", size)
	}
	if _, err := unix.Pread(fd, h, 0); err != nil {
		return nil, os.NewSyscallError("pread", err)
	}
	version := binary.NativeEndian.Uint32(h[versionAt:])
	switch {
	case string(h[magicAt:versionAt]) != magic:
		return nil, refused("not a journal")
	case version > Version:
		return nil, refused("written by a newer steve (layout %d, not %d)", version, Version)
	case version < Version:
		return nil, refused("written by an older steve (layout %d, not %d)", version, Version)
	case size < fileSize:
		return nil, refused("cut short at %d bytes", size)
	case binary.NativeEndian.Uint32(h[headerSumAt:]) != sum(h[:headerSumAt]):
		return nil, refused("its header is damaged")
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(h[bootAt:aboutLenAt], boot) {
		return nil, refused("written before this machine was started")
	}
	n := binary.NativeEndian.Uint32(h[aboutLenAt:])
	if n > MaxAbout {
		return nil, refused("its header is damaged")
	}
	return mapped(fd, h[aboutAt:aboutAt+n:aboutAt+n])
}

// Reset makes what is behind fd an empty journal, whatever is in it, so that all who hold that file hold the new journal. It
// waits for the lock, as Lock does, and keeps it. A Journal that was opened on that file before is of no more use.
// Another user's file is refused. Killed half-way Reset leaves something that Open refuses. About is as for Create.
func Reset(fd int, about []byte) (*Journal, error) {
	if _, err := checkFile(fd); err != nil {
		return nil, err
	}
	if err := lock(fd, serverByte, true); err != nil {
		return nil, err
	}
	j, err := format(fd, about)
	if err == nil {
		j.Clear()
	}
	return j, err
}

// format makes a file an empty journal.
func format(fd int, about []byte) (*Journal, error) {
	if len(about) > MaxAbout {
		return nil, fmt.Errorf("more than %d bytes about a journal", MaxAbout)
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	for _, size := range []int64{0, fileSize} { // the first drops all pages
		if err := unix.Ftruncate(fd, size); err != nil {
			return nil, fmt.Errorf("make the journal %d bytes: %w", size, err) // EFBIG: RLIMIT_FSIZE
		}
	}
	j, err := mapped(fd, bytes.Clone(about))
	if err != nil {
		return nil, err
	}
	j.active.Store(emptyJournal)
	h := j.mem[:headerSize]
	copy(h[magicAt:], magic)
	binary.NativeEndian.PutUint32(h[versionAt:], Version)
	copy(h[bootAt:], boot)
	binary.NativeEndian.PutUint32(h[aboutLenAt:], uint32(len(about)))
	copy(h[aboutAt:], about)
	binary.NativeEndian.PutUint32(h[headerSumAt:], sum(h[:headerSumAt]))
	return j, nil
}

// checkFile refuses what is no file of root's or of this process's user, and returns the size of others.
func checkFile(fd int) (size int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return 0, refused("not a journal")
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return 0, refused("owned by another user (UID %d)", st.Uid)
	}
	return st.Size, nil
}

// mapped maps a file of full size.
func mapped(fd int, about []byte) (*Journal, error) {
	mem, err := unix.Mmap(fd, 0, fileSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of journal: %w", fileSize, err) // ENOMEM: RLIMIT_AS
	}
	j := &Journal{fd: fd, mem: mem, about: about, active: word(mem, activeAt)}
	for i := range j.banks {
		at := banksAt + i*bankSize
		j.banks[i] = unread(mem[at : at+bankSize : at+bankSize])
	}
	j.log = &j.banks[0]
	// The kernel copies a request only once. A page that must be fetched from swap for it is one more place to be killed in,
	// but no reason to go without a journal where RLIMIT_MEMLOCK is small.
	_ = unix.Mlock(j.Slot())
	return j, nil
}

// Close unmaps the journal. Its descriptor stays open, and the lock held. Nothing that came from j may be used any more.
func (j *Journal) Close() error {
	return os.NewSyscallError("munmap", unix.Munmap(j.mem))
}

// FD is the descriptor of the journal. To close any descriptor of the same file drops this process's lock.
func (j *Journal) FD() int { return j.fd }

// About is what was said about the journal when it was made.
func (j *Journal) About() []byte { return j.about }

// Empty says that no snapshot was committed since the journal was made, or cleared.
func (j *Journal) Empty() bool {
	active := j.active.Load()
	return active == emptyJournal || active == clearedJournal
}

// Clear makes j an empty journal.
func (j *Journal) Clear() { j.active.Store(clearedJournal) }

// Cleared says that j is empty because it was made so, by Clear or Reset.
func (j *Journal) Cleared() bool { return j.active.Load() == clearedJournal }

// Attempt counts the processes that were about to go on by this journal since one was seen to be able to, this one
// included, and returns their number.
func (j *Journal) Attempt() uint32 { return word(j.mem, attemptsAt).Add(1) }

// Settled says that this process can go on by this journal.
func (j *Journal) Settled() { word(j.mem, attemptsAt).Store(0) }

// Slot is where requests are to be read into: 8 KiB, locked in memory if the system lets us.
func (j *Journal) Slot() []byte { return j.mem[slotAt : slotAt+slotSize : slotAt+slotSize] }

// Received says that the request in the slot is written down or answered. It zeroes the first 80 bytes, and of these the
// first word, a request's length, at once and before the others: where that is zero there is no request, whatever follows.
func (j *Journal) Received() {
	slot := j.Slot()
	word(slot, 0).Store(0)
	clear(slot[4:requestSize])
}

// word is the aligned 32-bit word at an offset. 64-bit ones would not be written at once everywhere.
func word(b []byte, at int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&b[at : at+4][0]))
}

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// bootID is what tells this run of the machine from all others: random(4).
func bootID() ([]byte, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, err
	}
	if id = bytes.TrimSpace(id); len(id) != bootSize {
		return nil, fmt.Errorf("boot_id of %d bytes, not %d", len(id), bootSize)
	}
	return id, nil
}
