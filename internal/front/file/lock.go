package file

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A lock says that a live process serves a path. It ends with the process.
type lock struct {
	file *os.File
}

// takeLock takes the lock for serving path, or says who has it.
func takeLock(name, path string) (*lock, error) {
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
		if err != nil {
			return nil, fmt.Errorf("lock for %s: %w", path, err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			defer f.Close()
			if !errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("lock for %s: %w", path, err)
			}
			return nil, fmt.Errorf("%s is served by another steve%s; stop it or use another --dev-name", path, owner(f))
		}
		// Its last owner removes the file: this may be one that has no name any more.
		ours, err1 := f.Stat()
		named, err2 := os.Stat(name)
		if err1 == nil && err2 == nil && os.SameFile(ours, named) {
			f.Truncate(0)
			fmt.Fprintln(f, os.Getpid())
			return &lock{f}, nil
		}
		f.Close()
	}
}

// owner is who wrote itself into a lock.
func owner(f *os.File) string {
	var b [20]byte
	n, _ := f.Read(b[:])
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		return " (PID " + pid + ")"
	}
	return ""
}

func (l *lock) release() {
	os.Remove(l.file.Name())
	l.file.Close()
}
