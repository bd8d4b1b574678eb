package guest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Processes are those of a guest. The kernel's is the last; the others serve it.
type processes []*exec.Cmd

// run starts all, waits for the end of the kernel's, which it kills when ctx is
// done, and leaves none. dir is the directory of the guest.
func (p processes) run(ctx context.Context, dir string) error {
	for i, cmd := range p {
		cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
		if err := cmd.Start(); err != nil {
			p.closeFiles()
			p[:i].end()
			return err
		}
	}
	p.closeFiles()
	servers, kernel := p[:len(p)-1], p[len(p)-1]
	stop := context.AfterFunc(ctx, func() { killKernel(kernel.Process.Pid, dir) })
	kernel.Wait() // its status says nothing: Run has the guest's report
	stop()
	killKernel(kernel.Process.Pid, dir)
	servers.end()
	return nil
}

// end kills processes that were started and have not been waited for.
func (p processes) end() {
	for _, cmd := range p {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // its group is there until Wait
		cmd.Wait()
	}
}

// closeFiles closes this process's copies of what the processes get.
func (p processes) closeFiles() {
	for _, cmd := range p {
		for _, f := range cmd.ExtraFiles {
			f.Close()
		}
	}
}

// killKernel kills the kernel's process, which is the leader of its process group,
// and the processes that it traces or has cloned, as user-mode Linux does. Those of
// a kernel that is gone or stuck can have left the group: they have its command line.
func killKernel(kernel int, dir string) {
	// ESRCH when nothing is left is the usual case, and no other can come.
	unix.Kill(-kernel, unix.SIGKILL)
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte("\x00uml_dir="+dir+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}
