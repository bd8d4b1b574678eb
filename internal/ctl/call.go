package ctl

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"steve/internal/pool"
)

// A Conn is an open token file with a steve behind it.
type Conn struct {
	file *os.File
}

// Open opens the token file at path, for reading and writing, and asks for the server's version.
// Where the file opens but no steve answers the error wraps ErrNotSteve.
func Open(path string) (*Conn, error) {
	// Blocking: a thread, not the runtime's poller, waits for a token, and a signal to it costs nothing.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	c := &Conn{file: os.NewFile(uintptr(fd), path)}
	if _, err := c.Version(); err != nil {
		c.file.Close()
		if isGone(err) {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w", path, ErrNotSteve)
	}
	return c, nil
}

// isGone says whether a request failed because the server was just ending.
func isGone(err error) bool {
	return errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ENODEV)
}

// ErrNotSteve says that a file opened as a token file is served by no steve.
var ErrNotSteve = errors.New("not a steve token file")

// File is the open token file: read a byte to take a token, write one to give it back.
func (c *Conn) File() *os.File { return c.file }

// Close closes the token file when the calls that wait have ended. Tokens taken stay with this process until it ends.
func (c *Conn) Close() error { return c.file.Close() }

// Version is the server's version of this protocol.
func (c *Conn) Version() (int, error) {
	var b [VersionSize]byte
	if err := c.call("version", CmdVersion, b[:]); err != nil {
		return 0, err
	}
	return ParseVersion(b[:])
}

// Status asks for settings and counts, of one moment.
func (c *Conn) Status() (Status, error) {
	var b [StatusSize]byte
	if err := c.call("status", CmdStatus, b[:]); err != nil {
		return Status{}, err
	}
	return ParseStatus(b[:])
}

// Server asks what serves the token file. A server too old to tell answers ENOTTY.
func (c *Conn) Server() (About, error) {
	var b [AboutSize]byte
	if err := c.call("server", CmdServer, b[:]); err != nil {
		return About{}, err
	}
	return ParseAbout(b[:])
}

// Set changes the fields of mask, all of them or, with EINVAL, none.
func (c *Conn) Set(mask pool.Field, l pool.Limits) error {
	b := AppendSettings(make([]byte, 0, SettingsSize), mask, l)
	return c.call("set", CmdSet, b)
}

// Take takes one token, waiting for it.
func (c *Conn) Take() error {
	var b [1]byte
	n, err := c.file.Read(b[:])
	if n == 0 && err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Return gives n tokens back.
func (c *Conn) Return(n int) error {
	_, err := c.file.Write(bytes.Repeat([]byte{'+'}, n))
	return err
}

// Nest waits for a slot to run one command in: that of an ancestor process which has more slots than processes below it
// share, or a token of this process's own. Shared says which. Leave ends the one, Return(1) the other.
func (c *Conn) Nest() (shared bool, err error) {
	n, err := c.nest(NestEnter)
	return n == NestShared, err
}

// Leave gives up the slot of an ancestor process.
func (c *Conn) Leave() error {
	_, err := c.nest(NestLeave)
	return err
}

func (c *Conn) nest(op uint32) (uint32, error) {
	b := AppendNest(make([]byte, 0, NestSize), op)
	if err := c.wait("nest", CmdNest, b); err != nil {
		return 0, err
	}
	return ParseNest(b)
}

// Relay asks what there is for a relay. A second call, from another goroutine, makes the first return.
func (c *Conn) Relay(a RelayAsk) (RelayAnswer, error) {
	b := AppendRelayAsk(make([]byte, 0, RelaySize), a)
	if err := c.wait("relay", CmdRelay, b); err != nil {
		return RelayAnswer{}, err
	}
	return ParseRelayAnswer(b)
}

// wait is call for a request that may take long, and is asked again after a signal.
func (c *Conn) wait(what string, cmd uint, b []byte) error {
	for {
		if err := c.call(what, cmd, b); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (c *Conn) call(what string, cmd uint, b []byte) error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	// By Control the descriptor stays what it is until the call returns, whoever closes the file meanwhile.
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uintptr(cmd), uintptr(unsafe.Pointer(&b[0])))
	})
	if err != nil {
		return err
	}
	if errno != 0 {
		return &os.PathError{Op: what, Path: c.file.Name(), Err: errno}
	}
	return nil
}
