package fusewire

import "syscall"

// PutReplyHeader fills in the header of msg, a whole answer, at its beginning. errno is 0 for success, else at most
// MaxErrno, and then nothing may follow the header.
func PutReplyHeader(msg []byte, unique uint64, errno syscall.Errno) {
	putOutHeader(msg, -int32(errno), unique)
}

// AppendReplyHeader appends the header of an answer of which bodyLen bytes are to follow.
func AppendReplyHeader(b []byte, unique uint64, errno syscall.Errno, bodyLen int) []byte {
	b = native.AppendUint32(b, uint32(ReplyHeaderSize+bodyLen))
	b = native.AppendUint32(b, uint32(-int32(errno)))
	return native.AppendUint64(b, unique)
}

func putOutHeader(msg []byte, code int32, unique uint64) {
	native.PutUint32(msg, uint32(len(msg)))
	native.PutUint32(msg[4:], uint32(code))
	native.PutUint64(msg[8:], unique)
}

// notifyPoll is FUSE_NOTIFY_POLL, which stands where an answer has its error.
const notifyPoll = 1

// AppendPollWake appends a whole message, not an answer: those that poll the open file named kh are to ask again.
// The kernel ignores a kh that it does not know any more.
func AppendPollWake(b []byte, kh uint64) []byte {
	b = native.AppendUint32(b, ReplyHeaderSize+8)
	b = native.AppendUint32(b, notifyPoll)
	b = native.AppendUint64(b, 0)
	return native.AppendUint64(b, kh)
}

// InitOut answers INIT.
type InitOut struct {
	Major, Minor        uint32
	MaxReadahead        uint32 // bytes
	Flags               InitFlags
	MaxBackground       uint16 // requests nobody waits for, such as RELEASE, that may be unanswered at a time
	CongestionThreshold uint16 // of these, when the file counts as congested
	MaxWrite            uint32 // bytes of data in one WRITE
	TimeGran            uint32 // granularity of times, ns
	MaxPages            uint16 // pages of data in one request; it counts with InitMaxPages
}

// AppendInit appends the answer to INIT, 64 bytes. The high half of Flags is written only if InitExt is set.
func AppendInit(b []byte, o InitOut) []byte {
	flags2 := uint32(o.Flags >> 32)
	if o.Flags&InitExt == 0 {
		flags2 = 0
	}
	b = native.AppendUint32(b, o.Major)
	b = native.AppendUint32(b, o.Minor)
	b = native.AppendUint32(b, o.MaxReadahead)
	b = native.AppendUint32(b, uint32(o.Flags))
	b = native.AppendUint16(b, o.MaxBackground)
	b = native.AppendUint16(b, o.CongestionThreshold)
	b = native.AppendUint32(b, o.MaxWrite)
	b = native.AppendUint32(b, o.TimeGran)
	b = native.AppendUint16(b, o.MaxPages)
	b = native.AppendUint16(b, 0) // map_alignment
	b = native.AppendUint32(b, flags2)
	return append(b, make([]byte, 28)...)
}

// CuseUnrestrictedIoctl, in CuseInitOut.Flags, lets the server read and write any memory of an ioctl(2)'s caller.
const CuseUnrestrictedIoctl = 1 << 0

// CuseInitOut answers CUSE_INIT.
type CuseInitOut struct {
	Major, Minor uint32
	Flags        uint32
	MaxRead      uint32 // bytes in the answer to one READ
	MaxWrite     uint32 // bytes of data in one WRITE
	// DevMajor and DevMinor number the device; 0, 0 lets the kernel choose.
	DevMajor, DevMinor uint32
	// DevName becomes /dev/DevName. The kernel cuts off blanks around it and turns a slash into an exclamation mark.
	DevName string
}

// AppendCuseInit appends the answer to CUSE_INIT: 72 bytes and the device's name. All of the information after the 72
// bytes may be 4096 bytes long.
func AppendCuseInit(b []byte, o CuseInitOut) []byte {
	b = native.AppendUint32(b, o.Major)
	b = native.AppendUint32(b, o.Minor)
	b = native.AppendUint32(b, 0)
	b = native.AppendUint32(b, o.Flags)
	b = native.AppendUint32(b, o.MaxRead)
	b = native.AppendUint32(b, o.MaxWrite)
	b = native.AppendUint32(b, o.DevMajor)
	b = native.AppendUint32(b, o.DevMinor)
	b = append(b, make([]byte, 40)...)
	b = append(b, "DEVNAME="...)
	b = append(b, o.DevName...)
	return append(b, 0)
}

// OpenOut answers OPEN.
type OpenOut struct {
	Fh        uint64 // comes with every request on the open file
	OpenFlags OpenReplyFlags
}

// AppendOpen appends the answer to OPEN, 16 bytes.
func AppendOpen(b []byte, o OpenOut) []byte {
	b = native.AppendUint64(b, o.Fh)
	b = native.AppendUint32(b, uint32(o.OpenFlags))
	return native.AppendUint32(b, 0)
}

// AppendWrite appends the answer to WRITE, 8 bytes: n bytes were written, which may be fewer than were given, not more.
func AppendWrite(b []byte, n uint32) []byte {
	b = native.AppendUint32(b, n)
	return native.AppendUint32(b, 0)
}

// AppendPoll appends the answer to POLL, 8 bytes: POLLIN and the like that hold now, as numbered in <poll.h>.
func AppendPoll(b []byte, revents uint32) []byte {
	b = native.AppendUint32(b, revents)
	return native.AppendUint32(b, 0)
}

// AppendIoctl appends the answer to IOCTL, 16 bytes and data: what ioctl(2) returns, and what is written to the caller's
// memory, at most IoctlIn.OutSize bytes. The kernel gives the caller an error number for a negative result.
func AppendIoctl(b []byte, result int32, data []byte) []byte {
	b = native.AppendUint32(b, uint32(result))
	b = append(b, make([]byte, 12)...) // flags, in_iovs, out_iovs: only with IoctlRetry
	return append(b, data...)
}

// A Time is a moment since 1970, as files have it.
type Time struct {
	Sec  uint64
	Nsec uint32
}

// Attr is what stat(2) says of the file.
type Attr struct {
	Ino, Size, Blocks   uint64
	Atime, Mtime, Ctime Time
	Mode                uint32 // type and permissions
	Nlink               uint32
	UID, GID            uint32
	Rdev                uint32
	Blksize             uint32 // bytes
}

// AppendAttr appends the answer to GETATTR or SETATTR, 104 bytes. The kernel need not ask again for valid seconds.
func AppendAttr(b []byte, valid uint64, a Attr) []byte {
	b = native.AppendUint64(b, valid)
	b = append(b, make([]byte, 8)...)
	b = native.AppendUint64(b, a.Ino)
	b = native.AppendUint64(b, a.Size)
	b = native.AppendUint64(b, a.Blocks)
	b = native.AppendUint64(b, a.Atime.Sec)
	b = native.AppendUint64(b, a.Mtime.Sec)
	b = native.AppendUint64(b, a.Ctime.Sec)
	b = native.AppendUint32(b, a.Atime.Nsec)
	b = native.AppendUint32(b, a.Mtime.Nsec)
	b = native.AppendUint32(b, a.Ctime.Nsec)
	b = native.AppendUint32(b, a.Mode)
	b = native.AppendUint32(b, a.Nlink)
	b = native.AppendUint32(b, a.UID)
	b = native.AppendUint32(b, a.GID)
	b = native.AppendUint32(b, a.Rdev)
	b = native.AppendUint32(b, a.Blksize)
	return native.AppendUint32(b, 0) // flags
}

// Statfs is what statfs(2) says of the mount.
type Statfs struct {
	Blocks, Bfree, Bavail uint64 // in units of Frsize
	Files, Ffree          uint64
	Bsize, Frsize         uint32 // bytes
	Namelen               uint32 // the longest name, bytes
}

// AppendStatfs appends the answer to STATFS, 80 bytes.
func AppendStatfs(b []byte, s Statfs) []byte {
	b = native.AppendUint64(b, s.Blocks)
	b = native.AppendUint64(b, s.Bfree)
	b = native.AppendUint64(b, s.Bavail)
	b = native.AppendUint64(b, s.Files)
	b = native.AppendUint64(b, s.Ffree)
	b = native.AppendUint32(b, s.Bsize)
	b = native.AppendUint32(b, s.Namelen)
	b = native.AppendUint32(b, s.Frsize)
	return append(b, make([]byte, 28)...)
}
