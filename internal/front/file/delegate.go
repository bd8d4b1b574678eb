package file

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// UnmounterVerb is the first argument by which the program runs as the unmounter, with the path of the mount and that of
// its lock after it. It is no command for users.
const UnmounterVerb = "unmount-at-end"

// Delegate leaves the unmounting to a child process that keeps today's privileges. It unmounts when Unmount tells it to,
// and when all processes that have part in the mount have ended without a word.
func (m *Mount) Delegate() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "link")
	defer theirs.Close()
	cmd := exec.Command(program, UnmounterVerb, m.Path, m.lock.file.Name())
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stderr = theirs, os.Stderr
	// With the lock, which belongs to the open file: no server is to come before the mount of this one is gone.
	cmd.ExtraFiles = []*os.File{m.lock.file}
	// A session of its own: what a terminal sends to the server's process group is not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		unix.Close(pair[0])
		return err
	}
	m.mounter = &delegated{link: pair[0], cmd: cmd}
	m.node = node{mounted: true}
	return nil
}

// delegated is a mount that another process is to take down. The link to it is shared by those that serve.
type delegated struct {
	mounter // nothing is mounted any more
	link    int
	cmd     *exec.Cmd // nil if it is another process's child
}

// unmount returns when the other process has done it, or has ended.
func (d *delegated) unmount(path string) error {
	b := []byte{0}
	err := unix.Sendto(d.link, b, unix.MSG_NOSIGNAL, nil)
	for n := 0; err == nil && n != 1; {
		n, err = unix.Read(d.link, b)
		if err == unix.EINTR {
			err = nil
		} else if n == 0 && err == nil {
			err = unix.EPIPE
		}
	}
	if err != nil {
		return fmt.Errorf("unmount %s: the process that was to do it has ended; unmount it by hand", path)
	}
	return nil
}

func (d *delegated) close() error {
	err := unix.Close(d.link)
	if d.cmd != nil {
		err = errors.Join(err, d.cmd.Wait())
	}
	return err
}

// UnmountAtEnd is the unmounter: it takes down the mount at path when it is told to, or nobody is left to tell it, and
// removes the lock when nobody is left.
func UnmountAtEnd(path, lockName string, link *os.File) error {
	// What is sent to every steve is not for it: it ends when the server does.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	told := make([]byte, 1)
	n, _ := link.Read(told)
	node := node{path: path}
	err := errors.Join(newMounter().unmount(path), node.remove())
	for n > 0 {
		link.Write(told)
		n, _ = link.Read(told)
	}
	os.Remove(lockName)
	return err
}
