package ctl

import (
	"fmt"
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
		return nil, fmt.Errorf("%s: %w", path, ErrNotSteve)
	}
	return c, nil
}

// ErrNotSteve says that a file opened as a token file is served by no steve.
var ErrNotSteve = fmt.Errorf("not a steve token file")

// File is the open token file: read a byte to take a token, write one to give it back.
func (c *Conn) File() *os.File { return c.file }

// Close closes the token file. Tokens taken stay with this process until it ends.
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

// Set changes the fields of mask, all of them or, with EINVAL, none.
func (c *Conn) Set(mask pool.Field, l pool.Limits) error {
	b := AppendSettings(make([]byte, 0, SettingsSize), mask, l)
	return c.call("set", CmdSet, b)
}

// Nested says whether an ancestor of this process holds a token of this server.
func (c *Conn) Nested() (bool, error) {
	var b [NestedSize]byte
	if err := c.call("nested", CmdNested, b[:]); err != nil {
		return false, err
	}
	return ParseNested(b[:])
}

func (c *Conn) call(what string, cmd uint, b []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, c.file.Fd(), uintptr(cmd), uintptr(unsafe.Pointer(&b[0])))
	if errno != 0 {
		return &os.PathError{Op: what, Path: c.file.Name(), Err: errno}
	}
	return nil
}
