package builds

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/testkit/guest"
)

// shapes are clients that are hard to come by, by the way they use a token file. Each ends with an error where the real
// one would not go on.
var shapes = map[string]func(path string) error{
	"nasm-rs":        nasmRs,
	"jobserver-exec": jobserverExec,
	"cc-rs":          ccRs,
	"portage":        portage,
	"reader":         reader,
}

// nasmRs is nasm-rs 0.3.0: it lends its implicit slot before it has taken a token, has files assembled with a token each,
// which the thread that did the work gives back, and at the end takes its implicit slot again.
func nasmRs(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	reads := int(f.Fd())
	writes, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := writeTokens(writes, 1); err != nil {
		return err
	}
	const files = 8
	done := make(chan error)
	for range files {
		if err := readToken(reads); err != nil {
			return err
		}
		go func() { done <- writeTokens(writes, 1) }()
	}
	for range files {
		if err := <-done; err != nil {
			return err
		}
	}
	return readToken(reads)
}

// jobserverExec is the kernel's scripts/jobserver-exec: it takes whatever there is, and gives it back by one write.
func jobserverExec(path string) error {
	reads, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	writes, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	taken := 0
	for {
		var b [8]byte
		n, err := unix.Read(reads, b[:])
		if err == unix.EAGAIN {
			break
		}
		if err != nil || n == 0 {
			return fmt.Errorf("read: %d, %w", n, err)
		}
		taken += n
	}
	if want := os.Getenv("WANT"); strconv.Itoa(taken) != want {
		return fmt.Errorf("%d tokens, want %s", taken, want)
	}
	return writeTokens(writes, taken)
}

// ccRs is cc-rs: it tries again and again to read without waiting, and never polls.
func ccRs(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	return rounds(func() error {
		for {
			err := readToken(fd)
			if err != unix.EAGAIN {
				return err
			}
			runtime.Gosched()
		}
	}, fd)
}

// portage is Portage: one descriptor that does not wait, watched by epoll from a denied read to the first event.
func portage(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	return rounds(func() error {
		for {
			err := readToken(fd)
			if err != unix.EAGAIN {
				return err
			}
			if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
				return err
			}
			for {
				_, err := unix.EpollWait(epoll, make([]unix.EpollEvent, 1), -1)
				if err == nil {
					break
				}
				if err != unix.EINTR {
					return err
				}
			}
			if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
				return err
			}
		}
	}, fd)
}

// reader waits in reads, as jobserver-rs does.
func reader(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return rounds(func() error { return readToken(fd) }, fd)
}

// workTime is how long a shape works with a token.
const workTime = 5 * time.Millisecond

// rounds takes a token, works and gives it back, $ROUNDS times. It prints a dot for each.
func rounds(take func() error, fd int) error {
	n, err := strconv.Atoi(os.Getenv("ROUNDS"))
	if err != nil {
		return err
	}
	for range n {
		if err := take(); err != nil {
			return err
		}
		fmt.Print(".")
		time.Sleep(workTime)
		if err := writeTokens(fd, 1); err != nil {
			return err
		}
	}
	return nil
}

// readToken takes a token. The error of the system call is returned as it is.
func readToken(fd int) error {
	for {
		n, err := unix.Read(fd, make([]byte, 1))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n != 1:
			return errors.New("end of file")
		default:
			return nil
		}
	}
}

func writeTokens(fd, n int) error {
	written, err := unix.Write(fd, make([]byte, n))
	if err != nil {
		return err
	}
	if written != n {
		return fmt.Errorf("%d of %d tokens given back", written, n)
	}
	return nil
}

// startShape starts a shape.
func (s *server) startShape(t *testing.T, name string, env ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return start(t, t.TempDir(), append(env, shapeVar+"="+name), self, s.Path)
}

func testShapes(t *testing.T, transport string) {
	for _, jobs := range []int{1, 3} {
		s := startSteve(t, transport, jobs)
		t.Run(fmt.Sprintf("nasm-rs with %d", jobs), func(t *testing.T) {
			s.startShape(t, "nasm-rs").succeed(t)
			s.awaitAll(t)
		})
		t.Run(fmt.Sprintf("jobserver-exec with %d", jobs), func(t *testing.T) {
			s.startShape(t, "jobserver-exec", fmt.Sprintf("WANT=%d", jobs)).succeed(t)
			s.awaitAll(t)
		})
		for _, name := range []string{"cc-rs", "portage"} {
			t.Run(fmt.Sprintf("%s beside readers with %d", name, jobs), func(t *testing.T) { testBesideReaders(t, s, name) })
		}
	}
}

// testBesideReaders has a client that waits in its own way get its tokens in competition with clients that wait in reads.
// A fair share is as many tokens for each of them. It is counted from its first token, and is less where the one processor
// of a guest cannot run all of them within the moment that a token is kept for one.
func testBesideReaders(t *testing.T, s *server, name string) {
	const count, readers = 20, 4
	unfair := 3
	if guest.Inside() {
		unfair = 10
	}
	var others []*process
	for range readers {
		others = append(others, s.startShape(t, "reader", "ROUNDS=1000000"))
	}
	s.await(t, "readers at work", func(status ctl.Status) bool { return status.Held+status.Waiters == readers })
	taken := func() (n int) {
		for _, p := range others {
			n += len(p.output(t))
		}
		return n
	}
	p := s.startShape(t, name, fmt.Sprintf("ROUNDS=%d", count))
	s.await(t, "its first token", func(ctl.Status) bool { return len(p.output(t)) > 0 })
	before := taken()
	p.succeed(t)
	n := taken() - before
	t.Logf("%d tokens for it, %d for %d readers", count, n, readers)
	if n > unfair*readers*count {
		t.Errorf("that is more than %d times its share for each of them", unfair)
	}
	for _, p := range others {
		p.end()
	}
	s.awaitAll(t)
}
