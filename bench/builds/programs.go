package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"steve/internal/testkit/steved"
)

// programs are what every build finds.
type programs struct {
	steve string
	// bin is first in PATH: stevie, and the same make, ninja and cmake for all. gcc and cc are job.
	bin string
	job string
}

// install builds and links programs in dir.
func install(ctx context.Context, dir string) (programs, error) {
	p := programs{bin: filepath.Join(dir, "bin")}
	p.job = filepath.Join(p.bin, "job")
	if err := os.MkdirAll(p.bin, 0o755); err != nil {
		return p, err
	}
	for name, client := range map[string]string{"make": "make-4.4", "ninja": "ninja-1.13", "cmake": "cmake-3.31"} {
		path, err := cached("clients", client, "usr", "bin", name)
		if err != nil {
			return p, err
		}
		if err := os.Symlink(path, filepath.Join(p.bin, name)); err != nil {
			return p, err
		}
	}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return p, err
	}
	if p.steve, err = steved.Build(dir); err != nil {
		return p, err
	}
	// The module's own directory, from wherever in it this runs.
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return p, fmt.Errorf("go list: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "bench", "builds", "job", "job.c")
	for _, args := range [][]string{
		{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(p.bin, "stevie"), "steve/cmd/stevie"},
		{gcc, "-O2", "-Wall", "-static", fmt.Sprintf("-DGCC=%q", gcc), "-o", p.job, source},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("%s: %w\n%s", args[0], err, last(out))
		}
	}
	for _, name := range []string{"gcc", "cc"} {
		if err := os.Symlink("job", filepath.Join(p.bin, name)); err != nil {
			return p, err
		}
	}
	return p, nil
}

// environment is this program's without what a make around it has put there, or was set for another steve.
func (p programs) environment(more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains([]string{"MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS", "MAKELEVEL", "CARGO_MAKEFLAGS", "NINJAFLAGS"}, name) ||
			strings.HasPrefix(name, "STEVE_") && name != "STEVE_TEST_CACHE"
	})
	env = append(env, "PATH="+p.bin+":"+os.Getenv("PATH"), "RUSTC_WRAPPER="+p.job)
	return append(env, more...)
}
