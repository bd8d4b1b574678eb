package file

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// A mounter is one of the two ways to a mount.
type mounter interface {
	makeNode(path string) (node, error)
	// mount returns the descriptor to serve it by.
	mount(Config) (fd int, err error)
	// unmount takes the mount from its path even while it is in use. That there is none is no error.
	unmount(path string) error
	// close ends what mounting needed, when all else is done.
	close() error
}

func newMounter() mounter {
	if os.Geteuid() == 0 {
		return kernel{}
	}
	return fusermount{}
}

// kernel mounts by mount(2), as root.
type kernel struct{}

func (kernel) makeNode(path string) (node, error) { return makeSocketNode(path) }

func (kernel) mount(c Config) (int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, openError(err)
	}
	// default_permissions: the kernel checks mode and owner. allow_other: not only the user who mounted.
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,allow_other", fd, unix.S_IFREG)
	if err := unix.Mount("steve", c.Path, fsType, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		unix.Close(fd)
		if err == unix.EPERM {
			return -1, fmt.Errorf("mount on %s: %w; in a container mounting needs CAP_SYS_ADMIN: run steve outside and share the file", c.Path, err)
		}
		return -1, fmt.Errorf("mount on %s: %w", c.Path, err)
	}
	return fd, nil
}

func (kernel) unmount(path string) error {
	if mounted, err := mountedAt(path); err != nil || mounted != fsType {
		return err
	}
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && err != unix.EINVAL { // EINVAL: somebody else has unmounted it just now
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}

func (kernel) close() error { return nil }

func openError(err error) error {
	hint := ""
	switch err {
	case unix.ENOENT, unix.ENXIO, unix.ENODEV:
		hint = "; the kernel's fuse module is missing (modprobe fuse), or the container was not given the device (--device /dev/fuse)"
	case unix.EACCES, unix.EPERM:
		hint = "; its permissions or the container forbid it"
	}
	return fmt.Errorf("open /dev/fuse: %w%s", err, hint)
}

// fusermount mounts by the set-user-id helper of libfuse, as anybody. Only the user who mounted can use the file.
type fusermount struct{}

func (fusermount) makeNode(path string) (node, error) { return makePlainNode(path) }

func (fusermount) mount(c Config) (int, error) {
	// The helper sends the descriptor over a socket that it finds in _FUSE_COMMFD (fuse_mount_fusermount in libfuse).
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "fusermount3")
	err = run([]*os.File{theirs}, "-o", "default_permissions,nosuid,nodev,noexec,fsname=steve,subtype=steve", "--", c.Path)
	theirs.Close()
	if err != nil {
		return -1, fmt.Errorf("mount on %s: %w", c.Path, err)
	}
	fd, err := receive(pair[0])
	if err != nil {
		return -1, fmt.Errorf("mount on %s: fusermount3 sent no descriptor: %w", c.Path, err)
	}
	return fd, nil
}

func (fusermount) unmount(path string) error {
	if mounted, err := mountedAt(path); err != nil || mounted != fsType {
		return err
	}
	if err := run(nil, "-u", "-z", "--", path); err != nil {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}

func (fusermount) close() error { return nil }

// run runs fusermount3. extra becomes its descriptor 3.
func run(extra []*os.File, args ...string) error {
	cmd := exec.Command("fusermount3", args...)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = extra
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("without root a mount needs fusermount3; install fuse3")
	case err != nil && stderr.Len() > 0:
		return errors.New(strings.TrimSpace(stderr.String()))
	}
	return err
}

// receive takes the one descriptor that waits on a socket.
func receive(socket int) (int, error) {
	var data [1]byte
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, data[:], control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return -1, err
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, errors.New("no descriptor in its message")
}
