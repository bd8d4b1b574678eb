// Package fusewire turns the messages of /dev/fuse and /dev/cuse into Go values and back.
//
// It knows the layout of <linux/fuse.h> and nothing else: it holds no file descriptor, answers nothing and decides
// nothing. Only what a server of one file needs has a struct here. Numbers are in the byte order of the machine, and
// the fields stand at the same offsets on every architecture, 32 bits included.
//
// Bytes from outside give errors, never panics. Parsing returns values and writing appends to the caller's slice, so
// that no request costs an allocation.
//
// # Versions
//
// Structs here are those of protocol 7.31 to 7.45. Within them no request this package parses has changed its length,
// but for INIT, which precedes the agreement on a version. So a length other than the known one is refused.
package fusewire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var native = binary.NativeEndian

// The protocol version spoken here, and the oldest one that is understood.
const (
	Major    = 7
	Minor    = 45
	MinMinor = 31
)

// Sizes of the headers, in bytes.
const (
	HeaderSize      = 40 // struct fuse_in_header
	ReplyHeaderSize = 16 // struct fuse_out_header
)

// MinReadBuffer is the smallest buffer the kernel fills from the device; read(2) with less fails with EINVAL.
// It is enough where max_write is at most 8192 - 80.
const MinReadBuffer = 8192

// MaxWrite is the most bytes of data one WRITE carries, as negotiated. The kernel accepts no smaller maximum.
const MaxWrite = 4096

// MaxErrno is the largest error number a reply may carry. The kernel refuses others with EINVAL.
const MaxErrno = 511

// Reasons for a LengthError.
var (
	ErrTruncated = errors.New("truncated message")
	ErrLength    = errors.New("message longer than it should be")
)

// A LengthError is a message, or a part of one, whose length is not what it must be. It wraps ErrTruncated or ErrLength.
type LengthError struct {
	What      string // "header", or an opcode's name
	Got, Want int64  // bytes
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("%s: %d bytes, want %d: %v", e.What, e.Got, e.Want, e.Unwrap())
}

// Unwrap returns ErrTruncated or ErrLength.
func (e *LengthError) Unwrap() error {
	if e.Got < e.Want {
		return ErrTruncated
	}
	return ErrLength
}

// checkLen returns a LengthError unless b is want bytes long.
func checkLen(what string, b []byte, want uint32) error {
	if uint64(len(b)) == uint64(want) {
		return nil
	}
	return &LengthError{What: what, Got: int64(len(b)), Want: int64(want)}
}

// A Header is what every request begins with.
type Header struct {
	Len    uint32 // of the whole message, in bytes
	Opcode Opcode
	// Unique names the request until it is answered. An INTERRUPT's is its target's with bit 0 set; all others are even.
	Unique uint64
	// NodeID is 1 for the root of a mount, and without meaning on CUSE.
	NodeID uint64
	// UID and GID are the caller's filesystem ids in the server's user namespace.
	UID, GID uint32
	// PID is the id of the calling *thread* in the server's pid namespace, or 0 if the thread is not visible there.
	// INTERRUPT has 0 always, RELEASE on most kernels.
	PID uint32
}

// A Request is one message from the kernel. Body is what follows the header, part of the slice that was parsed.
type Request struct {
	Header
	Body []byte
}

// ParseRequest reads the header of a message. Where the length it gives is not len(b) the error is a LengthError; the
// Request has its header nevertheless, if b is long enough to hold one, so that it can be answered.
//
// Extensions after the body (total_extlen) are not told apart from it: the kernel adds them only to requests that
// create something.
func ParseRequest(b []byte) (Request, error) {
	if len(b) < HeaderSize {
		return Request{}, &LengthError{What: "header", Got: int64(len(b)), Want: HeaderSize}
	}
	r := Request{
		Header: Header{
			Len:    native.Uint32(b),
			Opcode: Opcode(native.Uint32(b[4:])),
			Unique: native.Uint64(b[8:]),
			NodeID: native.Uint64(b[16:]),
			UID:    native.Uint32(b[24:]),
			GID:    native.Uint32(b[28:]),
			PID:    native.Uint32(b[32:]),
		},
		Body: b[HeaderSize:],
	}
	if uint64(r.Len) != uint64(len(b)) {
		r.Body = nil
		return r, &LengthError{What: "header", Got: int64(len(b)), Want: int64(r.Len)}
	}
	return r, nil
}
