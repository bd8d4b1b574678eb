package bridge

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// children are clients that must be processes of their own.
var children = map[string]func(args []string) error{
	"ninja":  ninja,
	"killed": killed,
	"stevie": stevie,
	"idle":   idle,
}

// startChild starts a child and returns when it says that it is ready.
func startChild(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd, ready := launchChild(t, name, args...)
	if err := <-ready; err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return cmd
}

// launchChild starts a child. It says when that is ready.
func launchChild(t testing.TB, name string, args ...string) (*exec.Cmd, <-chan error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), childVar+"="+name)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if _, err := cmd.StdinPipe(); err != nil { // open as long as cmd is
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(out).ReadString('\n')
		ready <- err
	}()
	return cmd, ready
}

// ninja looks for tokens at the end of each job only, of which it always has more: a byte that it has written it reads
// again at once.
func ninja(args []string) error {
	r, err := unix.Open(args[0], unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	w, err := unix.Open(args[0], unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	job, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	os.Stdout.WriteString("ready\n")
	var b [1]byte
	held := 0
	for {
		for {
			if n, err := unix.Read(r, b[:]); n != 1 || err != nil {
				break
			}
			held++
		}
		// held jobs and the one of the implicit slot, each of which takes its time, end one after the other.
		time.Sleep(job / time.Duration(held+1))
		if held > 0 {
			if _, err := unix.Write(w, b[:]); err != nil {
				return err
			}
			held--
		}
	}
}

// killed is killed with a number of tokens, at once or by others.
func killed(args []string) error {
	fd, err := unix.Open(args[0], unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for range n {
		var b [1]byte
		if _, err := unix.Read(fd, b[:]); err != nil {
			return err
		}
	}
	if len(args) > 2 {
		os.Stdout.WriteString("ready\n")
		os.Stdin.Read(make([]byte, 1)) // its end
	}
	return unix.Kill(os.Getpid(), unix.SIGKILL)
}

// stevie runs a shell script with a bridge, until it is killed.
func stevie(args []string) error {
	b, err := New(newMachine(nil, 4).join(), Options{Dir: args[0]})
	if err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", "-c", args[1], "sh", b.Jobserver().Path)
	cmd.Env = append(os.Environ(), childVar+"=")
	if len(args) > 2 {
		cmd.Env = append(cmd.Env, EnvVar+"="+b.Dir())
	}
	cmd.Stderr = os.Stderr
	cmd.Stdout = os.Stdout // of the script, which says when it is ready
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := b.Started(cmd.Process.Pid); err != nil {
		return err
	}
	os.Stdout.WriteString("\n")
	return errors.Join(cmd.Wait(), b.Close())
}

// idle has a bridge, and a client that takes one token and returns it.
func idle(args []string) error {
	b, err := New(newMachine(nil, 4).join(), Options{Dir: args[0]})
	if err != nil {
		return err
	}
	fd, err := unix.Open(b.Jobserver().Path, unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	var c [1]byte
	if _, err := unix.Read(fd, c[:]); err != nil {
		return err
	}
	if _, err := unix.Write(fd, c[:]); err != nil {
		return err
	}
	os.Stdout.WriteString("ready\n")
	os.Stdin.Read(c[:]) // its end
	return b.Close()
}
