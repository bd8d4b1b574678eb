// Package guest runs a program in user-mode Linux with a kernel that has CUSE,
// which the kernel of the machine mostly has not.
//
// A guest boots in about two seconds and sees the machine's files: / is the
// host's, read-only, below an overlay in memory, so that compilers, test binaries
// and the cache directory are where they are on the host and nothing that the
// guest writes reaches it. It is root there, on one processor, without network.
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

	"golang.org/x/sys/unix"

	"steve/internal/testkit/guest/job"
)

// Kernels are the kernels that tests for guests run on: the oldest that steve
// supports, and the newest that Debian has.
var Kernels = []string{"6.1", "newest"}

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
	cmd := command(dir, cfg)
	cmd.ExtraFiles = lines.inputs
	startErr := cmd.Start()
	lines.closeInputs()
	if startErr == nil {
		stop := context.AfterFunc(ctx, func() { killAll(cmd.Process.Pid, dir) })
		cmd.Wait() // its status says nothing: see report
		stop()
		killAll(cmd.Process.Pid, dir)
	}
	if err := errors.Join(startErr, lines.wait()); err != nil {
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

// command is the kernel's; dir is its own directory, by which its processes can
// be told from all others. Its serial lines are the descriptors 3 and 4 and its
// console 5, each but for writing.
func command(dir string, cfg Config) *exec.Cmd {
	memory := cfg.Memory
	if memory == 0 {
		memory = 1024
	}
	cmd := exec.Command(filepath.Join(cfg.Kernel, "linux"),
		fmt.Sprintf("mem=%dM", memory),
		"initrd="+filepath.Join(dir, initrd), "root=/dev/ram0", "rdinit=/init", "quiet",
		"ssl=null", "ssl0=null,fd:3", "ssl1=null,fd:4", "con=null", "con0=null,fd:5",
		"uml_dir="+dir, "umid=guest",
		// Much faster system calls, where the kernel has it (6.16).
		"seccomp=auto")
	cmd.Env = append(os.Environ(), "TMPDIR="+memoryDir(memory))
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	return cmd
}

// memoryDir is where the kernel keeps the guest's memory, in a deleted file that
// it maps executable: in memory where there is room, else on disk.
func memoryDir(mib int) string {
	const shm = "/dev/shm"
	var st unix.Statfs_t
	err := unix.Statfs(shm, &st)
	if err == nil && st.Flags&unix.ST_NOEXEC == 0 && st.Bavail*uint64(st.Bsize)>>20 > uint64(mib) {
		return shm
	}
	return os.TempDir()
}

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
	text, err := json.Marshal(job.Job{Args: cfg.Job, Env: env, WorkDir: cfg.WorkDir, Share: cfg.Share})
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
