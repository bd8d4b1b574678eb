package fuseconn

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FD is the Device behind a file descriptor, which must be O_NONBLOCK: its Read and Write are RawSyscalls, of which the
// Go scheduler knows nothing, and one that sleeps would hold up the garbage collector and signals until it returns.
// With O_NONBLOCK neither does, but for the answer to CUSE_INIT: the device node is made during that write.
type FD int

// Read is read(2), again after EINTR. The error is a syscall.Errno.
func (fd FD) Read(p []byte) (int, error) { return fd.transfer(unix.SYS_READ, p) }

// Write is write(2), again after EINTR. The error is a syscall.Errno.
func (fd FD) Write(p []byte) (int, error) { return fd.transfer(unix.SYS_WRITE, p) }

func (fd FD) transfer(trap uintptr, p []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
			continue
		}
		return 0, errno
	}
}

// WaitUntil returns when a Read will not fail with EAGAIN, be it that the device is gone. If nothing came before the
// deadline the error wraps os.ErrDeadlineExceeded. It sleeps in a way that the Go scheduler knows.
func (fd FD) WaitUntil(deadline time.Time) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		left := max(0, time.Until(deadline))
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("poll the device: %w", err)
		case n > 0:
			return nil
		case left == 0:
			return fmt.Errorf("no request came in time: %w", os.ErrDeadlineExceeded)
		}
	}
}

// Dead says whether the mount or device is gone. It does not wait.
func (fd FD) Dead() (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	if _, err := unix.Poll(fds, 0); err != nil {
		return false, fmt.Errorf("poll the device: %w", err)
	}
	return fds[0].Revents&unix.POLLERR != 0, nil
}
