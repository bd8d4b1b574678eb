package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process has the journal locked.
var ErrLocked = errors.New("the journal is in use by another process")

// The bytes that are locked.
const (
	serverByte = iota
	keeperByte
)

// LockKeeper makes this process the one that keeps the journal behind fd while nobody serves, or returns ErrLocked. It is so
// until it ends, or closes a descriptor of that file.
func LockKeeper(fd int) error { return lock(fd, keeperByte, false) }

// Lock keeps every other process from serving, those too that got the very descriptor passed: a record lock belongs to the
// process, unlike those of flock(2), which go with the open file and so exclude no heir (F_SETLK in fcntl(2)). It ends
// with Unlock, with the process, and with the first close of any descriptor of this file.
//
// Another's lock is waited for, or else ErrLocked is returned.
func (j *Journal) Lock(wait bool) error { return lock(j.fd, serverByte, wait) }

// Unlock ends Lock.
func (j *Journal) Unlock() error {
	return os.NewSyscallError("fcntl", setLock(j.fd, unix.F_SETLK, serverByte, unix.F_UNLCK))
}

// Locked says whether another process has the journal behind fd locked, be it one that Open refuses.
func Locked(fd int) (bool, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: serverByte, Len: 1}
	err := unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &l)
	return l.Type != unix.F_UNLCK, os.NewSyscallError("fcntl", err)
}

func lock(fd int, which int64, wait bool) error {
	cmd := unix.F_SETLK
	if wait {
		cmd = unix.F_SETLKW
	}
	for {
		switch err := setLock(fd, cmd, which, unix.F_WRLCK); err {
		case unix.EINTR:
		case unix.EAGAIN, unix.EACCES:
			return ErrLocked
		default:
			return os.NewSyscallError("fcntl", err)
		}
	}
}

func setLock(fd, cmd int, which int64, kind int16) error {
	return unix.FcntlFlock(uintptr(fd), cmd, &unix.Flock_t{Type: kind, Start: which, Len: 1})
}
