package file

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A lock says that a live process serves a path. It ends with the last process that has it.
type lock struct {
	file *os.File
}

// How long takeLock waits for the lock of a server that is no more, whose unmounter still has it, and between two tries.
const (
	lockPatience = 2 * time.Second
	lockRetry    = 10 * time.Millisecond
)

// takeLock takes the lock for serving path, or says who has it.
func takeLock(name, path string) (*lock, error) {
	for giveUp := time.Now().Add(lockPatience); ; {
		// For its owner alone: to be able to open a file is to be able to lock it.
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock for %s: %w", path, err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			pid := owner(f)
			f.Close()
			switch {
			case !errors.Is(err, unix.EWOULDBLOCK):
				return nil, fmt.Errorf("lock for %s: %w", path, err)
			case pid != 0 && unix.Kill(pid, 0) == unix.ESRCH && time.Now().Before(giveUp):
				time.Sleep(lockRetry)
				continue
			}
			return nil, fmt.Errorf("%s is served by another steve (PID %d); stop it or use another --dev-name", path, pid)
		}
		// Its last owner removes the file: this may be one that has no name any more.
		ours, err1 := f.Stat()
		named, err2 := os.Stat(name)
		if err1 == nil && err2 == nil && os.SameFile(ours, named) {
			l := &lock{f}
			l.sign()
			return l, nil
		}
		f.Close()
	}
}

// owner is the process that wrote itself into a lock, or 0.
func owner(f *os.File) int {
	var b [20]byte
	n, _ := f.Read(b[:])
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}

// sign writes this process into the lock.
func (l *lock) sign() {
	l.file.Truncate(0)
	l.file.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
}

func (l *lock) release() {
	os.Remove(l.file.Name())
	l.file.Close()
}
