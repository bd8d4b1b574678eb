package guest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// killAll kills the kernel's process, which is the leader of its process group,
// and the processes that it traces or has cloned. Those of a kernel that is gone
// or stuck can have left the group: they have its command line.
func killAll(kernel int, dir string) {
	// ESRCH when nothing is left is the usual case, and no other can come.
	unix.Kill(-kernel, unix.SIGKILL)
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte("\x00uml_dir="+dir+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}
