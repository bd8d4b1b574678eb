// Package jobserver says what a jobserver is to those who hand it on: the paths under which its files are found, and the
// two forms that MAKEFLAGS has for it.
//
// What is behind the files is not its business, and which form a program takes is that of package programs.
package jobserver

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Jobserver is a token file, or FIFOs in place of one.
type Jobserver struct {
	// Path is that of the file from which tokens are read, and to which they are written.
	Path string
	// In and Out are the paths to open where descriptors are to be inherited: for reading, and for writing. They may be the
	// same.
	In, Out string
}

// File is the jobserver behind a single file.
func File(path string) Jobserver { return Jobserver{Path: path, In: path, Out: path} }

// ByPath is the form that GNU make has known since 4.4, for --jobserver-auth.
func (j Jobserver) ByPath() string { return "fifo:" + j.Path }

// Open opens the files and returns the older form: the numbers of their descriptors, which every program started inherits
// under these numbers until the files are closed. The files are open anew, as make 4.3 makes them nonblocking for all who
// share them.
func (j Jobserver) Open() (files []*os.File, auth string, err error) {
	if j.In == j.Out {
		f, err := open(j.In, unix.O_RDWR)
		if err != nil {
			return nil, "", err
		}
		return []*os.File{f}, fmt.Sprintf("%d,%[1]d", f.Fd()), nil
	}
	// The one to write to first: it tells by ENXIO when nobody reads any more.
	w, err := open(j.Out, unix.O_WRONLY)
	if err != nil {
		return nil, "", err
	}
	r, err := open(j.In, unix.O_RDONLY)
	if err != nil {
		w.Close()
		return nil, "", err
	}
	return []*os.File{r, w}, fmt.Sprintf("%d,%d", r.Fd(), w.Fd()), nil
}

// open opens a file without close-on-exec, and without waiting for somebody to open the other end of a FIFO. Reads from it
// wait.
func open(path string, mode int) (*os.File, error) {
	fd, err := unix.Open(path, mode|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "fcntl", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Inherited says whether auth is the form of two descriptors, and this process has them, open on this jobserver. A make
// closes them for children it does not know to be makes, and in those they may since have become anything.
func (j Jobserver) Inherited(auth string) bool {
	var r, w int
	if n, err := fmt.Sscanf(auth, "%d,%d", &r, &w); n != 2 || err != nil {
		return false
	}
	return isOpenOn(r, j.In) && isOpenOn(w, j.Out)
}

func isOpenOn(fd int, path string) bool {
	var open, file unix.Stat_t
	return unix.Fstat(fd, &open) == nil && unix.Stat(path, &file) == nil && open.Dev == file.Dev && open.Ino == file.Ino
}
