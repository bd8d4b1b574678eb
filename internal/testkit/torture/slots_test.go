package torture

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// slots is the file of a jobs.Counter, as jobs/testdata/slot.h describes it. Here a slot is the lock of an open file, so
// that one process can have several.
type slots string

// entry is the byte whose lock one needs to look for a slot.
const entry = 1 << 20

// take takes a slot, until the file is closed.
func (s slots) take() (*os.File, error) {
	file, err := os.OpenFile(string(s), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := s.lookFor(int(file.Fd())); err != nil {
		file.Close()
		return nil, fmt.Errorf("slot: %w", err)
	}
	return file, nil
}

func (s slots) lookFor(fd int) error {
	lock := func(command int, kind int16, at int64) error {
		return unix.FcntlFlock(uintptr(fd), command, &unix.Flock_t{Type: kind, Start: at, Len: 1})
	}
	if err := lock(unix.F_OFD_SETLKW, unix.F_WRLCK, entry); err != nil {
		return err
	}
	at := int64(0)
	for {
		err := lock(unix.F_OFD_SETLK, unix.F_WRLCK, at)
		if err == nil {
			break
		}
		if err != unix.EAGAIN && err != unix.EACCES {
			return err
		}
		at++
	}
	if _, err := unix.Pwrite(fd, []byte("x"), at); err != nil {
		return err
	}
	return lock(unix.F_OFD_SETLK, unix.F_UNLCK, entry)
}
