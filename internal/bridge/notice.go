package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// notices tell what was done to FIFOs, by anybody, this process included. Several of a kind may be told as one, and
// each says only that something has changed: how many bytes there are the FIFO itself is asked.
//
// The FIFOs are named: inotify hears nothing of pipe(2) since Linux 6.14.
type notices struct {
	file  *os.File
	index map[int32]int // watch descriptor -> index of the file
}

func watchFiles(files []*fifo) (*notices, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, watchError(err)
	}
	// The runtime's poller waits for it, no thread.
	n := &notices{file: os.NewFile(uintptr(fd), "inotify"), index: map[int32]int{}}
	for i, f := range files {
		wd, err := unix.InotifyAddWatch(fd, f.path, unix.IN_OPEN|unix.IN_ACCESS|unix.IN_MODIFY|unix.IN_CLOSE)
		if err != nil {
			n.close()
			return nil, watchError(err)
		}
		n.index[int32(wd)] = i
	}
	return n, nil
}

func watchError(err error) error {
	switch {
	case errors.Is(err, unix.EMFILE):
		return fmt.Errorf("unable to watch a FIFO (inotify: %w); end programs of this user that watch files, "+
			"or have sysctl fs.inotify.max_user_instances raised", err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("unable to watch a FIFO (inotify: %w); end programs of this user that watch files, "+
			"or have sysctl fs.inotify.max_user_watches raised", err)
	}
	return fmt.Errorf("unable to watch a FIFO: inotify: %w", err)
}

// read sends what was done to each file, as bits of inotify(7), until done or closed.
func (n *notices) read(to chan<- [watches]uint32, done <-chan struct{}) {
	var buf [4096]byte
	for {
		size, err := n.file.Read(buf[:])
		if err != nil {
			return
		}
		var masks [watches]uint32
		// struct inotify_event: wd, mask, cookie, len, each of four bytes, then a name, which a watched file has not.
		for b := buf[:size]; len(b) >= unix.SizeofInotifyEvent; {
			wd, mask := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
			b = b[unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(b[12:])):]
			if mask&unix.IN_Q_OVERFLOW != 0 {
				masks = [watches]uint32{^uint32(0), ^uint32(0), ^uint32(0)}
			} else if i, ok := n.index[wd]; ok {
				masks[i] |= mask
			}
		}
		select {
		case to <- masks:
		case <-done:
			return
		}
	}
}

// pending says whether there are notices that nobody has read.
func (n *notices) pending() bool {
	var unread int
	conn, err := n.file.SyscallConn()
	if err == nil {
		conn.Control(func(fd uintptr) { unread, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	return err == nil && unread > 0
}

func (n *notices) close() error { return n.file.Close() }
