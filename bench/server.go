package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/steved"
)

// programs are paths of what build has built.
type programs struct {
	dir                      string
	steve, limit, pair, wait string
}

// build builds steve as it is installed, and the C programs, into dir.
func build(ctx context.Context, dir string) (programs, error) {
	p := programs{
		dir:   dir,
		steve: filepath.Join(dir, "steve"),
		limit: filepath.Join(dir, "limit"),
		pair:  filepath.Join(dir, "pair"),
		wait:  filepath.Join(dir, "wait"),
	}
	// The module's own directory, from wherever in it this runs.
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return p, fmt.Errorf("go list: %w", err)
	}
	source := func(name string) string {
		return filepath.Join(string(root[:len(root)-1]), "bench", name, name+".c")
	}
	for _, args := range [][]string{
		{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", p.steve, "steve/cmd/steve"},
		{"cc", "-O2", "-Wall", "-o", p.limit, source("limit")},
		{"cc", "-O2", "-Wall", "-o", p.pair, source("pair")},
		{"cc", "-O2", "-Wall", "-o", p.wait, source("wait")},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return p, fmt.Errorf("%s: %w", args[0], err)
		}
	}
	return p, nil
}

// A server serves a token file.
type server struct {
	path string
	cmd  *exec.Cmd
	pid  int // of the process that answers
}

// startSteve starts a steve with so many tokens.
func (p programs) startSteve(ctx context.Context, jobs int) (*server, error) {
	name := "steve-bench-" + strconv.Itoa(os.Getpid())
	s, err := start(exec.CommandContext(ctx, p.steve, "--transport=fuse", "--dev-name="+name, "--mode=0600", "--jobs="+strconv.Itoa(jobs)),
		"/dev/"+name)
	if err == nil {
		s.pid = steved.Worker(s.pid)
	}
	return s, err
}

// startLimit starts the C server.
func (p programs) startLimit(ctx context.Context) (*server, error) {
	path := filepath.Join(p.dir, "token")
	return start(exec.CommandContext(ctx, p.limit, path), path)
}

// start starts a server, which prints a line when path is there.
func start(cmd *exec.Cmd, path string) (*server, error) {
	cmd.Stderr = os.Stderr
	// Either server takes its mount down at SIGTERM, be it that this program is killed.
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGTERM}
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
	s.cmd.Process.Signal(unix.SIGTERM) // it may have ended by itself, which Wait tells
	return s.cmd.Wait()
}
