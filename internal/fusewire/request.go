package fusewire

// InitIn is the body of INIT, the first message of a mount.
type InitIn struct {
	Major, Minor uint32 // of the kernel
	MaxReadahead uint32 // bytes
	Flags        InitFlags
}

// ParseInit reads the body of INIT. A longer one than is known is of a newer kernel, and its beginning counts.
func ParseInit(b []byte) (InitIn, error) {
	if len(b) < 16 {
		return InitIn{}, checkLen("INIT", b, 16)
	}
	in := InitIn{
		Major:        native.Uint32(b),
		Minor:        native.Uint32(b[4:]),
		MaxReadahead: native.Uint32(b[8:]),
		Flags:        InitFlags(native.Uint32(b[12:])),
	}
	if in.Flags&InitExt != 0 {
		if len(b) < 20 {
			return InitIn{}, checkLen("INIT", b, 20)
		}
		in.Flags |= InitFlags(native.Uint32(b[16:])) << 32
	}
	return in, nil
}

// CuseInitIn is the body of CUSE_INIT, the first message on an open /dev/cuse.
type CuseInitIn struct {
	Major, Minor uint32 // of the kernel
	Flags        uint32 // CuseUnrestrictedIoctl
}

// ParseCuseInit reads the body of CUSE_INIT. A longer one than is known is of a newer kernel, and its beginning counts.
func ParseCuseInit(b []byte) (CuseInitIn, error) {
	if len(b) < 16 {
		return CuseInitIn{}, checkLen("CUSE_INIT", b, 16)
	}
	return CuseInitIn{
		Major: native.Uint32(b),
		Minor: native.Uint32(b[4:]),
		Flags: native.Uint32(b[12:]),
	}, nil
}

// OpenIn is the body of OPEN.
type OpenIn struct {
	Flags     uint32 // O_RDWR, O_NONBLOCK, …
	OpenFlags uint32 // FUSE_OPEN_KILL_SUIDGID
}

// ParseOpen reads the body of OPEN.
func ParseOpen(b []byte) (OpenIn, error) {
	if err := checkLen("OPEN", b, 8); err != nil {
		return OpenIn{}, err
	}
	return OpenIn{Flags: native.Uint32(b), OpenFlags: native.Uint32(b[4:])}, nil
}

// ReadIn is the body of READ.
type ReadIn struct {
	Fh, Offset uint64
	Size       uint32 // the most bytes the answer may have
	ReadFlags  ReadFlags
	// LockOwner is the same for all threads of a process and differs from a forked child's; later processes get the
	// same values again. It counts if ReadFlags has ReadLockOwner.
	LockOwner uint64
	Flags     uint32 // O_NONBLOCK and the like, as they are now: fcntl(2) may have changed them since the open
}

// ParseRead reads the body of READ.
func ParseRead(b []byte) (ReadIn, error) {
	if err := checkLen("READ", b, 40); err != nil {
		return ReadIn{}, err
	}
	return ReadIn{
		Fh:        native.Uint64(b),
		Offset:    native.Uint64(b[8:]),
		Size:      native.Uint32(b[16:]),
		ReadFlags: ReadFlags(native.Uint32(b[20:])),
		LockOwner: native.Uint64(b[24:]),
		Flags:     native.Uint32(b[32:]),
	}, nil
}

// WriteIn is the body of WRITE.
type WriteIn struct {
	Fh, Offset uint64
	Size       uint32 // of Data
	WriteFlags WriteFlags
	LockOwner  uint64 // as in ReadIn; it counts if WriteFlags has WriteLockOwner
	Flags      uint32 // as in ReadIn
	Data       []byte // part of the slice that was parsed
}

// ParseWrite reads the body of WRITE. It must hold Size bytes of data.
func ParseWrite(b []byte) (WriteIn, error) {
	if len(b) < 40 {
		return WriteIn{}, checkLen("WRITE", b, 40)
	}
	in := WriteIn{
		Fh:         native.Uint64(b),
		Offset:     native.Uint64(b[8:]),
		Size:       native.Uint32(b[16:]),
		WriteFlags: WriteFlags(native.Uint32(b[20:])),
		LockOwner:  native.Uint64(b[24:]),
		Flags:      native.Uint32(b[32:]),
		Data:       b[40:],
	}
	if err := checkLen("WRITE data", in.Data, in.Size); err != nil {
		return WriteIn{}, err
	}
	return in, nil
}

// ReleaseIn is the body of RELEASE: nobody has the open file any more.
type ReleaseIn struct {
	Fh           uint64
	Flags        uint32 // O_RDWR, O_NONBLOCK, …
	ReleaseFlags ReleaseFlags
	LockOwner    uint64
}

// ParseRelease reads the body of RELEASE.
func ParseRelease(b []byte) (ReleaseIn, error) {
	if err := checkLen("RELEASE", b, 24); err != nil {
		return ReleaseIn{}, err
	}
	return ReleaseIn{
		Fh:           native.Uint64(b),
		Flags:        native.Uint32(b[8:]),
		ReleaseFlags: ReleaseFlags(native.Uint32(b[12:])),
		LockOwner:    native.Uint64(b[16:]),
	}, nil
}

// FlushIn is the body of FLUSH: a descriptor of the open file was closed.
type FlushIn struct {
	Fh, LockOwner uint64
}

// ParseFlush reads the body of FLUSH.
func ParseFlush(b []byte) (FlushIn, error) {
	if err := checkLen("FLUSH", b, 24); err != nil {
		return FlushIn{}, err
	}
	return FlushIn{Fh: native.Uint64(b), LockOwner: native.Uint64(b[16:])}, nil
}

// PollIn is the body of POLL.
type PollIn struct {
	Fh uint64
	// Kh names the open file in a wake-up (AppendPollWake), until it is released. One that is gone is ignored there.
	Kh     uint64
	Flags  PollFlags
	Events uint32 // POLLIN and the like that are asked for, as numbered in <poll.h>
}

// ParsePoll reads the body of POLL.
func ParsePoll(b []byte) (PollIn, error) {
	if err := checkLen("POLL", b, 24); err != nil {
		return PollIn{}, err
	}
	return PollIn{
		Fh:     native.Uint64(b),
		Kh:     native.Uint64(b[8:]),
		Flags:  PollFlags(native.Uint32(b[16:])),
		Events: native.Uint32(b[20:]),
	}, nil
}

// IoctlIn is the body of IOCTL.
type IoctlIn struct {
	Fh      uint64
	Flags   IoctlFlags
	Cmd     uint32
	Arg     uint64 // as the caller gave it, often an address in its memory
	OutSize uint32 // the most bytes of data the answer may have
	// Data is what the command's number says the caller passes: its size if the number has the write bit, else nothing.
	// It is part of the slice that was parsed.
	Data []byte
}

// ParseIoctl reads the body of IOCTL. It must hold the bytes of data it announces (in_size).
func ParseIoctl(b []byte) (IoctlIn, error) {
	if len(b) < 32 {
		return IoctlIn{}, checkLen("IOCTL", b, 32)
	}
	in := IoctlIn{
		Fh:      native.Uint64(b),
		Flags:   IoctlFlags(native.Uint32(b[8:])),
		Cmd:     native.Uint32(b[12:]),
		Arg:     native.Uint64(b[16:]),
		OutSize: native.Uint32(b[28:]),
		Data:    b[32:],
	}
	if err := checkLen("IOCTL data", in.Data, native.Uint32(b[24:])); err != nil {
		return IoctlIn{}, err
	}
	return in, nil
}

// InterruptIn is the body of INTERRUPT: a signal waits for the caller of the request with this Unique.
type InterruptIn struct {
	Unique uint64
}

// ParseInterrupt reads the body of INTERRUPT.
func ParseInterrupt(b []byte) (InterruptIn, error) {
	if err := checkLen("INTERRUPT", b, 8); err != nil {
		return InterruptIn{}, err
	}
	return InterruptIn{Unique: native.Uint64(b)}, nil
}

// GetattrIn is the body of GETATTR.
type GetattrIn struct {
	Flags uint32 // GetattrFh
	Fh    uint64
}

// ParseGetattr reads the body of GETATTR.
func ParseGetattr(b []byte) (GetattrIn, error) {
	if err := checkLen("GETATTR", b, 16); err != nil {
		return GetattrIn{}, err
	}
	return GetattrIn{Flags: native.Uint32(b), Fh: native.Uint64(b[8:])}, nil
}

// SetattrIn is the body of SETATTR, without the times. Valid says which fields count.
type SetattrIn struct {
	Valid          SetattrValid
	Fh             uint64
	Size           uint64 // bytes
	Mode, UID, GID uint32
}

// ParseSetattr reads the body of SETATTR.
func ParseSetattr(b []byte) (SetattrIn, error) {
	if err := checkLen("SETATTR", b, 88); err != nil {
		return SetattrIn{}, err
	}
	return SetattrIn{
		Valid: SetattrValid(native.Uint32(b)),
		Fh:    native.Uint64(b[8:]),
		Size:  native.Uint64(b[16:]),
		Mode:  native.Uint32(b[68:]),
		UID:   native.Uint32(b[76:]),
		GID:   native.Uint32(b[80:]),
	}, nil
}
