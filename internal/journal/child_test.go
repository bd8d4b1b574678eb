package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is also the processes that are killed: with childEnv set it is one that does what this says.
const childEnv = "JOURNAL_TEST_CHILD"

// The descriptors of a child.
const (
	journalFD  = 3
	progressFD = 4
)

var children = map[string]func(*progress) error{
	"lock":  lockChild,
	"reset": resetChild,
}

func TestMain(m *testing.M) {
	work, ok := children[os.Getenv(childEnv)]
	if !ok {
		os.Exit(m.Run())
	}
	p, err := mapProgress(progressFD)
	if err == nil {
		err = work(p)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// progress is what a child says of itself, in memory shared with its parent.
type progress struct {
	tid   *atomic.Uint32 // the thread that works, once it is about to
	begin *atomic.Uint32 // set by the parent: now work
	done  *atomic.Uint32 // how much of it is done
	end   *atomic.Uint32 // all of it
}

func mapProgress(fd int) (*progress, error) {
	mem, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &progress{word(mem, 0), word(mem, 4), word(mem, 8), word(mem, 12)}, nil
}

// resetChild resets the journal.
func resetChild(p *progress) (err error) {
	var j *Journal
	if e := p.work(func() { j, err = Reset(journalFD, []byte("new")) }); e != nil {
		return e
	}
	if err == nil {
		err = j.Close()
	}
	return err
}

// work waits for its parent's word to begin, on the thread that the parent knows of.
func (p *progress) work(do func()) error {
	runtime.LockOSThread()
	p.tid.Store(uint32(unix.Gettid()))
	for p.begin.Load() == 0 {
		if orphaned() {
			return errors.New("the test is no more")
		}
	}
	do()
	p.end.Store(1)
	return nil
}

// A child is a process that has the journal's own descriptor, as a worker has its keeper's.
type child struct {
	*progress
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func startChild(t *testing.T, work string, j *Journal) *child {
	t.Helper()
	fd, err := unix.MemfdCreate("progress", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	p := os.NewFile(uintptr(fd), "progress")
	defer p.Close()
	if err := p.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	progress, err := mapProgress(fd)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A copy, since a File closes its descriptor. With it goes the lock of this process, which the tests take later.
	dup, err := unix.FcntlInt(uintptr(j.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	passed := os.NewFile(uintptr(dup), "journal")
	defer passed.Close()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+work, "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{passed, p}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{progress, cmd, in, bufio.NewReader(out)}
	t.Cleanup(c.kill)
	return c
}

// kill kills the child, if it still is, and waits for its end.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// await waits until the child has got somewhere, which must be soon.
func (c *child) await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for giveUp := time.Now().Add(30 * time.Second); !reached(); runtime.Gosched() {
		if time.Now().After(giveUp) {
			t.Fatalf("after 30 s the child has not %s", what)
		}
	}
}

// orphaned reports whether the test is no more.
func orphaned() bool { return os.Getppid() != parent }

var parent = os.Getppid()
