package embed

import (
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"steve/internal/pool"
)

// The bytes of the lock file. It is empty: only the locks are of interest, so that nothing can be left in it by a process
// that is no more.
const (
	// startByte is locked by whoever is about to serve, or to find out whether somebody does.
	startByte = 0
	// Each member has a read lock that begins here, as long as the pool has tokens.
	membersStart = 1 << 32
	// Each token that is out is a write lock on one of the bytes from here.
	tokensStart = 2 << 32
)

// locks is this process's locks on the lock file. They belong to the process: no child inherits them, and all of them go
// when it ends, or when it closes any descriptor of that file.
type locks struct {
	fd int

	mu     sync.Mutex // guards tokens
	tokens []int64    // the bytes this process holds: its own locks do not stand in its way, and the kernel shows it none
}

// openLocks opens the lock file, making it if there is none. It must be called once in a process.
func openLocks(path string) (*locks, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, fmt.Errorf("%s is not a regular file, remove it", path)
	}
	// Whatever the size was, this sets the time: a cleaner of old files, such as systemd-tmpfiles, is to see that it is used.
	if err := unix.Ftruncate(fd, 0); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "ftruncate", Path: path, Err: err}
	}
	return &locks{fd: fd}, nil
}

func (l *locks) close() { unix.Close(l.fd) }

// lock locks n bytes from start on, or, by F_UNLCK, unlocks them. It returns false if another process has a lock that
// conflicts, for whose end it can wait.
func (l *locks) lock(kind int16, start, n int64, wait bool) (bool, error) {
	cmd := unix.F_SETLK
	if wait {
		cmd = unix.F_SETLKW
	}
	for {
		err := unix.FcntlFlock(uintptr(l.fd), cmd, &unix.Flock_t{Type: kind, Start: start, Len: n})
		switch err {
		case nil:
			return true, nil
		case unix.EAGAIN, unix.EACCES:
			return false, nil
		case unix.EINTR:
		default:
			return false, fmt.Errorf("lock a byte of the pool: %w", err)
		}
	}
}

// foreign returns a lock of another process in [from, to), cut to that, and false if there is none.
func (l *locks) foreign(from, to int64) (start, end int64, ok bool) {
	f := unix.Flock_t{Type: unix.F_WRLCK, Start: from, Len: to - from}
	if err := unix.FcntlFlock(uintptr(l.fd), unix.F_GETLK, &f); err != nil || f.Type == unix.F_UNLCK {
		return 0, 0, false
	}
	if start, end = max(from, f.Start), f.Start+f.Len; f.Len == 0 || end > to {
		end = to
	}
	return start, end, true
}

// start waits until no other process starts, and keeps others from it.
func (l *locks) start() error {
	_, err := l.lock(unix.F_WRLCK, startByte, 1, true)
	return err
}

// tryStart is start without waiting. It returns false if somebody else starts.
func (l *locks) tryStart() bool {
	ok, _ := l.lock(unix.F_WRLCK, startByte, 1, false)
	return ok
}

func (l *locks) started() { l.lock(unix.F_UNLCK, startByte, 1, false) }

// size is the number of tokens of the pool that other processes are members of, or 0 if there is none.
func (l *locks) size() int {
	start, end, ok := l.foreign(membersStart, membersStart+pool.MaxJobs)
	if !ok {
		return 0
	}
	return int(end - start)
}

// join makes this process a member of a pool of that many tokens.
func (l *locks) join(jobs int) error {
	if _, err := l.lock(unix.F_RDLCK, membersStart, int64(jobs), false); err != nil {
		return err
	}
	_, err := l.lock(unix.F_UNLCK, membersStart+int64(jobs), pool.MaxJobs, false)
	return err
}

// held is the number of tokens that this process holds.
func (l *locks) held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tokens)
}

// take takes one of that many tokens, and returns false if all of them are out.
func (l *locks) take(jobs int) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.takeFrom(tokensStart, tokensStart+int64(jobs))
}

// takeFrom takes a token in [from, to) that is free.
func (l *locks) takeFrom(from, to int64) (bool, error) {
	if from >= to {
		return false, nil
	}
	if start, end, ok := l.foreign(from, to); ok {
		if taken, err := l.takeFrom(from, start); taken || err != nil {
			return taken, err
		}
		return l.takeFrom(end, to)
	}
	for at := from; at < to; at++ {
		if slices.Contains(l.tokens, at) {
			continue
		}
		// Where another process was faster the next may be free.
		taken, err := l.lock(unix.F_WRLCK, at, 1, false)
		if taken {
			l.tokens = append(l.tokens, at)
		}
		if taken || err != nil {
			return taken, err
		}
	}
	return false, nil
}

// giveBack gives n tokens back that this process holds, the last taken first.
func (l *locks) giveBack(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		last := len(l.tokens) - 1
		if _, err := l.lock(unix.F_UNLCK, l.tokens[last], 1, false); err != nil {
			return err
		}
		l.tokens = l.tokens[:last]
	}
	return nil
}

// out is the number of tokens that are out, in whichever process. Those that change hands meanwhile may count for none,
// or twice.
func (l *locks) out() int {
	return l.held() + l.foreignTokens(tokensStart, tokensStart+pool.MaxJobs)
}

func (l *locks) foreignTokens(from, to int64) int {
	if from >= to {
		return 0
	}
	start, end, ok := l.foreign(from, to)
	if !ok {
		return 0
	}
	return int(end-start) + l.foreignTokens(from, start) + l.foreignTokens(end, to)
}
