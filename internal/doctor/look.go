package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"steve/internal/client"
	"steve/internal/ctl"
	"steve/internal/programs"
)

// look finds out what is at path. FIFOs in the directory outer are those of the stevie above.
func look(path, outer string) File {
	f, answered := bounded(func() File { return lookNow(path, outer) })
	if !answered {
		return File{Path: path, State: Hung}
	}
	return f
}

func lookNow(path, outer string) File {
	f := File{Path: path}
	info, err := os.Stat(path)
	if err != nil {
		return f.failed(err)
	}
	switch mode := info.Mode(); {
	case mode&os.ModeNamedPipe != 0:
		return f.fifo(outer)
	case mode.IsRegular():
		f.Form = programs.RegularFile
	case mode&os.ModeCharDevice != 0:
		f.Form = programs.CharDevice
	case mode&os.ModeSocket != 0: // what a FUSE file was mounted on
		return f.failed(unix.ENXIO)
	default:
		f.State = Plain
		return f
	}
	c, err := ctl.Open(path)
	switch {
	case errors.Is(err, ctl.ErrNotSteve) && f.Form == programs.RegularFile:
		f.State = Plain
		return f
	case errors.Is(err, ctl.ErrNotSteve):
		f.State = Device
		return f
	case err != nil:
		return f.failed(err)
	}
	defer c.Close()
	if f.Status, err = c.Status(); err != nil {
		return f.failed(err)
	}
	f.State = Steve
	return f
}

// fifo looks at a FIFO. To open it for writing fails where nobody has it open for reading, as a server does.
func (f File) fifo(outer string) File {
	fd, err := unix.Open(f.Path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENXIO):
		f.State = Unserved
		return f
	case err != nil:
		return f.failed(&os.PathError{Op: "open", Path: f.Path, Err: err})
	}
	unix.Close(fd)
	f.State = Foreign
	if outer != "" && strings.HasPrefix(f.Path, filepath.Clean(outer)+"/") {
		f.State = Bridge
	}
	return f
}

// failed is f where a call on it failed.
func (f File) failed(err error) File {
	open := &client.OpenError{Path: f.Path, Err: err}
	f.Hint = open.Hint()
	f.Problem = strings.TrimSuffix(open.Error(), " ("+f.Hint+")")
	f.State = Unclear
	for _, of := range []struct {
		state State
		errno []error
	}{
		{Missing, []error{unix.ENOENT, unix.ENOTDIR}},
		{Denied, []error{unix.EACCES, unix.EPERM}},
		// A FUSE file says the first when its server has died; a device node the others when its device is gone.
		{Dead, []error{unix.ENOTCONN, unix.ECONNABORTED, unix.ENXIO, unix.ENODEV}},
	} {
		for _, errno := range of.errno {
			if errors.Is(err, errno) {
				f.State = of.state
			}
		}
	}
	return f
}

// lookInherited finds out what the descriptors of auth, "R,W", are.
func lookInherited(auth, outer string) File {
	f := File{Path: auth, State: Closed}
	first, _, _ := strings.Cut(auth, ",")
	fd, err := strconv.Atoi(first)
	if err != nil || fd < 0 {
		return f // "-2,-2" is what make 4.4 gives to those that are to have none
	}
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil {
		return f
	}
	link := fmt.Sprintf("/proc/self/fd/%d", fd)
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		f.State = Foreign
		if target, err := os.Readlink(link); err == nil && outer != "" && strings.HasPrefix(target, filepath.Clean(outer)+"/") {
			f.State = Bridge
		}
	case unix.S_IFREG, unix.S_IFCHR:
		// Closed by make, its number can be any other file's by now: only a steve counts.
		if file := look(link, outer); file.State == Steve {
			f.State, f.Status, f.Form = Steve, file.Status, file.Form
		}
	}
	return f
}
