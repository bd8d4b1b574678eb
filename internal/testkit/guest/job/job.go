// Package job is what the host tells PID 1 of a guest, and what it hears back:
// one Job, in the file File of the initramfs; the job's output through Output;
// and last one line with its exit status, in decimal, through Status.
package job

// Paths in the initramfs.
const (
	File    = "/job.json"
	Modules = "/modules" // directory of NAME.ko for those of ModuleNames that the kernel has not built in
)

// ModuleNames are the kernel modules that a guest needs, in the order to load them.
var ModuleNames = []string{"fuse", "cuse", "overlay"}

// Serial lines of the guest; the host has a pipe at the other end. The console
// has the rest: messages of the kernel and of PID 1.
const (
	Output = "/dev/ttyS0"
	Status = "/dev/ttyS1"
)

// A Job is one program to run.
type Job struct {
	Args    []string // Args[0] is looked up in PATH of Env
	Env     []string // all of it
	WorkDir string   // "" is /
	Share   string   // directory of the host, mounted for writing at the same path; "" is none

	RootFS  FS // the host's /
	ShareFS FS // the directory Share
}

// An FS is how the guest gets at a directory of the host, in the words of mount(2).
type FS struct{ Type, Source, Data string }
