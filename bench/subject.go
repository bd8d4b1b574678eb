package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// A subject is a way to serve a token file, which is compared with others.
type subject struct {
	name  string
	start func(ctx context.Context) (*server, error)
}

// Names of subjects, in reports.
const (
	nameC         = "C"
	nameBeside    = "C in the hogs' session" // which is that of clients too
	nameSteve     = "steve"
	nameNoJournal = "steve without journal"
	nameLibfuse   = "libfuse"
	nameLoop      = "libfuse's own loop"
	nameGoFUSE    = "go-fuse"
	nameFIFO      = "FIFO"
)

// enough tokens that no client of a pair ever waits.
const enough = 1000

// onHost are the subjects on FUSE, and a FIFO. Those that could not be built are left out.
func onHost(p programs) []subject {
	subjects := []subject{
		{nameC, func(ctx context.Context) (*server, error) { return p.startLimit(ctx) }},
		{nameSteve, func(ctx context.Context) (*server, error) { return p.startSteve(ctx, enough) }},
		{nameNoJournal, func(ctx context.Context) (*server, error) { return p.startSteve(ctx, enough, "--keeper=none") }},
	}
	if built(p.libfuse) {
		on := func(path string, options ...string) func(ctx context.Context) (*server, error) {
			return func(ctx context.Context) (*server, error) {
				return start(exec.CommandContext(ctx, p.libfuse, append(options, path, strconv.Itoa(enough))...), path)
			}
		}
		subjects = append(subjects,
			subject{nameLibfuse, on(filepath.Join(p.dir, "libfuse-token"))},
			subject{nameLoop, on(filepath.Join(p.dir, "libfuse-loop-token"), "--loop")})
	}
	if built(p.gofuse) {
		subjects = append(subjects, subject{nameGoFUSE, func(ctx context.Context) (*server, error) {
			dir := filepath.Join(p.dir, "gofuse-mount")
			if err := os.Mkdir(dir, 0o700); err != nil {
				return nil, err
			}
			return start(exec.CommandContext(ctx, p.gofuse, dir), filepath.Join(dir, "token"))
		}})
	}
	return append(subjects, subject{nameFIFO, func(context.Context) (*server, error) { return p.startFIFO(enough) }})
}

// besideHogs are the subjects for a busy machine: some of those on the host, and the C server once more.
func besideHogs(p programs, subjects []subject) []subject {
	beside := subject{nameBeside, func(ctx context.Context) (*server, error) {
		path := filepath.Join(p.dir, "beside-token")
		return startIn(exec.CommandContext(ctx, p.limit, path), path, unix.SysProcAttr{})
	}}
	return append([]subject{beside}, among(subjects, nameC, nameSteve, nameLibfuse, nameLoop)...)
}

// onCUSE are the subjects that make a character device.
func onCUSE(p programs) []subject {
	subjects := []subject{
		{nameC, func(ctx context.Context) (*server, error) {
			const name = "bench-limit"
			return start(exec.CommandContext(ctx, p.limit, "--cuse", name), "/dev/"+name)
		}},
		{nameSteve, func(ctx context.Context) (*server, error) { return p.startSteve(ctx, enough, "--transport=cuse") }},
	}
	if built(p.libcuse) {
		on := func(name string, options ...string) func(ctx context.Context) (*server, error) {
			return func(ctx context.Context) (*server, error) {
				return start(exec.CommandContext(ctx, p.libcuse, append(options, name, strconv.Itoa(enough))...), "/dev/"+name)
			}
		}
		subjects = append(subjects, subject{nameLibfuse, on("bench-libfuse")}, subject{nameLoop, on("bench-libfuse-loop", "--loop")})
	}
	return subjects
}

// among returns the subjects of these names.
func among(subjects []subject, names ...string) []subject {
	return slices.DeleteFunc(slices.Clone(subjects), func(s subject) bool { return !slices.Contains(names, s.name) })
}

// startAll starts a server for each subject, and returns them by name. stop stops all.
func startAll(ctx context.Context, subjects []subject) (servers map[string]*server, stop func() error, err error) {
	all := map[string]*server{}
	stop = func() error {
		var err error
		for _, s := range all {
			err = errors.Join(err, s.stop())
		}
		return err
	}
	for _, s := range subjects {
		server, err := s.start(ctx)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s: %w", s.name, err), stop())
		}
		all[s.name] = server
	}
	return all, stop, nil
}
