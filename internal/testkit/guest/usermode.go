package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/guest/job"
)

// userMode is user-mode Linux: the kernel is a program of the host.
type userMode struct{}

func (userMode) hostFS(dir string) job.FS {
	return job.FS{Type: "hostfs", Source: "none", Data: dir}
}

// The kernel's own processes can be told from all others by dir.
func (userMode) processes(dir string, cfg Config, lines []*os.File) (processes, error) {
	memory := cfg.memory()
	cmd := exec.Command(filepath.Join(cfg.Kernel, "linux"),
		fmt.Sprintf("mem=%dM", memory),
		"initrd="+filepath.Join(dir, initrd), "root=/dev/ram0", "rdinit=/init", "quiet",
		"ssl=null", "ssl0=null,fd:3", "ssl1=null,fd:4", "con=null", "con0=null,fd:5",
		"uml_dir="+dir, "umid=guest",
		// Much faster system calls, where the kernel has it (6.16).
		"seccomp=auto")
	cmd.Env = append(os.Environ(), "TMPDIR="+memoryDir(memory))
	cmd.ExtraFiles = lines
	return processes{cmd}, nil
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
