package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/steved"
)

// A server serves a token file.
type server struct {
	path string
	cmd  *exec.Cmd
	pid  int // of the process that answers; 0 if there is none
	fifo *os.File
}

// started tells apart the token files of one run.
var started atomic.Int64

// startSteve starts a steve with so many tokens on a FUSE file, unless its arguments say otherwise.
func (p programs) startSteve(ctx context.Context, jobs int, args ...string) (*server, error) {
	name := fmt.Sprintf("steve-bench-%d-%d", os.Getpid(), started.Add(1))
	args = append([]string{"--transport=fuse", "--dev-name=" + name, "--mode=0600", "--jobs=" + strconv.Itoa(jobs)}, args...)
	s, err := start(exec.CommandContext(ctx, p.steve, args...), "/dev/"+name)
	if err != nil {
		return nil, err
	}
	if worker := steved.Worker(s.pid); worker != 0 {
		s.pid = worker
	}
	return s, nil
}

// startLimit starts the C server on a FUSE file.
func (p programs) startLimit(ctx context.Context, args ...string) (*server, error) {
	path := filepath.Join(p.dir, fmt.Sprintf("limit-%d", started.Add(1)))
	return start(exec.CommandContext(ctx, p.limit, append(args, path)...), path)
}

// startFIFO fills a FIFO with tokens. It needs no server; the pipe is there as long as it is open.
func (p programs) startFIFO(tokens int) (*server, error) {
	path := filepath.Join(p.dir, "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	s := &server{path: path, fifo: f}
	if _, err := f.Write(make([]byte, tokens)); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// start starts a server, which prints a line when path is there. As a daemon it has a session of its own: a kernel with
// SCHED_AUTOGROUP shares processors among sessions first, so that those in a session are served as one.
func start(cmd *exec.Cmd, path string) (*server, error) {
	return startIn(cmd, path, unix.SysProcAttr{Setsid: true})
}

// startIn is start with attributes of the process.
func startIn(cmd *exec.Cmd, path string, attr unix.SysProcAttr) (*server, error) {
	cmd.Stderr = os.Stderr
	// Every server takes its mount down at SIGTERM, be it that this program is killed.
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	attr.Pdeathsig = unix.SIGTERM
	cmd.SysProcAttr = &attr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{path: path, cmd: cmd, pid: cmd.Process.Pid}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		s.stop()
		return nil, fmt.Errorf("%s did not start: %w", filepath.Base(cmd.Path), err)
	}
	return s, nil
}

// stop ends the server and returns when its file is gone.
func (s *server) stop() error {
	if s.fifo != nil {
		return errors.Join(s.fifo.Close(), os.Remove(s.path))
	}
	s.cmd.Process.Signal(unix.SIGTERM) // it may have ended by itself, which Wait tells
	return s.cmd.Wait()
}

// runOn confines all threads of s, if it has a process.
func (s *server) runOn(cpus *unix.CPUSet) error {
	if s.pid == 0 {
		return nil
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.pid))
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, cpus); err != nil && err != unix.ESRCH {
			return os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return nil
}
