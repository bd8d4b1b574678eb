package file

import (
	"errors"
	"io"
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
// and when this process ends without a word.
func (m *Mount) Delegate() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, UnmounterVerb, m.Path, m.lock.file.Name())
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = os.Stderr
	// With the lock, which belongs to the open file: no server is to come before the mount of this one is gone.
	cmd.ExtraFiles = []*os.File{m.lock.file}
	// A session of its own: what a terminal sends to the server's process group is not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	alive, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	m.mounter = delegated{cmd: cmd, alive: alive}
	m.node = node{mounted: true}
	return nil
}

// delegated is a mount that another process is to take down.
type delegated struct {
	mounter // nothing is mounted any more
	cmd     *exec.Cmd
	alive   io.Closer
}

func (d delegated) unmount(string) error {
	return errors.Join(d.alive.Close(), d.cmd.Wait())
}

// UnmountAtEnd is the unmounter: it waits for the end of input, and takes down the mount at path.
func UnmountAtEnd(path, lockName string, input io.Reader) error {
	// What is sent to every steve is not for it: it ends when the server does.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	io.Copy(io.Discard, input)
	var errs []error
	if mounted, err := mountedAt(path); err != nil || mounted == fsType {
		errs = append(errs, err, newMounter().unmount(path))
	}
	node := node{path: path}
	errs = append(errs, node.remove())
	os.Remove(lockName)
	return errors.Join(errs...)
}
