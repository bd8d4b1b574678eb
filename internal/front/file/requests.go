package file

import (
	"syscall"

	"golang.org/x/sys/unix"

	"steve/internal/front"
	"steve/internal/fuseconn"
	"steve/internal/fusewire"
	"steve/internal/journal"
)

// OpenFlags are how every open file behaves. DIRECT_IO: each read and write is a request. NONSEEKABLE and STREAM: there is
// no position, whose lock a blocked read would hold against the write of its own process. NOFLUSH: close(2) asks nothing,
// so that a killed process ends also while nobody serves. PARALLEL_DIRECT_WRITES: no lock around a write.
const OpenFlags = fusewire.DirectIO | fusewire.Nonseekable | fusewire.Stream |
	fusewire.Noflush | fusewire.ParallelDirectWrites

// attrValid is for how many seconds the kernel may answer stat(2) itself: a year. A stat must not depend on a server.
const attrValid = 365 * 24 * 60 * 60

// Attributes answers what a file system is asked about the one file it has.
type Attributes struct {
	attr fusewire.Attr
	note func(journal.Fact)
}

// NewAttributes returns those of the file of c. Changes are told to note before they are answered, if it is not nil.
func NewAttributes(c Config, note func(journal.Fact)) *Attributes {
	return &Attributes{
		note: note,
		attr: fusewire.Attr{
			Ino: 1,
			// With size 0 every write would extend the file, and the kernel serialises those.
			Size:    1,
			Nlink:   1,
			Mode:    unix.S_IFREG | uint32(c.Perm.Perm()),
			UID:     uint32(c.UID),
			GID:     uint32(c.GID),
			Blksize: 4096,
		},
	}
}

// Answer is one of front.Other.
func (a *Attributes) Answer(conn *fuseconn.Conn, req fusewire.Request) (bool, error) {
	switch req.Opcode {
	case fusewire.OpGetattr:
	case fusewire.OpSetattr:
		in, err := fusewire.ParseSetattr(req.Body)
		if err != nil {
			return true, conn.Refuse(req)
		}
		a.set(in)
	case fusewire.OpStatfs:
		return true, conn.Reply(req.Unique, fusewire.AppendStatfs(nil, fusewire.Statfs{Bsize: 4096, Frsize: 4096, Namelen: 255}))
	case fusewire.OpAccess:
		return true, conn.Reply(req.Unique, nil)
	case fusewire.OpFallocate:
		return true, conn.Fail(req.Unique, syscall.EOPNOTSUPP)
	default:
		return false, nil
	}
	return true, conn.Reply(req.Unique, fusewire.AppendAttr(nil, attrValid, a.attr))
}

// set takes over what may be set. The kernel has checked who may. A truncation, as by a shell's redirection, changes nothing.
func (a *Attributes) set(in fusewire.SetattrIn) {
	if in.Valid&fusewire.SetattrMode != 0 {
		a.attr.Mode = unix.S_IFREG | in.Mode&0o777
	}
	if in.Valid&fusewire.SetattrUID != 0 {
		a.attr.UID = in.UID
	}
	if in.Valid&fusewire.SetattrGID != 0 {
		a.attr.GID = in.GID
	}
	if a.note != nil && in.Valid&(fusewire.SetattrMode|fusewire.SetattrUID|fusewire.SetattrGID) != 0 {
		a.note(a.fact())
	}
}

func (a *Attributes) fact() journal.Fact {
	return journal.Fact{Kind: front.FactAttr, A: uint64(a.attr.Mode), B: uint64(a.attr.UID), C: uint64(a.attr.GID)}
}

// Facts is one of front.Other.
func (a *Attributes) Facts(note func(journal.Fact)) { note(a.fact()) }

// Restore is one of front.Other.
func (a *Attributes) Restore(f journal.Fact) {
	if f.Kind == front.FactAttr {
		a.attr.Mode, a.attr.UID, a.attr.GID = uint32(f.A), uint32(f.B), uint32(f.C)
	}
}
