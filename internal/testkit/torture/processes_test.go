package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/steved"
)

// processes returns those of the server that live, whoever started them. One in the middle of an execve may be missing.
func (s *server) processes() (pids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		command, _ := os.ReadFile(path) // empty where the process has ended
		program, _ := os.Readlink(exe(pid))
		if strings.Contains(string(command), s.name) && strings.HasPrefix(filepath.Base(program), "steve") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// exe is the program of a process, also where its file was removed.
func exe(pid int) string { return fmt.Sprintf("/proc/%d/exe", pid) }

// survives says whether the server still answers, and finds the keeper that it has then.
func (s *server) survives() bool {
	s.t.Helper()
	answer := make(chan error, 1)
	go func() {
		_, err := s.conn.Status()
		answer <- err
	}()
	select {
	case err := <-answer:
		if isOneOf(err, gone) {
			return false
		}
		if err != nil {
			s.t.Fatal(err)
		}
	case <-time.After(limit):
		s.abort()
		s.t.Fatalf("no answer in %v, and no error\n%s%s", limit, s.describe(), s.log.last())
	}
	s.await("keeper with a worker", func() bool {
		for _, pid := range s.processes() {
			if len(steved.Workers(pid)) > 0 {
				s.keeper = pid
				return true
			}
		}
		return false
	})
	return true
}

// gone waits for the end of a process of the server's.
func (s *server) gone(pid int) {
	s.t.Helper()
	s.await(fmt.Sprintf("end of process %d", pid), func() bool { return steved.Ended(pid) })
}

// signal sends a signal to a process of the server's.
func (s *server) signal(pid int, sig syscall.Signal) {
	s.t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		s.t.Fatalf("signal %d to %d: %v", sig, pid, err)
	}
}

// freeze stops a process of the server's.
func (s *server) freeze(pid int) {
	s.t.Helper()
	s.signal(pid, unix.SIGSTOP)
	s.await("process that is stopped", func() bool { return stopped(pid) })
}

// stopped says whether all threads of a process are.
func stopped(pid int) bool {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		tid, _ := strconv.Atoi(task.Name())
		if steved.State(tid) != 'T' { // /proc has threads, too, unlisted
			return false
		}
	}
	return true
}

// describe tells what the server's processes are doing.
func (s *server) describe() string {
	var b strings.Builder
	for _, pid := range s.processes() {
		b.WriteString(threads(pid))
	}
	return b.String()
}
