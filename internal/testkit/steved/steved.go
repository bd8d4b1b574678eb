// Package steved runs real steves for tests of its clients: the program itself, serving a FUSE file, which every machine
// with root and /dev/fuse can, unless its arguments say otherwise. How to test steve itself is not its concern.
package steved

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
)

// Build builds the program in dir, as it is installed, and returns its path. It may have build tags.
func Build(dir string, tags ...string) (string, error) {
	path := filepath.Join(dir, "steve")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-tags", strings.Join(tags, ","), "-o", path, "steve/cmd/steve")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building steve: %w\n%s", err, out)
	}
	return path, nil
}

// lifetime is how long a steve may run. Then its connection is aborted, which ends the wait of every client in it: without
// that, a steve gone wrong would leave processes behind that not even SIGKILL ends.
const lifetime = 4 * time.Minute

// A Steve is a running steve.
type Steve struct {
	// Path is that of the token file.
	Path string
	// Process is the steve's.
	Process *os.Process

	abortFile string // in sysfs
	deadline  *time.Timer
	exited    chan error
	stderr    bytes.Buffer // read it after exited
	reports   chan map[int]int
}

var started atomic.Int32

// Start starts the program with a token file of its own and waits until it serves. Call Stop at the end.
func Start(program string, args ...string) (*Steve, error) {
	need.DefaultSignals()
	name := fmt.Sprintf("steve-test-%d-%d", os.Getpid(), started.Add(1))
	cmd := exec.Command(program, append([]string{"--transport", "fuse", "--dev-name", name}, args...)...)
	s := &Steve{exited: make(chan error, 1), reports: make(chan map[int]int, 1)}
	cmd.Stderr = &s.stderr
	// It must not outlive a test that crashes, its mount even less.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.Process = cmd.Process

	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		report := reportReader{complete: s.reports}
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), "steve running on "); ok {
				path, _, _ := strings.Cut(rest, " for ")
				ready <- path
			}
			report.add(lines.Text())
		}
		s.exited <- cmd.Wait()
	}()
	select {
	case s.Path = <-ready:
	case err := <-s.exited:
		return nil, fmt.Errorf("steve %q: %v\n%s", args, err, &s.stderr)
	case <-time.After(lifetime):
		Kill(cmd.Process.Pid)
		return nil, fmt.Errorf("steve %q: not ready after %v", args, lifetime)
	}

	if s.abortFile, err = abortFile(s.Path); err != nil {
		Kill(cmd.Process.Pid)
		return nil, err
	}
	s.deadline = time.AfterFunc(lifetime, s.abort)
	return s, nil
}

// Stop stops the steve and returns an error unless it exits at once, with status 0, and leaves nothing behind.
func (s *Steve) Stop() error {
	defer s.deadline.Stop()
	s.Process.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	select {
	case err := <-s.exited:
		if err != nil {
			return fmt.Errorf("steve: %w\n%s", err, &s.stderr)
		}
	case <-ctx.Done():
		s.abort()
		Kill(s.Process.Pid)
		unix.Unmount(s.Path, unix.MNT_DETACH)
		return errors.New("steve does not stop")
	}
	// By name only: a look at the file itself may hang.
	device, err := mountDevice(s.Path)
	if err != nil {
		return err
	}
	if device != "" {
		s.abort()
		unix.Unmount(s.Path, unix.MNT_DETACH)
		return fmt.Errorf("steve left its mount at %s", s.Path)
	}
	if _, err := os.Lstat(s.Path); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("steve left %s behind", s.Path)
	}
	return nil
}

func (s *Steve) abort() { os.WriteFile(s.abortFile, []byte("1"), 0) }

// abortFile returns the file that ends the connection behind the token file at path when something is written to it.
func abortFile(path string) (string, error) {
	device, err := mountDevice(path)
	if err != nil {
		return "", err
	}
	if _, minor, ok := strings.Cut(device, ":"); ok {
		return filepath.Join("/sys/fs/fuse/connections", minor, "abort"), nil
	}
	file := filepath.Join("/sys/class/cuse", filepath.Base(path), "abort")
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("%s: no mount there, and no CUSE device", path)
	}
	return file, nil
}

// mountDevice returns the device number, "MAJOR:MINOR", of what is mounted on path; empty for nothing.
func mountDevice(path string) (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo") // proc_pid_mountinfo(5): id, parent, device, root, mount point
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == path {
			return f[2], nil
		}
	}
	return "", nil
}
