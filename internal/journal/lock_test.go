package journal

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// lockChild does what it reads from its standard input, a word a line, and says what came of it.
func lockChild(*progress) error {
	j, err := Open(journalFD)
	if err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "try":
			err = j.Lock(false)
		case "wait":
			err = j.Lock(true)
		case "unlock":
			err = j.Unlock()
		case "keep":
			err = LockKeeper(j.FD())
		}
		switch {
		case errors.Is(err, ErrLocked):
			fmt.Println("locked")
		case err != nil:
			return err
		default:
			fmt.Println("ok")
		}
	}
	return nil
}

func (c *child) tell(t *testing.T, word string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, word); err != nil {
		t.Fatal(err)
	}
}

func (c *child) expect(t *testing.T, want string) {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if got := strings.TrimSpace(line); err != nil || got != want {
		t.Fatalf("the child says %q, %v, want %q", got, err, want)
	}
}

// waits reports whether the kernel has the child wait for a lock: proc_locks(5).
func (c *child) waits() bool {
	locks, _ := os.ReadFile("/proc/locks")
	for line := range strings.Lines(string(locks)) {
		f := strings.Fields(line) // 1: -> POSIX  ADVISORY  WRITE 4711 00:01:2 0 0
		if len(f) > 5 && f[1] == "->" && f[5] == fmt.Sprint(c.cmd.Process.Pid) {
			return true
		}
	}
	return false
}

func TestLock(t *testing.T) {
	j := create(t)
	a, b := startChild(t, "lock", j), startChild(t, "lock", j)
	if err := j.Lock(false); err != nil {
		t.Fatal(err)
	}
	if err := j.Lock(true); err != nil {
		t.Errorf("what is ours already: %v", err)
	}

	// All of these have the very open file of this process, which a lock by flock(2) would not keep from them.
	a.tell(t, "try")
	a.expect(t, "locked")

	// A second mapping and a thread come and go.
	second, err := Open(j.FD())
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	var thread sync.WaitGroup
	thread.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := j.Lock(false); err != nil {
			t.Error(err)
		}
	})
	thread.Wait()
	a.tell(t, "try")
	a.expect(t, "locked")

	a.tell(t, "wait")
	a.await(t, "waited", a.waits)
	if err := j.Unlock(); err != nil {
		t.Fatal(err)
	}
	a.expect(t, "ok")
	if err := j.Lock(false); !errors.Is(err, ErrLocked) {
		t.Errorf("the child's lock: %v", err)
	}

	// A kill frees it, for one who waits and for one who asks later.
	b.tell(t, "wait")
	b.await(t, "waited", b.waits)
	a.kill()
	b.expect(t, "ok")
	b.kill()
	if err := j.Lock(true); err != nil {
		t.Error(err)
	}
}

// One who resets a journal has it locked, but those who serve from it are waited for.
func TestResetLocks(t *testing.T) {
	j := create(t)
	a, b := startChild(t, "lock", j), startChild(t, "reset", j)
	a.tell(t, "try")
	a.expect(t, "ok")
	snapshot(t, j, "serving")
	b.begin.Store(1)
	b.await(t, "waited", b.waits)
	expect(t, j, `"serving"`)
	a.tell(t, "unlock")
	a.expect(t, "ok")
	b.await(t, "reset the journal", func() bool { return b.end.Load() != 0 })

	second, err := Reset(j.FD(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	a.tell(t, "try")
	a.expect(t, "locked")
}

func TestLockOfNoFile(t *testing.T) {
	j := create(t)
	bad := *j
	bad.fd = -1
	if err := errors.Join(bad.Lock(true), bad.Unlock()); !errors.Is(err, unix.EBADF) {
		t.Error(err)
	}
}

func TestLocked(t *testing.T) {
	j := create(t)
	other := startChild(t, "lock", j)
	is := func(want bool) {
		t.Helper()
		if got, err := Locked(j.FD()); got != want || err != nil {
			t.Errorf("locked by another: %t, %v, want %t", got, err, want)
		}
	}
	is(false)
	other.tell(t, "try")
	other.expect(t, "ok")
	is(true)
	other.tell(t, "unlock")
	other.expect(t, "ok")
	if err := j.Lock(false); err != nil {
		t.Fatal(err)
	}
	is(false) // our own
	if err := LockKeeper(j.FD()); err != nil {
		t.Fatal(err)
	}
	other.tell(t, "keep")
	other.expect(t, "locked")
	other.tell(t, "try")
	other.expect(t, "locked")
	if err := j.Unlock(); err != nil {
		t.Fatal(err)
	}
	other.tell(t, "keep") // that is for as long as the process lives
	other.expect(t, "locked")
	other.tell(t, "try")
	other.expect(t, "ok")
}
