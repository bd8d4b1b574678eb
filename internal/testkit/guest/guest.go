// Package guest runs a program under a kernel that has CUSE, which the kernel of
// the machine mostly has not: in user-mode Linux, or on a PC that QEMU simulates.
//
// A guest boots in seconds and sees the machine's files: / is the host's, read-only,
// below an overlay in memory, so that compilers, test binaries and the cache
// directory are where they are on the host and nothing that the guest writes reaches
// it. It is root there, without network: on one processor in user-mode Linux, on two
// much slower ones in QEMU.
// PID 1 is the program in guest/init.
//
// A test asks for a guest by Enter. What such tests are about does not belong
// here, nor how kernels get into the cache: that is scripts/setup-tests.
package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"steve/internal/testkit/guest/job"
)

// Kernels are those of user-mode Linux, which tests for guests run on: the oldest
// that steve supports, and the newest that Debian has.
var Kernels = []string{"6.1", "newest"}

// QEMU is the kernel for QEMU's PC. It is for tests of what user-mode Linux does
// otherwise: two processors, x86's copying to and from the memory of processes.
const QEMU = "qemu-6.12"

// ErrNoStatus says that the guest ended without telling how its job ended: it
// panicked, ran out of memory, or was stopped. The error's text has the end of
// its console.
var ErrNoStatus = errors.New("the guest ended before its job")

// Config is what to run, and in what.
type Config struct {
	// Kernel is the directory of a kernel.
	Kernel string
	// Job is the program and its arguments.
	Job []string
	// Env is the job's environment; nil is the caller's.
	Env []string
	// WorkDir is where the job starts; "" is /.
	WorkDir string
	// Share is a directory of the host that the job can write to, by the same
	// path; "" is none.
	Share string
	// Memory is the guest's memory in MiB; 0 is 1024. It also holds the files
	// that the job writes. The host gives it as it is used.
	Memory int
	// Output gets what the job writes to standard output and standard error, as
	// it is written; nil discards it.
	Output io.Writer
}

func (cfg Config) memory() int {
	if cfg.Memory == 0 {
		return 1024
	}
	return cfg.Memory
}

// A machine is what a kernel runs on.
type machine interface {
	// hostFS returns how the guest mounts a directory of the host, / or Config.Share.
	hostFS(dir string) job.FS
	// processes returns those of a guest, not yet started. The lines are those of
	// startLines; dir is the guest's own directory.
	processes(dir string, cfg Config, lines []*os.File) (processes, error)
}

// machineOf returns what the kernel in a directory is for.
func machineOf(kernel string) machine {
	if _, err := os.Lstat(filepath.Join(kernel, "qemu")); err == nil {
		return pc{}
	}
	return userMode{}
}

// Run boots a guest, runs the job and returns its exit status: 128 plus the
// signal that killed it, 127 if it could not be started. When ctx is done the
// guest is killed. Nothing of the guest is left when Run returns.
func Run(ctx context.Context, cfg Config) (status int, err error) {
	dir, err := os.MkdirTemp("", "steve-guest-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := writeInitrd(ctx, filepath.Join(dir, initrd), cfg); err != nil {
		return 0, err
	}
	output := cfg.Output
	if output == nil {
		output = io.Discard
	}
	var console, report bytes.Buffer
	// The first two are the kernel's serial lines, the third is its console.
	lines, err := startLines(output, &report, &console)
	if err != nil {
		return 0, err
	}
	procs, err := machineOf(cfg.Kernel).processes(dir, cfg, lines.inputs)
	if err == nil {
		err = procs.run(ctx, dir)
	}
	lines.closeInputs()
	if err := errors.Join(err, lines.wait()); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w%s", ErrNoStatus, context.Cause(ctx), tail(console.Bytes()))
	}
	status, err = strconv.Atoi(strings.TrimSuffix(report.String(), "\n"))
	if err != nil {
		return 0, fmt.Errorf("%w%s", ErrNoStatus, tail(console.Bytes()))
	}
	return status, nil
}

// initrd is the name of the initramfs in the directory of a run.
const initrd = "initrd"

// writeInitrd writes the initramfs of a run: PID 1, the kernel's modules, the job.
func writeInitrd(ctx context.Context, path string, cfg Config) error {
	program, err := buildInit(ctx)
	if err != nil {
		return err
	}
	env := cfg.Env
	if env == nil {
		env = os.Environ()
	}
	m := machineOf(cfg.Kernel)
	text, err := json.Marshal(job.Job{
		Args: cfg.Job, Env: env, WorkDir: cfg.WorkDir, Share: cfg.Share,
		RootFS: m.hostFS("/"), ShareFS: m.hostFS(cfg.Share),
	})
	if err != nil {
		return err
	}
	var a archive
	a.program("init", program)
	a.file(strings.TrimPrefix(job.File, "/"), text)
	modules := strings.TrimPrefix(job.Modules, "/")
	a.dir(modules)
	for _, name := range job.ModuleNames {
		name += ".ko"
		data, err := os.ReadFile(filepath.Join(cfg.Kernel, "modules", name))
		if errors.Is(err, os.ErrNotExist) {
			continue // built in
		}
		if err != nil {
			return err
		}
		a.file(modules+"/"+name, data)
	}
	a.end()
	return os.WriteFile(path, a.buf.Bytes(), 0o600)
}

// The program for PID 1, built once in a process.
var initProgram struct {
	sync.Mutex
	data []byte
}

func buildInit(ctx context.Context) ([]byte, error) {
	p := &initProgram
	p.Lock()
	defer p.Unlock()
	if p.data != nil {
		return p.data, nil
	}
	dir, err := os.MkdirTemp("", "steve-guest-init-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "init")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "steve/internal/testkit/guest/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the guest's init: %w\n%s", err, out)
	}
	p.data, err = os.ReadFile(path)
	return p.data, err
}

// tail is the end of a console, as text to follow an error.
func tail(console []byte) string {
	const most = 2048
	console = bytes.TrimSpace(console)
	if len(console) == 0 {
		return ""
	}
	if len(console) > most {
		console = console[len(console)-most:]
	}
	return "\n" + string(console)
}
