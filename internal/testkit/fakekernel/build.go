package fakekernel

import "steve/internal/fusewire"

// Build returns the request with header h and this body. Len is filled in.
func Build(h fusewire.Header, body []byte) []byte {
	b := native.AppendUint32(nil, uint32(fusewire.HeaderSize+len(body)))
	b = u32(b, uint32(h.Opcode))
	b = u64(b, h.Unique, h.NodeID)
	b = u32(b, h.UID, h.GID, h.PID, 0)
	return append(b, body...)
}

// build is Build for a request of this opcode.
func build(op fusewire.Opcode, h fusewire.Header, body []byte) []byte {
	h.Opcode = op
	return Build(h, body)
}

// BuildInit returns an INIT of a kernel that knows InitExt.
func BuildInit(h fusewire.Header, in fusewire.InitIn) []byte {
	b := u32(nil, in.Major, in.Minor, in.MaxReadahead, uint32(in.Flags), uint32(in.Flags>>32))
	return build(fusewire.OpInit, h, append(b, make([]byte, 44)...))
}

// BuildCuseInit returns a CUSE_INIT.
func BuildCuseInit(h fusewire.Header, in fusewire.CuseInitIn) []byte {
	return build(fusewire.OpCuseInit, h, u32(nil, in.Major, in.Minor, 0, in.Flags))
}

// BuildOpen returns an OPEN.
func BuildOpen(h fusewire.Header, in fusewire.OpenIn) []byte {
	return build(fusewire.OpOpen, h, u32(nil, in.Flags, in.OpenFlags))
}

// BuildRead returns a READ.
func BuildRead(h fusewire.Header, in fusewire.ReadIn) []byte {
	b := u64(nil, in.Fh, in.Offset)
	b = u32(b, in.Size, uint32(in.ReadFlags))
	b = u64(b, in.LockOwner)
	return build(fusewire.OpRead, h, u32(b, in.Flags, 0))
}

// BuildWrite returns a WRITE of in.Data. Its size is that of the data, whatever in.Size is.
func BuildWrite(h fusewire.Header, in fusewire.WriteIn) []byte {
	b := u64(nil, in.Fh, in.Offset)
	b = u32(b, uint32(len(in.Data)), uint32(in.WriteFlags))
	b = u64(b, in.LockOwner)
	b = u32(b, in.Flags, 0)
	return build(fusewire.OpWrite, h, append(b, in.Data...))
}

// BuildRelease returns a RELEASE.
func BuildRelease(h fusewire.Header, in fusewire.ReleaseIn) []byte {
	b := u64(nil, in.Fh)
	b = u32(b, in.Flags, uint32(in.ReleaseFlags))
	return build(fusewire.OpRelease, h, u64(b, in.LockOwner))
}

// BuildFlush returns a FLUSH.
func BuildFlush(h fusewire.Header, in fusewire.FlushIn) []byte {
	return build(fusewire.OpFlush, h, u64(nil, in.Fh, 0, in.LockOwner))
}

// BuildPoll returns a POLL.
func BuildPoll(h fusewire.Header, in fusewire.PollIn) []byte {
	return build(fusewire.OpPoll, h, u32(u64(nil, in.Fh, in.Kh), uint32(in.Flags), in.Events))
}

// BuildIoctl returns an IOCTL that passes in.Data.
func BuildIoctl(h fusewire.Header, in fusewire.IoctlIn) []byte {
	b := u64(nil, in.Fh)
	b = u32(b, uint32(in.Flags), in.Cmd)
	b = u64(b, in.Arg)
	b = u32(b, uint32(len(in.Data)), in.OutSize)
	return build(fusewire.OpIoctl, h, append(b, in.Data...))
}

// BuildInterrupt returns an INTERRUPT of in.Unique. Its own unique is that with bit 0 set, as the kernel has it.
func BuildInterrupt(h fusewire.Header, in fusewire.InterruptIn) []byte {
	h.Unique = in.Unique | 1
	return build(fusewire.OpInterrupt, h, u64(nil, in.Unique))
}

// BuildGetattr returns a GETATTR.
func BuildGetattr(h fusewire.Header, in fusewire.GetattrIn) []byte {
	return build(fusewire.OpGetattr, h, u64(u32(nil, in.Flags, 0), in.Fh))
}

// BuildSetattr returns a SETATTR without times.
func BuildSetattr(h fusewire.Header, in fusewire.SetattrIn) []byte {
	b := u32(nil, uint32(in.Valid), 0)
	b = u64(b, in.Fh, in.Size)
	b = append(b, make([]byte, 44)...)
	return build(fusewire.OpSetattr, h, u32(b, in.Mode, 0, in.UID, in.GID, 0))
}

func u32(b []byte, vs ...uint32) []byte {
	for _, v := range vs {
		b = native.AppendUint32(b, v)
	}
	return b
}

func u64(b []byte, vs ...uint64) []byte {
	for _, v := range vs {
		b = native.AppendUint64(b, v)
	}
	return b
}
