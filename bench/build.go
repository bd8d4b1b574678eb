package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// programs are paths of what build has built, in one directory.
type programs struct {
	dir                                    string
	steve, limit, libfuse, libcuse, gofuse string
	pair, wait                             string
}

func programsIn(dir string) programs {
	in := func(name string) string { return filepath.Join(dir, name) }
	return programs{dir, in("steve"), in("limit"), in("libfuse-fuse"), in("libfuse-cuse"), in("gofuse"), in("pair"), in("wait")}
}

// build builds steve as it is installed, and all that is measured beside it, into dir. It also returns what it could not
// build, for want of a library, with the reason.
func build(ctx context.Context, dir string) (p programs, missing []string, err error) {
	p = programsIn(dir)
	// The module's own directory, from wherever in it this runs.
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return p, nil, fmt.Errorf("go list: %w", err)
	}
	source := func(elem ...string) string {
		return filepath.Join(append([]string{strings.TrimSpace(string(root)), "bench"}, elem...)...)
	}
	steps := [][]string{
		{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", p.steve, "steve/cmd/steve"},
		compile(p.limit, source("limit", "limit.c")),
		compile(p.pair, source("pair", "pair.c")),
		compile(p.wait, source("wait", "wait.c")),
	}
	if hasLibfuse(ctx) {
		for program, transport := range map[string]string{p.libfuse: "fuse.c", p.libcuse: "cuse.c"} {
			steps = append(steps, append(compile(program,
				source("libfuse", transport), source("libfuse", "loop.c"), source("libfuse", "tokens.c")), "-lfuse3"))
		}
	} else {
		missing = append(missing, "libfuse: its header is not installed (Debian: libfuse3-dev)")
	}
	gofuse := source("gofuse")
	// It has a module of its own, which no vendor directory has.
	if err := command(ctx, "go", "-C", gofuse, "mod", "download").Run(); err != nil {
		missing = append(missing, "go-fuse: its module cannot be had (go -C bench/gofuse mod download)")
	} else {
		steps = append(steps, []string{"go", "-C", gofuse, "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", p.gofuse, "."})
	}
	for _, args := range steps {
		if err := command(ctx, args...).Run(); err != nil {
			return p, nil, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
	}
	return p, missing, nil
}

func compile(program string, sources ...string) []string {
	return append([]string{"cc", "-O2", "-Wall", "-o", program}, sources...)
}

func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return cmd
}

// hasLibfuse says whether programs for libfuse can be compiled.
func hasLibfuse(ctx context.Context) bool {
	cmd := exec.CommandContext(ctx, "cc", "-E", "-x", "c", "-")
	cmd.Stdin = strings.NewReader("#define FUSE_USE_VERSION 31\n#include <fuse3/fuse_lowlevel.h>\n")
	return cmd.Run() == nil
}

// built says whether an optional program is there.
func built(program string) bool {
	_, err := os.Stat(program)
	return !errors.Is(err, os.ErrNotExist)
}
