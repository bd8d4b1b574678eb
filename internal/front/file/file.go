// Package file makes the token file a regular file: a FUSE file system that is one file, mounted on a node of its own at
// that path. It needs no kernel module beyond FUSE, and root or fusermount3.
//
// While the mount stands and nobody serves it, every use of the path hangs, so nothing here opens or stats the path
// once it is mounted.
package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/fuseconn"
)

// fsType is what mount tables show. It is how a mount of ours is known.
const fsType = "fuse.steve"

// handshakeTimeout bounds the wait for the kernel's first request, which it sends at once.
const handshakeTimeout = 10 * time.Second

// Config says where the file is and whose.
type Config struct {
	// Path is absolute, its directory exists.
	Path string
	// Perm, UID and GID are the file's. Perm is checked by the kernel.
	Perm     os.FileMode
	UID, GID int
	// RunDir is for the lock that says that the path is in use, and may be the directory of Path.
	RunDir string
}

func (c Config) lockName() string { return filepath.Join(c.RunDir, filepath.Base(c.Path)+".lock") }

// A Mount is the token file and the descriptor that answers for it.
type Mount struct {
	Path string
	FD   int

	node    node
	lock    *lock
	mounter mounter
}

// Open mounts the file. What a killed server left at the path is replaced; what a live one serves is left alone.
func Open(c Config) (*Mount, error) {
	l, err := takeLock(c.lockName(), c.Path)
	if err != nil {
		return nil, err
	}
	m := &Mount{Path: c.Path, FD: -1, lock: l, mounter: newMounter()}
	if err := m.open(c); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Mount) open(c Config) error {
	if err := Clear(c.Path); err != nil {
		return err
	}
	node, err := m.mounter.makeNode(c.Path)
	if err != nil {
		return err
	}
	m.node = node
	if m.FD, err = m.mounter.mount(c); err != nil {
		return err
	}
	m.node.mounted = true
	if err := m.node.disguise(); err != nil {
		return err
	}
	if err := unix.SetNonblock(m.FD, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	fd, deadline := fuseconn.FD(m.FD), time.Now().Add(handshakeTimeout)
	return fuseconn.New(fd).HandshakeFile(func() error { return fd.WaitUntil(deadline) })
}

// Shared are the descriptors by which several processes have part in a Mount.
type Shared struct {
	Device, Lock int
	Unmounter    int // -1 for none
}

// Shared returns the descriptors of m, which stay its own.
func (m *Mount) Shared() Shared {
	s := Shared{Device: m.FD, Lock: int(m.lock.file.Fd()), Unmounter: -1}
	if d, ok := m.mounter.(*delegated); ok {
		s.Unmounter = d.link
	}
	return s
}

// Adopt returns the Mount that another process has opened by the same Config, and whose descriptors are s. It owns them.
func Adopt(c Config, s Shared) *Mount {
	m := &Mount{
		Path: c.Path, FD: s.Device,
		node: node{path: c.Path, mounted: true}, mounter: newMounter(),
		lock: &lock{os.NewFile(uintptr(s.Lock), c.lockName())},
	}
	if s.Unmounter >= 0 {
		m.node, m.mounter = node{mounted: true}, &delegated{link: s.Unmounter}
	}
	return m
}

// Sign makes this process the one that is said to serve the file.
func (m *Mount) Sign() { m.lock.sign() }

// Clear removes what killed servers left at path: mounts, and the node below them. A mount that is served, or is none of
// ours, is an error.
func Clear(path string) error {
	for {
		mounted, err := mountedAt(path)
		if err != nil {
			return err
		}
		if mounted == "" {
			return removeLeftover(path)
		}
		if mounted != fsType {
			return fmt.Errorf("%s is a mount point of type %s; unmount it or use another --dev-name", path, mounted)
		}
		if !dead(path) {
			return fmt.Errorf("%s is served by another steve; stop it or use another --dev-name", path)
		}
		if err := newMounter().unmount(path); err != nil {
			return err
		}
	}
}

// deadProbe is how long a server may take to answer an open before it counts as alive but stuck.
const deadProbe = 2 * time.Second

// dead says whether nobody holds the device of the mount at path any more. The kernel then fails an open at once.
func dead(path string) bool {
	result := make(chan error, 1)
	go func() {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		result <- err
	}()
	select {
	case err := <-result:
		return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
	case <-time.After(deadProbe):
		return false
	}
}

// Unmount takes the file from its path, unless another process that has part in it did. Whoever has it open is served as
// before.
func (m *Mount) Unmount() error {
	var errs []error
	if m.node.mounted {
		m.node.mounted = false
		errs = append(errs, m.mounter.unmount(m.Path))
	}
	errs = append(errs, m.node.remove())
	return errors.Join(errs...)
}

// Close takes back all that Open did. The kernel fails what clients still ask, if no other process has part in the file;
// none must go on serving it.
func (m *Mount) Close() error {
	err := m.Unmount()
	if m.FD >= 0 {
		err = errors.Join(err, unix.Close(m.FD))
		m.FD = -1
	}
	m.lock.release()
	return errors.Join(err, m.mounter.close())
}
