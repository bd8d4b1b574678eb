// Package fuseconn is one open /dev/fuse or /dev/cuse: the handshake, one request at a time, at most one answer to each.
//
// What a request means is the caller's business; which of them wait for an answer is too. A Conn belongs to one thread:
// none of its methods may overlap another.
package fuseconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"steve/internal/fusewire"
)

// A Device is an open FUSE or CUSE device: a Read is a whole request, a Write a whole answer. Errors are of type
// syscall.Errno. A Read that has nothing to give fails with EAGAIN.
type Device interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
}

var (
	// ErrEmpty says that no request waits.
	ErrEmpty = errors.New("no request waits")
	// ErrEnd says that the mount or the device is gone, and no request will ever come.
	ErrEnd = errors.New("the device is gone")
	// ErrGone says that nobody waits for this answer any more: it was given before, or the mount or device was aborted.
	// What it was to bring, a token say, has not arrived.
	ErrGone = errors.New("the request is gone")
)

// A Conn is the server's end of a Device.
type Conn struct {
	dev       Device
	in        []byte
	out       []byte
	malformed uint64
}

// New returns a Conn on dev, either fresh, when a handshake must come first, or taken over from another process.
func New(dev Device) *Conn { return NewIn(dev, make([]byte, fusewire.MinReadBuffer)) }

// NewIn is New with a place to read requests into, of at least fusewire.MinReadBuffer bytes. Where that place outlives the
// process, the next one finds there what this one read last, by Unfinished.
func NewIn(dev Device, slot []byte) *Conn {
	return &Conn{dev: dev, in: slot, out: make([]byte, 0, fusewire.ReplyHeaderSize+fusewire.MaxWrite)}
}

// Unfinished returns the request that the place to read into has in it, if there is one. Its Body is valid until Next.
func (c *Conn) Unfinished() (fusewire.Request, bool) {
	n := int(binary.NativeEndian.Uint32(c.in)) // the length leads every message
	if n < fusewire.HeaderSize || n > len(c.in) {
		return fusewire.Request{}, false
	}
	req, err := fusewire.ParseRequest(c.in[:n])
	return req, err == nil // what does not parse was cut short by the end of its reader; the kernel has failed that request
}

// Next returns the next request, by one read(2). Its Body is valid until the next call. Errors are ErrEmpty, ErrEnd, and
// else that of the read(2), which is not expected to get better.
//
// A message that does not parse is refused, as Refuse does, and the next one is read.
func (c *Conn) Next() (fusewire.Request, error) {
	for {
		n, err := c.dev.Read(c.in)
		switch err {
		case nil:
		case syscall.EAGAIN:
			return fusewire.Request{}, ErrEmpty
		case syscall.EINTR, syscall.ENOENT:
			continue // ENOENT: this request was aborted while it was being copied; the next one may be there
		case syscall.ENODEV, syscall.ECONNABORTED:
			return fusewire.Request{}, ErrEnd // ECONNABORTED: an abort, where FUSE_ABORT_ERROR was negotiated
		default:
			return fusewire.Request{}, fmt.Errorf("read request: %w", err)
		}
		if n == 0 {
			return fusewire.Request{}, fmt.Errorf("read request: %w: this is no FUSE device", io.ErrUnexpectedEOF)
		}
		req, err := fusewire.ParseRequest(c.in[:n])
		if err == nil {
			return req, nil
		}
		if n < fusewire.HeaderSize {
			c.malformed++ // nothing says whose it is
			continue
		}
		if err := c.Refuse(req); err != nil && err != ErrGone {
			return fusewire.Request{}, err
		}
	}
}

// Refuse counts a request that does not parse, and answers it with EIO if it waits for an answer.
func (c *Conn) Refuse(req fusewire.Request) error {
	c.malformed++
	if !req.Opcode.HasReply() {
		return nil
	}
	return c.Fail(req.Unique, syscall.EIO)
}

// Malformed is how many messages did not parse so far. With a sane kernel it stays 0.
func (c *Conn) Malformed() uint64 { return c.malformed }

// Reply answers the request with success and body, which the fusewire.Append functions write; a READ's body is the bytes
// read. The error is ErrGone, or that of the write(2): EINVAL says that the kernel refused the body's length, and has
// failed the request with EIO.
func (c *Conn) Reply(unique uint64, body []byte) error {
	c.out = append(c.out[:fusewire.ReplyHeaderSize], body...)
	fusewire.PutReplyHeader(c.out, unique, 0)
	return c.write("answer", unique)
}

// Fail answers the request with errno, which is 1 to fusewire.MaxErrno. The error is ErrGone, or that of the write(2).
//
// An INTERRUPT must never be failed with ENOSYS: the kernel would send none to this connection again.
func (c *Conn) Fail(unique uint64, errno syscall.Errno) error {
	c.out = c.out[:fusewire.ReplyHeaderSize]
	fusewire.PutReplyHeader(c.out, unique, errno)
	return c.write("answer", unique)
}

// Again asks the kernel to send the INTERRUPT with this unique (its own, not its target's) once more. The error is
// ErrGone if the target is answered by now.
//
// INTERRUPT is otherwise not answered; its target is, with EINTR. A server with several readers asks again for a target
// that it has not seen yet (Documentation/filesystems/fuse, "Interrupting filesystem operations"). Where one thread reads
// everything a target comes before its INTERRUPT, so one that is unknown has been answered, and there is nothing to do.
func (c *Conn) Again(unique uint64) error { return c.Fail(unique, syscall.EAGAIN) }

// WakePollers makes the processes that sleep in poll(2) on the open file named kh send POLL again. A kh that the kernel
// does not know any more is no error.
func (c *Conn) WakePollers(kh uint64) error {
	c.out = fusewire.AppendPollWake(c.out[:0], kh)
	return c.write("wake-up", kh)
}

// write sends c.out. It is whole or not at all.
func (c *Conn) write(what string, id uint64) error {
	for {
		_, err := c.dev.Write(c.out)
		switch err {
		case nil:
			return nil
		case syscall.EINTR:
			continue
		case syscall.ENOENT:
			return ErrGone
		}
		return fmt.Errorf("write %s %#x: %w", what, id, err)
	}
}
