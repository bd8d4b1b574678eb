package bridge

import (
	"bytes"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A fifo is one of the files of a bridge, open for reading and writing: so no open of a client's ever waits, and none of
// its reads ends before a token is there.
//
// Its size is the kernel's default, 16 pages, and never made smaller: a pipe has one slot for each page, writes of single
// bytes fill up a page until it has been read empty, and a full pipe stops its writers. With one slot the 4,096th
// return into a pipe that never runs empty would hang its client.
type fifo struct {
	path string
	fd   int
	id   fileID
}

// A fileID tells one file from all others.
type fileID struct{ dev, ino uint64 }

func idOf(stat *unix.Stat_t) fileID { return fileID{uint64(stat.Dev), stat.Ino} }

// makeFIFO makes a FIFO for this user alone.
func makeFIFO(dir, name string) (*fifo, error) {
	path := filepath.Join(dir, name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	return openFIFO(path)
}

func openFIFO(path string) (*fifo, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return &fifo{path: path, fd: fd, id: idOf(&stat)}, nil
}

func (f *fifo) close() { unix.Close(f.fd) }

// count is the number of bytes in f (FIONREAD, which is TIOCINQ by another name).
func (f *fifo) count() int {
	n, err := unix.IoctlGetInt(f.fd, unix.TIOCINQ)
	if err != nil {
		panic("bridge: FIONREAD on a FIFO: " + err.Error())
	}
	return n
}

// take reads up to n bytes and returns how many there were.
func (f *fifo) take(n int) int {
	var buf [4096]byte
	taken := 0
	for taken < n {
		got, err := unix.Read(f.fd, buf[:min(n-taken, len(buf))])
		if err == unix.EINTR {
			continue
		}
		if err != nil || got <= 0 { // EAGAIN
			break
		}
		taken += got
	}
	return taken
}

// put writes n bytes and returns how many there was room for.
func (f *fifo) put(n int) int {
	for put := 0; ; {
		if put == n {
			return put
		}
		got, err := unix.Write(f.fd, bytes.Repeat([]byte{'+'}, min(n-put, 4096)))
		if err == unix.EINTR {
			continue
		}
		if err != nil || got <= 0 {
			return put
		}
		put += got
	}
}
