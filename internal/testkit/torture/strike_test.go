package torture

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A moment is when a server is killed.
type moment int64

const (
	anytime   moment = iota // at random
	interrupt               // right after a signal to a client in a read
	release                 // around the close of a token file
	death                   // around the death of a client with several tokens
	batch                   // around a write that returns several tokens
	resizing                // around a change of the number of tokens

	moments
)

func (m moment) String() string {
	return [...]string{"at random", "at INTERRUPT", "at RELEASE", "at a holder's death", "at a write of n", "at a resize"}[m]
}

// arm has the process killed by the next who comes to the moment.
func (b *board) arm(pid int, m moment) {
	for _, at := range []*atomic.Int64{&b.struck, &b.ended, &b.served} {
		at.Store(0)
	}
	b.armedAt.Store(int64(m))
	b.armed.Store(int64(pid))
}

// strike kills the process that is armed, if it is for this moment.
func (b *board) strike(m moment) error {
	if moment(b.armedAt.Load()) != m || b.armed.Load() == 0 {
		return nil
	}
	return b.strikeNow()
}

// strikeNow kills the process that is armed, if there is one, and waits for its end.
func (b *board) strikeNow() error {
	pid := int(b.armed.Swap(0))
	if pid == 0 {
		return nil
	}
	// A process that is no child can only be waited for by such a descriptor.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("the server to kill, %d: %w", pid, err)
	}
	defer unix.Close(fd)
	struck := now()
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return fmt.Errorf("kill the server, %d: %w", pid, err)
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return err
		}
	}
	b.struck.Store(struck)
	b.ended.Store(now())
	return nil
}
