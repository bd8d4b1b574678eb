package embed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A place is the directory in which the socket is found.
type place struct {
	dir string
	fd  int
}

func openPlace(dir string) (place, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return place{}, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return place{dir, fd}, nil
}

func (p place) close() { unix.Close(p.fd) }

// path is where the socket is, for people.
func (p place) path() string { return filepath.Join(p.dir, socketName) }

// address is path by way of the directory's descriptor where it is too long: unix(7) has room for 107 bytes.
func (p place) address() *unix.SockaddrUnix {
	const room = 107
	name := p.path()
	if len(name) > room {
		name = fmt.Sprintf("/proc/self/fd/%d/%s", p.fd, socketName)
	}
	return &unix.SockaddrUnix{Name: name}
}

// remove removes the socket, if it is there.
func (p place) remove() error {
	if err := unix.Unlinkat(p.fd, socketName, 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("%s cannot be removed: %w", p.path(), err)
	}
	return nil
}

// listen makes the socket and listens on it. The caller must be the only one who starts.
func (p place) listen() (fd int, err error) {
	if err := p.remove(); err != nil { // a dead server's
		return -1, err
	}
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err = unix.Bind(fd, p.address()); err == nil {
		// Before listen: whatever the umask was, nobody else can have connected.
		if err = unix.Fchmodat(p.fd, socketName, 0o600, 0); err == nil {
			err = unix.Listen(fd, unix.SOMAXCONN)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", p.path(), err)
	}
	return fd, nil
}

// A conn is a connection to the server.
type conn struct {
	file *os.File
	peer int // its process id, 0 if that is in another pid namespace
	out  []byte
	in   [answerSize + 1]byte
}

// dial connects to the server. It returns nil if there is none.
func (p place) dial() (*conn, error) {
	// Blocking, so that it waits where too many connect at one time.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	for {
		if err = unix.Connect(fd, p.address()); err != unix.EINTR {
			break
		}
	}
	switch err {
	case nil:
	case unix.ECONNREFUSED, unix.ENOENT:
		unix.Close(fd)
		return nil, nil
	default:
		unix.Close(fd)
		return nil, fmt.Errorf("connect to %s: %w", p.path(), err)
	}
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err == nil {
		err = unix.SetNonblock(fd, true) // a goroutine waits in a read, no thread
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", p.path(), err)
	}
	return &conn{file: os.NewFile(uintptr(fd), p.path()), peer: int(peer.Pid)}, nil
}

// Close ends a receive, too.
func (c *conn) Close() { c.file.Close() }

// send sends r. That the server is dead is for receive to find, behind what it said last. From one that has read nothing
// for so long that the socket is full, this ends the connection.
func (c *conn) send(r request) {
	const deaf = 500 * time.Millisecond
	c.out = appendRequest(c.out[:0], r)
	c.file.SetWriteDeadline(time.Now().Add(deaf))
	if _, err := c.file.Write(c.out); errors.Is(err, os.ErrDeadlineExceeded) {
		c.file.Close()
	}
}

// receive waits for an answer. An error is the end of the connection.
func (c *conn) receive() (answer, error) {
	n, err := c.file.Read(c.in[:])
	if err != nil {
		return answer{}, err
	}
	return parseAnswer(c.in[:n])
}
