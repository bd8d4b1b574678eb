package bridge

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestIntegrationKilledStevie: when the owner of a bridge is killed, all of its build ends, and nothing else does.
func TestIntegrationKilledStevie(t *testing.T) {
	// Each script prints the numbers of its processes, the last with a line end.
	tests := []struct {
		name, script string
		env          bool
	}{
		{"by the command", `echo $$; exec sleep 1000`, false},
		{"by an open FIFO", `(exec sleep 1000 3<>"$1") & echo $!; exec sleep 1000`, false},
		{"by its environment", `(cd /; exec sleep 1000) & sleep 1000 & echo $! $$; exec sleep 1000`, true},
		{"without heed of signals", `trap "" TERM HUP INT; sleep 1000 & echo $! $$; exec sleep 1000`, true},
		{"stopped", `sleep 1000 & kill -STOP $!; echo $! $$; exec sleep 1000`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			bystander := exec.Command("sleep", "1000")
			bystander.Env = append(os.Environ(), EnvVar+"="+parent, "MAKEFLAGS=-- X="+parent)
			if err := bystander.Start(); err != nil {
				t.Fatal(err)
			}
			defer bystander.Wait()
			defer bystander.Process.Kill()

			args := []string{parent, tt.script}
			if tt.env {
				args = append(args, "env")
			}
			cmd := exec.Command(exe, args...)
			cmd.Env = append(os.Environ(), childVar+"=stevie")
			cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			errs, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			lines := bufio.NewReader(out)
			var line string
			for range 2 { // an empty one when the watcher has been told of the command
				one, err := lines.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				line += one
			}
			var members []int // pidfds
			for _, field := range strings.Fields(line) {
				pid, err := strconv.Atoi(field)
				if err != nil {
					t.Fatal(err)
				}
				fd, err := unix.PidfdOpen(pid, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				defer unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
				members = append(members, fd)
			}
			cmd.Process.Kill()
			said, err := bufio.NewReader(errs).ReadString('\n')
			if err != nil || !strings.HasPrefix(said, "stevie: ") {
				t.Errorf("said %q, %v", said, err)
			}
			for i, fd := range members {
				p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
				n, err := unix.Poll(p, int(deadline.Milliseconds()))
				for err == unix.EINTR {
					n, err = unix.Poll(p, int(deadline.Milliseconds()))
				}
				if n != 1 {
					t.Errorf("process %d lives on, %v", i, err)
				}
			}
			eventually(t, "the directory gone", func() bool {
				left, err := filepath.Glob(filepath.Join(parent, "*"))
				return err == nil && len(left) == 0
			})
			if err := bystander.Process.Signal(unix.Signal(0)); err != nil {
				t.Errorf("a process that is no part of the build: %v", err)
			}
			if state := processState(t, bystander.Process.Pid); state == "Z" {
				t.Error("a process that is no part of the build was ended")
			}
		})
	}
}

func processState(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[:1]
}

// TestStaleHomes: directories whose bridge and watcher are gone are removed, others are not.
func TestStaleHomes(t *testing.T) {
	parent := t.TempDir()
	lives, err := makeHome(parent)
	if err != nil {
		t.Fatal(err)
	}
	stale, err := makeHome(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range fileNames {
		f, err := makeFIFO(stale.path, name)
		if err != nil {
			t.Fatal(err)
		}
		f.close()
	}
	stale.lock.Close()
	another, err := makeHome(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*home{lives, another} {
		if err := h.remove(); err != nil {
			t.Error(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(parent, "*")); err != nil || len(left) != 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// TestIntegrationIdleDoesNotWake: a bridge whose client does nothing does nothing.
func TestIntegrationIdleDoesNotWake(t *testing.T) {
	cmd := startChild(t, "idle", t.TempDir())
	eventually(t, "a second of sleep", func() bool {
		before := switches(t, cmd.Process.Pid)
		time.Sleep(time.Second) // what is measured
		return switches(t, cmd.Process.Pid) == before
	})
}

// switches is how often threads of a process have gone to sleep.
func switches(t *testing.T, pid int) (n int) {
	t.Helper()
	paths, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/status")
	if err != nil || len(paths) == 0 {
		t.Fatal("no such process", err)
	}
	for _, path := range paths {
		status, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, field, _ := strings.Cut(string(status), "\nvoluntary_ctxt_switches:\t")
		field, _, _ = strings.Cut(field, "\n")
		one, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		n += one
	}
	return n
}
