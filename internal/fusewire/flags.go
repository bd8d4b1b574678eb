package fusewire

import (
	"fmt"
	"strings"
)

// flagString joins the names of the bits set in v, and what has no name in hexadecimal: "DIRECT_IO|STREAM|0x80".
// names[i] belongs to bit i.
func flagString(v uint64, names []string) string {
	if v == 0 {
		return "0"
	}
	var parts []string
	for i, name := range names {
		if bit := uint64(1) << i; v&bit != 0 && name != "" {
			parts = append(parts, name)
			v &^= bit
		}
	}
	if v != 0 {
		parts = append(parts, fmt.Sprintf("%#x", v))
	}
	return strings.Join(parts, "|")
}

// InitFlags are features offered in INIT and taken in its answer. Bits 32 to 63 travel in a field of their own
// (flags2), which counts only if InitExt is set.
type InitFlags uint64

// The features this server takes, and those it takes care not to.
const (
	InitAtomicOTrunc InitFlags = 1 << 3 // O_TRUNC comes with OPEN, not as a SETATTR
	InitAsyncDIO     InitFlags = 1 << 15
	InitMaxPages     InitFlags = 1 << 22 // InitOut.MaxPages counts
	InitExt          InitFlags = 1 << 30 // the high half counts
	InitHasResend    InitFlags = 1 << 39 // FUSE_NOTIFY_RESEND is understood
)

var initNames = []string{
	0: "ASYNC_READ", "POSIX_LOCKS", "FILE_OPS", "ATOMIC_O_TRUNC", "EXPORT_SUPPORT", "BIG_WRITES", "DONT_MASK", "SPLICE_WRITE",
	8: "SPLICE_MOVE", "SPLICE_READ", "FLOCK_LOCKS", "HAS_IOCTL_DIR", "AUTO_INVAL_DATA", "DO_READDIRPLUS", "READDIRPLUS_AUTO", "ASYNC_DIO",
	16: "WRITEBACK_CACHE", "NO_OPEN_SUPPORT", "PARALLEL_DIROPS", "HANDLE_KILLPRIV", "POSIX_ACL", "ABORT_ERROR", "MAX_PAGES", "CACHE_SYMLINKS",
	24: "NO_OPENDIR_SUPPORT", "EXPLICIT_INVAL_DATA", "MAP_ALIGNMENT", "SUBMOUNTS", "HANDLE_KILLPRIV_V2", "SETXATTR_EXT", "INIT_EXT", "INIT_RESERVED",
	32: "SECURITY_CTX", "HAS_INODE_DAX", "CREATE_SUPP_GROUP", "HAS_EXPIRE_ONLY", "DIRECT_IO_ALLOW_MMAP", "PASSTHROUGH", "NO_EXPORT_SUPPORT", "HAS_RESEND",
	40: "ALLOW_IDMAP", "OVER_IO_URING", "REQUEST_TIMEOUT",
}

func (f InitFlags) String() string { return flagString(uint64(f), initNames) }

// OpenReplyFlags say how the kernel treats an open file.
type OpenReplyFlags uint32

// The bits of fuse_open_out.open_flags. Kernels ignore bits they do not know.
const (
	DirectIO    OpenReplyFlags = 1 << 0 // every read(2) and write(2) arrives here
	KeepCache   OpenReplyFlags = 1 << 1
	Nonseekable OpenReplyFlags = 1 << 2
	CacheDir    OpenReplyFlags = 1 << 3
	// Stream is a file without a position. Without it a read(2) that waits keeps the position's lock, and a write(2)
	// on the same open file waits for the read.
	Stream OpenReplyFlags = 1 << 4
	// Noflush spares the FLUSH at every close(2). It is known since 7.35.
	Noflush OpenReplyFlags = 1 << 5
	// ParallelDirectWrites lets writes to the file overlap; else each holds the inode's lock until it is answered.
	// It is known since 7.38.
	ParallelDirectWrites OpenReplyFlags = 1 << 6
)

func (f OpenReplyFlags) String() string {
	return flagString(uint64(f), []string{"DIRECT_IO", "KEEP_CACHE", "NONSEEKABLE", "CACHE_DIR", "STREAM", "NOFLUSH", "PARALLEL_DIRECT_WRITES", "PASSTHROUGH"})
}

// ReadFlags qualify a READ.
type ReadFlags uint32

// ReadLockOwner says that ReadIn.LockOwner counts.
const ReadLockOwner ReadFlags = 1 << 1

func (f ReadFlags) String() string { return flagString(uint64(f), []string{1: "LOCKOWNER"}) }

// WriteFlags qualify a WRITE.
type WriteFlags uint32

// The bits of fuse_write_in.write_flags.
const (
	WriteCache       WriteFlags = 1 << 0 // from the page cache; Fh is a guess
	WriteLockOwner   WriteFlags = 1 << 1 // WriteIn.LockOwner counts
	WriteKillSuidgid WriteFlags = 1 << 2
)

func (f WriteFlags) String() string {
	return flagString(uint64(f), []string{"CACHE", "LOCKOWNER", "KILL_SUIDGID"})
}

// ReleaseFlags qualify a RELEASE.
type ReleaseFlags uint32

// The bits of fuse_release_in.release_flags.
const (
	ReleaseFlush       ReleaseFlags = 1 << 0
	ReleaseFlockUnlock ReleaseFlags = 1 << 1
)

func (f ReleaseFlags) String() string {
	return flagString(uint64(f), []string{"FLUSH", "FLOCK_UNLOCK"})
}

// PollFlags qualify a POLL.
type PollFlags uint32

// PollScheduleNotify says that somebody sleeps until the file is ready: wake PollIn.Kh then.
const PollScheduleNotify PollFlags = 1 << 0

func (f PollFlags) String() string { return flagString(uint64(f), []string{"SCHEDULE_NOTIFY"}) }

// IoctlFlags qualify an IOCTL.
type IoctlFlags uint32

// The bits of fuse_ioctl_in.flags.
const (
	IoctlCompat       IoctlFlags = 1 << 0 // a 32-bit caller of a 64-bit kernel
	IoctlUnrestricted IoctlFlags = 1 << 1 // the server may ask for any memory of the caller
	IoctlRetry        IoctlFlags = 1 << 2 // an answer: ask again with the memory named
	Ioctl32Bit        IoctlFlags = 1 << 3
	IoctlDir          IoctlFlags = 1 << 4
	IoctlCompatX32    IoctlFlags = 1 << 5 // an x32 caller: time_t has 64 bits
)

func (f IoctlFlags) String() string {
	return flagString(uint64(f), []string{"COMPAT", "UNRESTRICTED", "RETRY", "32BIT", "DIR", "COMPAT_X32"})
}

// SetattrValid says which fields of a SETATTR are to be set.
type SetattrValid uint32

// The bits of fuse_setattr_in.valid.
const (
	SetattrMode        SetattrValid = 1 << 0
	SetattrUID         SetattrValid = 1 << 1
	SetattrGID         SetattrValid = 1 << 2
	SetattrSize        SetattrValid = 1 << 3
	SetattrAtime       SetattrValid = 1 << 4
	SetattrMtime       SetattrValid = 1 << 5
	SetattrFh          SetattrValid = 1 << 6 // SetattrIn.Fh counts
	SetattrAtimeNow    SetattrValid = 1 << 7
	SetattrMtimeNow    SetattrValid = 1 << 8
	SetattrLockOwner   SetattrValid = 1 << 9
	SetattrCtime       SetattrValid = 1 << 10
	SetattrKillSuidgid SetattrValid = 1 << 11
)

func (f SetattrValid) String() string {
	return flagString(uint64(f), []string{"MODE", "UID", "GID", "SIZE", "ATIME", "MTIME", "FH", "ATIME_NOW", "MTIME_NOW", "LOCKOWNER", "CTIME", "KILL_SUIDGID"})
}

// GetattrFh is the bit of GetattrIn.Flags that says that GetattrIn.Fh counts.
const GetattrFh = 1 << 0
