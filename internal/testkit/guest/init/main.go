// Command init is PID 1 of a guest: it loads the kernel modules of its initramfs,
// makes a root of the host's files with an overlay in memory, runs one job there,
// reports how it ended, and powers off. See package guest.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/guest/job"
)

// root is where the job's root is put together.
const root = "/root"

// exitCannotRun is the status of a job that could not be started, as a shell's.
const exitCannotRun = 127

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: not PID 1: this is the init of a test guest, start it through package guest")
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Printf("init: %v\n", err)
	}
	// PID 1 must not return: the kernel panics.
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Printf("init: power off: %v\n", err)
	select {}
}

func run() error {
	for _, m := range []mount{
		{"proc", "/proc", "proc", 0, ""},
		{"sysfs", "/sys", "sysfs", 0, ""},
		{"devtmpfs", "/dev", "devtmpfs", 0, ""},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	text, err := os.ReadFile(job.File)
	if err != nil {
		return err
	}
	var j job.Job
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("%s: %w", job.File, err)
	}
	output, err := openLine(job.Output)
	if err != nil {
		return err
	}
	status, err := openLine(job.Status)
	if err != nil {
		return err
	}
	if err := enterRoot(j); err != nil {
		return err
	}
	if err := upLoopback(); err != nil {
		return err
	}
	code := runJob(j, output)
	if err := drain(output); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(status, code); err != nil {
		return err
	}
	return drain(status)
}

type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.fstype+m.source, m.target, err)
	}
	return nil
}

func loadModules() error {
	for _, name := range job.ModuleNames {
		f, err := os.Open(filepath.Join(job.Modules, name+".ko"))
		if errors.Is(err, os.ErrNotExist) {
			continue // built in
		}
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return nil
}

// enterRoot makes the job's root and changes to it. Its / is the host's, with
// the guest's own /proc, /sys, /dev and /run, and the job's share writable.
func enterRoot(j job.Job) error {
	mounts := []mount{
		{j.RootFS.Source, "/host", j.RootFS.Type, unix.MS_RDONLY, j.RootFS.Data},
		{"tmpfs", "/over", "tmpfs", 0, ""},
	}
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/over/upper", "/over/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	mounts = []mount{
		{"overlay", root, "overlay", 0, "lowerdir=/host,upperdir=/over/upper,workdir=/over/work"},
		{"/proc", root + "/proc", "", unix.MS_MOVE, ""},
		{"/sys", root + "/sys", "", unix.MS_MOVE, ""},
		{"/dev", root + "/dev", "", unix.MS_MOVE, ""},
		{"tmpfs", root + "/run", "tmpfs", 0, "mode=755"},
		{"tmpfs", root + "/dev/shm", "tmpfs", 0, "mode=1777"},
		{"devpts", root + "/dev/pts", "devpts", 0, "ptmxmode=0666,mode=0620"},
		{"cgroup2", root + "/sys/fs/cgroup", "cgroup2", 0, ""},
	}
	if j.Share != "" {
		mounts = append(mounts, mount{j.ShareFS.Source, root + j.Share, j.ShareFS.Type, 0, j.ShareFS.Data})
	}
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	// devtmpfs has no links; udev makes these elsewhere.
	for name, target := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		if err := os.Symlink("/proc/self/fd"+target, root+"/dev/"+name); err != nil {
			return err
		}
	}
	// An initramfs cannot be unmounted, so pivot_root does not apply.
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := (mount{".", "/", "", unix.MS_MOVE, ""}).do(); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

func upLoopback() error {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(sock)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(sock, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// openLine opens a serial line for bytes as they are: no CR before LF, no echo.
func openLine(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &unix.Termios{Cflag: unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B38400}); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// drain waits until all that was written to a serial line has left the guest.
func drain(line *os.File) error {
	if err := unix.IoctlSetInt(int(line.Fd()), unix.TCSBRK, 1); err != nil {
		return fmt.Errorf("drain %s: %w", line.Name(), err)
	}
	return nil
}

// runJob returns the exit status of the job: 128 plus the signal that killed it,
// 127 if it could not be started. Meanwhile it reaps whatever else ends in the
// guest and has lost its parent, as PID 1 must.
func runJob(j job.Job, output *os.File) int {
	// Through a pipe: programs behave otherwise on a terminal.
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Fprintf(output, "init: %v\n", err)
		return exitCannotRun
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(output, r)
		copied <- err
	}()
	pid, err := start(j, w)
	if err != nil {
		fmt.Fprintf(w, "init: %v\n", err)
	}
	w.Close()
	code := exitCannotRun
	if err == nil {
		code = waitFor(pid)
	}
	// What the job left running may keep the pipe open; it ends with the guest.
	if err := r.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		fmt.Printf("init: %v\n", err)
	}
	if err := <-copied; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		fmt.Printf("init: output: %v\n", err)
	}
	return code
}

func start(j job.Job, output *os.File) (pid int, err error) {
	// The kernel put what it did not know of its command line into the environment.
	os.Clearenv()
	for _, kv := range j.Env {
		if name, value, ok := strings.Cut(kv, "="); ok {
			if err := os.Setenv(name, value); err != nil {
				return 0, err
			}
		}
	}
	cmd := exec.Command(j.Args[0], j.Args[1:]...)
	cmd.Dir = j.WorkDir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return cmd.Process.Pid, nil
}

// waitFor returns the exit status of the child pid, as a shell gives it.
func waitFor(pid int) int {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			fmt.Printf("init: wait: %v\n", err)
			return exitCannotRun
		case got != pid:
		case ws.Signaled():
			return 128 + int(ws.Signal())
		case ws.Exited():
			return ws.ExitStatus()
		}
	}
}
