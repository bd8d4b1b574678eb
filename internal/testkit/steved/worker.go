package steved

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Worker returns the process that serves for the steve that was started as pid, 0 if there is none at the moment.
func Worker(pid int) int {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): pid, name in parentheses, state, parent
		name := text[bytes.IndexByte(text, '(')+1 : bytes.LastIndexByte(text, ')')]
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if string(name) == "steve-worker" && fields[0] != "Z" && fields[1] == strconv.Itoa(pid) {
			worker, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return worker
		}
	}
	return 0
}

// Kill kills the steve that was started as pid with all that would go on in its place. It may be stopped.
func Kill(pid int) {
	unix.Kill(pid, unix.SIGSTOP) // it starts no other
	for worker := Worker(pid); worker != 0; worker = Worker(pid) {
		unix.Kill(worker, unix.SIGSTOP) // it does not take the other's place
		unix.Kill(pid, unix.SIGKILL)
		unix.Kill(worker, unix.SIGKILL)
	}
	unix.Kill(pid, unix.SIGKILL)
}
