// Package cuse makes the token file a character device, /dev/NAME, by way of /dev/cuse. The device exists as long as
// somebody has the descriptor open that made it.
package cuse

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/fuseconn"
)

// handshakeTimeout bounds the wait for the kernel's first request, which it sends at once.
const handshakeTimeout = 10 * time.Second

// A Device is /dev/NAME and the descriptor that answers for it.
type Device struct {
	Path string
	FD   int
}

// OpenControl opens /dev/cuse, from which the kernel makes devices. Its errors are those of open(2).
func OpenControl() (fd int, err error) {
	const path = "/dev/cuse"
	fd, err = unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// Path is where the device of that name is.
func Path(name string) string { return "/dev/" + name }

// New makes the device of that name from an open control descriptor, which it closes if it cannot.
func New(control int, name string) (*Device, error) {
	d := &Device{Path: Path(name), FD: control}
	if err := d.start(name); err != nil {
		unix.Close(control)
		return nil, err
	}
	return d, nil
}

// free returns an error if something has the device's name that is not to be replaced.
func free(name, path string) error {
	if _, err := os.Stat("/sys/class/cuse/" + name); err == nil {
		return fmt.Errorf("%s is served by another process; stop it or use another --dev-name", path)
	}
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return fmt.Errorf("%s exists and is not a token file; remove it or use another --dev-name", path)
}

func (d *Device) start(name string) error {
	if err := free(name, d.Path); err != nil {
		return err
	}
	fd, deadline := fuseconn.FD(d.FD), time.Now().Add(handshakeTimeout)
	err := fuseconn.New(fd).HandshakeCUSE(name, func() error { return fd.WaitUntil(deadline) })
	if err != nil {
		return err
	}
	// The device is made while the answer is written, and the connection aborted if it cannot be.
	if dead, err := fd.Dead(); err != nil {
		return err
	} else if dead {
		return fmt.Errorf("the kernel made no device %s: the name is taken; use another --dev-name", name)
	}
	if info, err := os.Lstat(d.Path); err != nil || info.Mode().Type() != os.ModeDevice|os.ModeCharDevice {
		return fmt.Errorf("the kernel made the device %s, but %s is not there: is /dev a devtmpfs?", name, d.Path)
	}
	return nil
}

// Permit gives the node to group gid with mode perm. Where force is false it does so only if nobody has yet: a udev rule
// for the node comes before or after this, and holds in either case.
func (d *Device) Permit(gid int, perm os.FileMode, force bool) error {
	info, err := os.Stat(d.Path)
	if err != nil {
		return err
	}
	if !force && info.Mode().Perm() != 0o600 {
		return nil
	}
	if err := os.Chown(d.Path, -1, gid); err != nil {
		return err
	}
	return os.Chmod(d.Path, perm)
}

// Close ends the device. The kernel removes the node and fails what its clients ask.
func (d *Device) Close() error { return unix.Close(d.FD) }
