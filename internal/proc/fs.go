package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// An FS is where a proc file system is mounted.
type FS string

// Root is the usual place.
const Root FS = "/proc"

// commandLineMax is the length of what CommandLine returns, in bytes: a line on a terminal with room for the rest.
const commandLineMax = 120

// CommandLine returns the arguments of a process joined by blanks, for people to read: at most 120 bytes, printable, with
// \x1b and the like for all that is not, and cut with an ellipsis. A process without arguments, such as a zombie, gives its
// name in brackets. ErrGone if there is no such process.
//
// It can block for as long as the process changes its memory map (mmap_lock), so it is not for the thread that answers requests.
func (fs FS) CommandLine(pid int) (string, error) {
	var buf [4 * commandLineMax]byte
	args, err := fs.read(pid, "cmdline", buf[:])
	if err != nil {
		return "", err
	}
	// A program may write over its arguments: NULs at the end are no empty arguments.
	if args = bytes.TrimRight(args, "\x00"); len(args) > 0 {
		return printable(bytes.ReplaceAll(args, []byte{0}, []byte{' '})), nil
	}
	name, err := fs.read(pid, "comm", buf[:])
	if err != nil {
		return "", err
	}
	return printable(fmt.Appendf(nil, "[%s]", bytes.TrimSuffix(name, []byte{'\n'}))), nil
}

// printable returns b without what could steer a terminal or break a line. What it returns has at most commandLineMax
// bytes.
func printable(b []byte) string {
	const ellipsis = "…"
	var s strings.Builder
	cut := 0 // the last end of a character after which an ellipsis has room
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if (r == utf8.RuneError && size == 1) || !unicode.IsPrint(r) {
			for _, c := range b[:size] {
				fmt.Fprintf(&s, `\x%02x`, c)
			}
		} else {
			s.Write(b[:size])
		}
		if s.Len() > commandLineMax {
			return s.String()[:cut] + ellipsis
		}
		if s.Len() <= commandLineMax-len(ellipsis) {
			cut = s.Len()
		}
		b = b[size:]
	}
	return s.String()
}

// Parent returns the process id of the parent of a process: 0 if it has none that can be seen from here.
func (fs FS) Parent(pid int) (int, error) {
	return fs.status(pid, "PPid:")
}

// tick is the unit of times in stat: sysconf(_SC_CLK_TCK), which is 100 on all that Go runs on (USER_HZ in the kernel).
const tick = time.Second / 100

// StartTime returns when a process started, in clock ticks of 10 ms since boot. An execve does not change it, whichever thread
// calls it (de_thread in fs/exec.c). ErrGone if there is no such process; a zombie is one.
func (fs FS) StartTime(pid int) (uint64, error) {
	var buf [1024]byte
	b, err := fs.read(pid, "stat", buf[:])
	if err != nil {
		return 0, err
	}
	// proc_pid_stat(5): the second field is a name in parentheses, which may contain anything; the 22nd is wanted.
	b = b[bytes.LastIndexByte(b, ')')+1:]
	for range 22 - 2 {
		_, b, _ = bytes.Cut(b, []byte{' '})
	}
	field, _, whole := bytes.Cut(b, []byte{' '})
	start, err := strconv.ParseUint(string(field), 10, 64)
	if err != nil || !whole {
		return 0, fmt.Errorf("%s/%d/stat has no start time", fs, pid)
	}
	return start, nil
}

// Ancestors returns the parent of a process, its parent and so on, at most limit of them. It ends early at a process that
// has no parent or is gone.
func (fs FS) Ancestors(pid, limit int) []int {
	var pids []int
	for len(pids) < limit {
		parent, err := fs.Parent(pid)
		if err != nil || parent == 0 {
			break
		}
		pids = append(pids, parent)
		pid = parent
	}
	return pids
}

// Visible returns nil if the processes of other users can be seen, else an error that says what to do about it.
// Where they cannot, their threads look gone to Table.Caller.
func (fs FS) Visible() error {
	if _, err := os.Stat(string(fs) + "/self"); err != nil {
		return fmt.Errorf("no process can be looked up, %w: mount proc on %s", err, fs)
	}
	// hidepid=invisible makes other users' processes ENOENT, noaccess EPERM (proc(5)); process 1 is root's as a rule.
	var buf [512]byte
	if _, err := fs.read(1, "status", buf[:]); err != nil {
		return fmt.Errorf("the processes of other users are hidden, %s/1/status says %v: "+
			"remount %s with hidepid=0, or with gid=GROUP and run steve in that group (systemd: SupplementaryGroups=GROUP)",
			fs, err, fs)
	}
	return nil
}

// status returns a number from the status file of a process or thread. A name in that file cannot counterfeit a field: the kernel
// escapes line ends in it.
func (fs FS) status(pid int, field string) (int, error) {
	var buf [512]byte // Tgid and PPid are among the first lines; a name escapes to 128 bytes at most
	b, err := fs.read(pid, "status", buf[:])
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		value, ok := bytes.CutPrefix(line, []byte(field))
		if !ok {
			continue
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
		if err != nil || n < 0 || line[len(line)-1] != '\n' {
			break
		}
		return n, nil
	}
	return 0, fmt.Errorf("%s/%d/status has no number for %s", fs, pid, field)
}

// read reads the beginning of a file of a process, by one read.
func (fs FS) read(pid int, name string, buf []byte) ([]byte, error) {
	path := string(fs) + "/" + strconv.Itoa(pid) + "/" + name
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, readError("open", path, err)
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil, readError("read", path, err)
	}
	return buf[:n], nil
}

func readError(call, path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return ErrGone
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return ErrNoDescriptor
	}
	return &os.PathError{Op: call, Path: path, Err: err}
}
