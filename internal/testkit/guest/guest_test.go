package guest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/need"
)

// patience is how long a guest may take, on a busy machine too.
const patience = 3 * time.Minute

// allKernels are those of every machine.
var allKernels = append(slices.Clone(guest.Kernels), guest.QEMU)

// onEach runs a test with each of the kernels.
func onEach(t *testing.T, kernels []string, test func(t *testing.T, cfg guest.Config)) {
	t.Helper()
	for _, kernel := range kernels {
		t.Run(kernel, func(t *testing.T) {
			test(t, guest.Config{Kernel: need.Guest(t, kernel)})
		})
	}
}

func TestIntegrationJob(t *testing.T) {
	const script = `
		test -c /dev/cuse && echo CUSE
		test -c /dev/fuse && echo FUSE
		test -t 0 || test -t 1 || test -t 2 || echo no terminal
		echo $A
		pwd
		printf 'a\r\nb\0\004\n' >&2
		cp kept "$SHARE/copy" && rm kept
		kill -KILL $$`
	onEach(t, allKernels, func(t *testing.T, cfg guest.Config) {
		dir, share := t.TempDir(), t.TempDir()
		kept := filepath.Join(dir, "kept")
		if err := os.WriteFile(kept, []byte("as it was"), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		cfg.Job = []string{"/bin/sh", "-c", script}
		cfg.Env = []string{"PATH=/usr/bin:/bin", "A=1 = 1", "SHARE=" + share}
		cfg.WorkDir, cfg.Share, cfg.Output = dir, share, &out
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		status, err := guest.Run(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if want := 128 + 9; status != want {
			t.Errorf("status %d, want %d", status, want)
		}
		want := "CUSE\nFUSE\nno terminal\n1 = 1\n" + dir + "\na\r\nb\x00\x04\n"
		if out.String() != want {
			t.Errorf("output %q, want %q", out.String(), want)
		}
		for _, path := range []string{kept, filepath.Join(share, "copy")} {
			if text, err := os.ReadFile(path); err != nil || string(text) != "as it was" {
				t.Errorf("%s: %q, %v", path, text, err)
			}
		}
	})
}

func TestIntegrationStatus(t *testing.T) {
	tests := []struct {
		name   string
		job    []string
		status int
	}{
		{"much output", []string{"/bin/sh", "-c", "head -c 3000000 /dev/zero; exit 7"}, 7},
		{"orphans", []string{"/bin/sh", "-c", "(sleep 1000 &); (exec sleep 0.01 &); exit 1"}, 1},
		{"no such program", []string{"/no/such/program"}, 127},
	}
	onEach(t, guest.Kernels, func(t *testing.T, cfg guest.Config) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				var out bytes.Buffer
				cfg.Job, cfg.Output = tt.job, &out
				status, err := guest.Run(t.Context(), cfg)
				if err != nil || status != tt.status {
					t.Errorf("status %d, %v; want %d", status, err, tt.status)
				}
				if tt.name == "much output" && out.Len() != 3000000 {
					t.Errorf("%d bytes of output, want 3000000", out.Len())
				}
			})
		}
	})
}

// A guest that is busy, with a stopped process too, is gone when its context is done.
func TestIntegrationKill(t *testing.T) {
	onEach(t, allKernels, func(t *testing.T, cfg guest.Config) {
		tmp := t.TempDir()
		t.Setenv("TMPDIR", tmp) // the kernel's processes have it in their command lines
		limited, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		ctx, cancel := context.WithCancelCause(limited)
		because := errors.New("enough seen")
		cfg.Job = []string{"/bin/sh", "-c", "sleep 1000 & kill -STOP $! ; echo ready; while :; do :; done"}
		var out bytes.Buffer
		cfg.Output = writerFunc(func(p []byte) (int, error) {
			out.Write(p) // which may come byte by byte
			if out.String() == "ready\n" {
				if len(processesWith(t, tmp)) == 0 {
					t.Error("no process of the guest found while it runs")
				}
				cancel(because)
			}
			return len(p), nil
		})
		_, err := guest.Run(ctx, cfg)
		if !errors.Is(err, guest.ErrNoStatus) || !errors.Is(err, because) {
			t.Errorf("error %v; want one that is ErrNoStatus and has the cause", err)
		}
		if left := processesWith(t, tmp); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
		noChildren(t)
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

func TestIntegrationKernelThatCannotRun(t *testing.T) {
	status, err := guest.Run(t.Context(), guest.Config{Kernel: t.TempDir(), Job: []string{"true"}})
	if err == nil {
		t.Errorf("status %d without a kernel", status)
	}
}

// What QEMU says when it cannot run is in the error.
func TestIntegrationQEMUThatCannotRun(t *testing.T) {
	kernel := t.TempDir()
	for name, script := range map[string]string{"qemu": "echo no memory >&2; exit 1", "virtiofsd": "exec sleep 1000"} {
		if err := os.WriteFile(filepath.Join(kernel, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	status, err := guest.Run(t.Context(), guest.Config{Kernel: kernel, Job: []string{"true"}})
	if !errors.Is(err, guest.ErrNoStatus) || !strings.Contains(err.Error(), "no memory") {
		t.Errorf("status %d, error %v; want one that is ErrNoStatus and has QEMU's words", status, err)
	}
	noChildren(t)
}

// noChildren reports processes that this one has started and not waited for.
func noChildren(t *testing.T) {
	t.Helper()
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("wait: %v; want no child left", err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// processesWith returns the command lines that have part in them.
func processesWith(t *testing.T, part string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		// Processes end meanwhile.
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(part)) {
			found = append(found, path+": "+string(text))
		}
	}
	return found
}
