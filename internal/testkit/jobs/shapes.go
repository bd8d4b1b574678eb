package jobs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shapeVar makes the test binary one of shapes.
const shapeVar = "STEVE_JOBS_SHAPE"

// shapes are clients that are hard to come by, by the way they use a token file, which is a FIFO or what is served instead.
// Each ends with an error where the real one would not go on.
//
// With $JOB in its environment a shape runs that $ROUNDS times, as many at a time as it has tokens for; nasm-rs excepted it
// has an implicit slot. Without, it takes $ROUNDS tokens one after the other, and prints a dot for each.
var shapes = map[string]func(path string) error{
	"nasm-rs":          nasmRs,
	"jobserver-exec":   jobserverExec,
	"cc-rs":            waiting(openCcRs),
	"portage":          waiting(openPortage),
	"pytest-jobserver": waiting(openReader),
	"reader":           waiting(openReader), // as jobserver-rs does
}

// Shape returns the command line and the environment of a shape. The token file is that in path, or where path is empty that
// in MAKEFLAGS.
func Shape(t testing.TB, name, path string) (argv, env []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, path}, []string{shapeVar + "=" + name}
}

// tokenFile is the one that a shape was told.
func tokenFile(path string) (string, error) {
	if path != "" {
		return path, nil
	}
	flags := os.Getenv("MAKEFLAGS")
	const auth = "--jobserver-auth=fifo:"
	at := strings.LastIndex(flags, auth)
	if at < 0 {
		return "", fmt.Errorf("no token file in MAKEFLAGS=%q", flags)
	}
	path, _, _ = strings.Cut(flags[at+len(auth):], " ")
	return path, nil
}

// nasmRs is nasm-rs 0.3.0: it lends its implicit slot before it has taken a token, has files assembled with a token each,
// which the thread that did the work gives back, and at the end takes its implicit slot again.
func nasmRs(path string) error {
	path, err := tokenFile(path)
	if err != nil {
		return err
	}
	files, err := strconv.Atoi(os.Getenv("ROUNDS"))
	if err != nil {
		return err
	}
	reads, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	writes, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := writeTokens(writes, 1); err != nil {
		return err
	}
	done := make(chan error)
	for range files {
		if err := readToken(reads); err != nil {
			return err
		}
		go func() {
			err := work()
			done <- errors.Join(err, writeTokens(writes, 1))
		}()
	}
	for range files {
		err = errors.Join(err, <-done)
	}
	return errors.Join(err, readToken(reads))
}

// jobserverExec is the kernel's scripts/jobserver-exec: it takes whatever there is, tells its command how much that is, and
// gives it back by one write.
func jobserverExec(path string) error {
	path, err := tokenFile(path)
	if err != nil {
		return err
	}
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
	if want := os.Getenv("WANT"); want != "" && strconv.Itoa(taken) != want {
		return fmt.Errorf("%d tokens, want %s", taken, want)
	}
	var failed error
	if os.Getenv("JOB") != "" {
		slots := make(chan error, taken+1)
		failed = parallel(func() error { slots <- nil; return nil }, func() error { <-slots; return nil })
	}
	return errors.Join(failed, writeTokens(writes, taken))
}

// A tokens takes tokens in some client's way, and gives them back.
type tokens struct {
	take func() error
	fd   int
}

func (s tokens) give() error { return writeTokens(s.fd, 1) }

// waiting is a shape that takes tokens one at a time, and waits for each.
func waiting(open func(path string) (tokens, error)) func(string) error {
	return func(path string) error {
		path, err := tokenFile(path)
		if err != nil {
			return err
		}
		s, err := open(path)
		if err != nil {
			return err
		}
		if os.Getenv("JOB") == "" {
			return rounds(s)
		}
		implicit := make(chan struct{}, 1)
		implicit <- struct{}{}
		held := make(chan struct{}, 1<<10)
		return parallel(func() error {
			select {
			case <-implicit:
				return nil
			default:
			}
			err := s.take()
			held <- struct{}{}
			return err
		}, func() error {
			select {
			case <-held:
				return s.give()
			default: // the last
				implicit <- struct{}{}
				return nil
			}
		})
	}
}

// openCcRs is cc-rs: it tries again and again to read without waiting, and never polls.
func openCcRs(path string) (tokens, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return tokens{}, err
	}
	return tokens{func() error {
		for {
			err := readToken(fd)
			if err != unix.EAGAIN {
				return err
			}
			runtime.Gosched()
		}
	}, fd}, unix.SetNonblock(fd, true)
}

// openPortage is Portage: one descriptor that does not wait, watched by epoll from a denied read to the first event.
func openPortage(path string) (tokens, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return tokens{}, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return tokens{}, err
	}
	return tokens{func() error {
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
	}, fd}, nil
}

// openReader waits in reads of one descriptor, as pytest-jobserver does.
func openReader(path string) (tokens, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return tokens{}, err
	}
	return tokens{func() error { return readToken(fd) }, fd}, nil
}

// workTime is how long a shape works with a token where it has no job to run.
const workTime = 5 * time.Millisecond

// rounds takes a token, works and gives it back, $ROUNDS times. It prints a dot for each.
func rounds(s tokens) error {
	n, err := strconv.Atoi(os.Getenv("ROUNDS"))
	if err != nil {
		return err
	}
	for range n {
		if err := s.take(); err != nil {
			return err
		}
		fmt.Print(".")
		time.Sleep(workTime)
		if err := s.give(); err != nil {
			return err
		}
	}
	return nil
}

// parallel runs $ROUNDS jobs, each between a begin and an end. Begin is called by one thread, as in Portage's loop. The
// error is that of the jobs, of which all are run.
func parallel(begin, end func() error) error {
	n, err := strconv.Atoi(os.Getenv("ROUNDS"))
	if err != nil {
		return err
	}
	done := make(chan error)
	for range n {
		if err := begin(); err != nil {
			return err
		}
		go func() {
			err := work()
			done <- errors.Join(err, end())
		}()
	}
	for range n {
		err = errors.Join(err, <-done)
	}
	return err
}

// work runs $JOB, if there is one.
func work() error {
	if job := os.Getenv("JOB"); job != "" {
		return exec.Command(job).Run()
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
	if n == 0 {
		return nil
	}
	written, err := unix.Write(fd, make([]byte, n))
	if err != nil {
		return err
	}
	if written != n {
		return fmt.Errorf("%d of %d tokens given back", written, n)
	}
	return nil
}
