package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
)

// countedJob stands for a compiler: while it works it has a locked file in the directory running, and tells of which
// builds there are such. The lock of one that is killed ends with it.
func countedJob() {
	own := filepath.Join("running", os.Getenv("BUILD")+"."+strconv.Itoa(os.Getpid()))
	f, err := os.Create(own)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		panic(err)
	}
	for range 20 {
		names, err := filepath.Glob("running/*")
		if err != nil {
			panic(err)
		}
		line := "running:"
		for _, name := range names {
			if f, err := os.Open(name); err == nil {
				if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK {
					line += " " + strings.Split(filepath.Base(name), ".")[0]
				}
				f.Close()
			}
		}
		fmt.Println(line)
		time.Sleep(time.Millisecond)
	}
	os.Remove(own)
}

type build struct {
	cmd *exec.Cmd
	out *strings.Builder
}

// TestIntegrationCrowd has twenty builds of one user share tokens without a steve, while the stevie that serves them is
// killed again and again: never are there more jobs than tokens, and all builds but the killed ones succeed. The jobs of
// those do not count: it takes a moment until they are killed too.
func TestIntegrationCrowd(t *testing.T) {
	const builds, tokens, kills = 20, 3, 5
	dir, err := os.MkdirTemp("", "crowd") // short, for there is a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, d := range []string{"running", "bin"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, filepath.Join(dir, "bin", "countedjob")); err != nil {
		t.Fatal(err)
	}
	makefile := "all: 1 2 3 4 5\n1 2 3 4 5:\n\t@countedjob\n"
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o600); err != nil {
		t.Fatal(err)
	}
	need.DefaultSignals()
	env := []string{
		"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir,
		"STEVE_DEVICE=/nonexistent/steve", "GORACE=" + goRace,
	}
	deadline := time.Now().Add(90 * time.Second)
	running := map[int]*build{}
	var all []*build
	for i := range builds {
		b := &build{cmd: exec.Command(exe), out: new(strings.Builder)}
		b.cmd.Args = []string{"stevie", "-j" + strconv.Itoa(tokens), need.Tool(t, "make")}
		b.cmd.Dir, b.cmd.Env = dir, append(slices.Clone(env), fmt.Sprintf("BUILD=%d", i))
		b.cmd.Stdout, b.cmd.Stderr = b.out, b.out
		if err := b.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
		running[b.cmd.Process.Pid] = b
	}
	socket := filepath.Join(dir, "stevie-pool.1.socket")
	killed := map[*build]bool{}
	for range kills {
		pid := awaitServer(t, socket, running, deadline)
		killed[running[pid]] = true
		delete(running, pid)
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range all {
		timer := time.AfterFunc(time.Until(deadline), func() { b.cmd.Process.Kill() })
		err := b.cmd.Wait()
		timer.Stop()
		if err != nil && !killed[b] {
			t.Errorf("%v\n%s", err, b.out)
		}
		for _, line := range strings.Split(b.out.String(), "\n") {
			jobs, isReport := strings.CutPrefix(line, "running:")
			if !isReport {
				continue
			}
			n := 0
			for _, word := range strings.Fields(jobs) {
				if i, err := strconv.Atoi(word); err != nil {
					t.Fatalf("%q: %v", line, err)
				} else if !killed[all[i]] {
					n++
				}
			}
			if n > tokens {
				t.Fatalf("%d jobs at a time, with %d tokens", n, tokens)
			}
		}
	}
}

// awaitServer waits until one of the builds serves the others, and returns its process.
func awaitServer(t *testing.T, socket string, builds map[int]*build, deadline time.Time) int {
	t.Helper()
	for ; time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if pid := serverAt(socket); builds[pid] != nil {
			return pid
		}
	}
	t.Fatal("no build serves the others")
	return 0
}

// serverAt returns the process that listens at socket, or 0.
func serverAt(socket string) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return 0
	}
	// The credentials are those of the process that called listen(2).
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0
	}
	return int(peer.Pid)
}
