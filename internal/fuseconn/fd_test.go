package fuseconn_test

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/fuseconn"
)

// socketpair returns two ends of a connection that keeps messages apart, as the device does.
func socketpair(t *testing.T) (fuseconn.FD, fuseconn.FD) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	return fuseconn.FD(fds[0]), fuseconn.FD(fds[1])
}

func TestFD(t *testing.T) {
	server, kernel := socketpair(t)
	c := fuseconn.New(server)
	if _, err := c.Next(); err != fuseconn.ErrEmpty {
		t.Fatalf("nothing there: %v", err)
	}
	if _, err := kernel.Write(read(2)); err != nil {
		t.Fatal(err)
	}
	if err := server.WaitUntil(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if req := next(t, c); req.Unique != 2 {
		t.Errorf("request %d, want 2", req.Unique)
	}
	if err := c.Reply(2, []byte("+")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := kernel.Read(b); n != 17 || err != nil || b[16] != '+' {
		t.Errorf("the answer is %q, %v", b[:n], err)
	}
}

func TestFDErrors(t *testing.T) {
	closed := fuseconn.FD(-1)
	if _, err := closed.Read(make([]byte, 1)); err != syscall.EBADF {
		t.Errorf("read: %v, want EBADF", err)
	}
	if _, err := closed.Write(nil); err != syscall.EBADF {
		t.Errorf("write: %v, want EBADF", err)
	}
}

func TestWaitUntilDeadline(t *testing.T) {
	server, _ := socketpair(t)
	for _, left := range []time.Duration{-time.Hour, 0, 3 * time.Millisecond} {
		deadline := time.Now().Add(left)
		if err := server.WaitUntil(deadline); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v before the deadline: %v", left, err)
		}
		if time.Now().Before(deadline) {
			t.Error("back before the deadline")
		}
	}
}
