package file

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A node is what the file is mounted on, and what is seen at the path when the mount is gone. It must never pass for a
// token file: over a plain one cargo fails the build, make spins and writes pile up.
type node struct {
	path    string
	file    *os.File // of a plain node: open, to disguise it while it is covered
	mounted bool
}

// makeSocketNode makes a node that open(2) refuses with ENXIO. fusermount3 would not mount on it.
func makeSocketNode(path string) (node, error) {
	switch err := unix.Mknod(path, unix.S_IFSOCK|0o600, 0); err {
	case nil:
		return node{path: path}, nil
	case unix.EEXIST:
		return node{}, occupied(path)
	default:
		return node{}, &os.PathError{Op: "mknod", Path: path, Err: err}
	}
}

// makePlainNode makes a node that fusermount3 takes. Once disguised it opens for nobody.
func makePlainNode(path string) (node, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return node{}, occupied(path)
	}
	if err != nil {
		return node{}, err
	}
	return node{path: path, file: f}, nil
}

// removeLeftover removes the node that a killed server left at path, if that is what is there.
func removeLeftover(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !isLeftover(path, info) {
		return nil
	}
	return os.Remove(path)
}

// isLeftover says whether what is at path can only be a node: empty, this user's, and for nobody else.
func isLeftover(path string, info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Geteuid() {
		return false
	}
	switch info.Mode() {
	case 0:
		return info.Size() == 0
	case os.ModeSocket | 0o600:
		// A socket that somebody listens on, or of another kind, is none of ours.
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return false
		}
		defer unix.Close(fd)
		return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) == unix.ECONNREFUSED
	}
	return false
}

func occupied(path string) error {
	if _, err := os.Stat("/sys/class/cuse/" + filepath.Base(path)); err == nil {
		return fmt.Errorf("%s is served by another process; stop it or use another --dev-name", path)
	}
	return fmt.Errorf("%s exists and is not a token file; remove it or use another --dev-name", path)
}

// disguise makes a plain node one that nobody but root can open.
func (n *node) disguise() error {
	if n.file == nil {
		return nil
	}
	return n.file.Chmod(0)
}

func (n *node) remove() error {
	if n.file != nil {
		n.file.Close()
		n.file = nil
	}
	if n.path == "" {
		return nil
	}
	err := os.Remove(n.path)
	n.path = ""
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// mountedAt returns the type of the mount at path, the topmost if there are several, or "".
func mountedAt(path string) (fsType string, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	return findMount(f, path)
}

// findMount looks for path in a mount table as proc(5) describes it for /proc/PID/mountinfo.
func findMount(table io.Reader, path string) (fsType string, err error) {
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		place, types, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(place)
		if !ok || len(fields) < 5 || unescape(fields[4]) != path {
			continue
		}
		fsType, _, _ = strings.Cut(types, " ")
	}
	return fsType, lines.Err()
}

// unescape undoes the octal escapes of blanks and backslashes in a mount table.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
