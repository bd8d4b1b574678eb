// Package systemd is what a service tells its service manager and what it keeps there: readiness, and descriptors that
// outlive the process (https://systemd.io/FILE_DESCRIPTOR_STORE). Which descriptors those are, and what for, is the
// caller's business; so is all that concerns units.
//
// Descriptors are plain numbers. In an os.File one that can be polled would be put into the Go runtime's epoll, and the
// device of a server would wake it at every request.
package systemd

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// socketVar names the service manager's socket. A "@" at its beginning is that of an abstract name.
const socketVar = "NOTIFY_SOCKET"

// ErrNoManager says that no service manager listens to this process.
var ErrNoManager = errors.New("no service manager: " + socketVar + " is not set")

// Notify tells the service manager the state of this process, assignments as in sd_notify(3), one a line. Without a
// manager it does nothing.
func Notify(state string) error {
	if err := send(state); err != ErrNoManager {
		return err
	}
	return nil
}

// Store has the service manager keep a duplicate of fd, until Remove, and give it to the processes that it starts for
// this service from now on, see Inherited. It is kept over the end of this process as long as the service is not stopped.
// The name is up to 255 characters, no colon nor control character among them; several descriptors can have the same
// name. To store a descriptor once more does nothing.
//
// What is sent is not lost when this process is killed at once: the manager heeds it before the end of the process. But
// it does not tell if it keeps no descriptors (FileDescriptorStoreMax= of the unit) or has no room left.
func Store(name string, fd int) error {
	// By default the manager polls what it keeps, to drop what has hung up. It would wake at every request of a device.
	return send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, fd)
}

// Remove has the service manager close all it keeps by that name.
func Remove(name string) error { return send("FDSTOREREMOVE=1\nFDNAME=" + name) }

// send sends one message, with descriptors. It blocks while the manager has too many to read.
func send(state string, fds ...int) error {
	address := os.Getenv(socketVar)
	if address == "" {
		return ErrNoManager
	}
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(sock)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(sock, []byte(state), rights, &unix.SockaddrUnix{Name: address}, unix.MSG_NOSIGNAL)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return fmt.Errorf("tell the service manager at %s: %w", address, err)
		}
	}
}
