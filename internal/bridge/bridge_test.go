package bridge

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
)

// deadline is how long anything may take on a busy machine that is not itself about time.
const deadline = 20 * time.Second

// childVar makes the test binary one of children, in tests that need clients which are processes.
const childVar = "STEVE_BRIDGE_TEST"

func TestMain(m *testing.M) {
	if helper := Helper(os.Args[1:]); helper != nil {
		if err := helper(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if name := os.Getenv(childVar); name != "" {
		if err := children[name](os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	need.DefaultSignals()
	os.Exit(m.Run())
}

// open makes a bridge to a server of its own client.
func open(t testing.TB, m *machine) (*Bridge, *member) {
	t.Helper()
	c := m.join()
	b, err := New(c, Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if n := c.held(); n != 0 {
			t.Errorf("%d tokens held after the end of the bridge", n)
		}
		if _, err := os.Stat(b.Dir()); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", b.Dir(), err)
		}
	})
	return b, c
}

// A client has a FIFO open like a program with a jobserver.
type client struct {
	t  testing.TB
	fd int
}

func newClient(t testing.TB, b *Bridge) *client {
	t.Helper()
	fd, err := unix.Open(b.Jobserver().Path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t, fd}
	t.Cleanup(c.close)
	return c
}

func (c *client) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

// try takes a token if there is one, as ninja does.
func (c *client) try() bool {
	var b [1]byte
	n, err := unix.Read(c.fd, b[:])
	return n == 1 && err == nil
}

// take waits for a token as make does.
func (c *client) take() {
	c.t.Helper()
	if !c.takeWithin(deadline) {
		c.t.Fatal("no token")
	}
}

func (c *client) takeWithin(d time.Duration) bool {
	c.t.Helper()
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left < 0 {
			return false
		}
		unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, int(left/time.Millisecond)+1)
		if c.try() {
			return true
		}
	}
}

func (c *client) put(n int) {
	c.t.Helper()
	for range n {
		if _, err := unix.Write(c.fd, []byte{'+'}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what)
		}
	}
}

// TestFirstOffer: it is there before anybody has the FIFO open, and after, for clients that look only once. Others can have
// it at any time.
func TestFirstOffer(t *testing.T) {
	m := newMachine(t, 4)
	b, _ := open(t, m)
	drain := func() {
		t.Helper()
		c := newClient(t, b)
		for i := range 4 {
			if !c.try() {
				t.Fatalf("%d tokens on offer", i)
			}
		}
		c.close() // and with it goes what it has
	}
	drain()
	eventually(t, "a new offer", func() bool { s := b.Stats(); return s.Restored == 4 && s.Idle == 4 })
	drain()
	eventually(t, "a new offer", func() bool { s := b.Stats(); return s.Restored == 8 && s.Idle == 4 })
	for range 4 {
		if err := m.join().Take(); err != nil {
			t.Fatal(err)
		}
	}
	if c := newClient(t, b); c.try() {
		t.Error("a fifth token")
	}
}

func TestTakeAndReturn(t *testing.T) {
	m := newMachine(t, 4)
	b, server := open(t, m)
	c := newClient(t, b)
	for range 4 {
		c.take()
	}
	if c.takeWithin(20 * time.Millisecond) {
		t.Fatal("a fifth token")
	}
	c.put(4)
	eventually(t, "the tokens idle", func() bool { return b.Stats().Idle == 4 })
	if n := server.held(); n != 4 {
		t.Errorf("%d tokens held", n)
	}
}

// TestManyReturns: pages of a pipe that never runs empty are used up by single bytes, unless there are several.
func TestManyReturns(t *testing.T) {
	m := newMachine(t, 4)
	b, _ := open(t, m)
	c := newClient(t, b)
	eventually(t, "an offer", func() bool { return m.free() == 0 })
	for range 3 {
		c.take()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20000 {
			c.put(1)
			c.take()
		}
	}()
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatal("a write waits")
	}
	c.put(3)
}

func TestSurplus(t *testing.T) {
	m := newMachine(t, 2)
	b, server := open(t, m)
	c := newClient(t, b)
	c.take()
	c.put(4)
	eventually(t, "it swallowed", func() bool { return b.Stats().Surplus == 3 })
	for range 2 {
		c.take()
	}
	if c.takeWithin(50*time.Millisecond) || server.held() != 2 {
		t.Errorf("more than 2 tokens, %d held", server.held())
	}
	c.put(2)
}

// TestLender: a client that first returns a token, and takes it back in the end, finds it also if there is no other.
func TestLender(t *testing.T) {
	m := newMachine(t, 1)
	other := m.join()
	if err := other.Take(); err != nil {
		t.Fatal(err)
	}
	b, server := open(t, m)
	c := newClient(t, b)
	c.put(1)
	eventually(t, "a byte swallowed", func() bool { return b.Stats().Surplus == 1 })
	c.take()
	eventually(t, "a byte lent", func() bool { s := b.Stats(); return s.Surplus == 1 && s.Lent == 1 && s.InUse == 1 })
	if n := server.held(); n != 0 {
		t.Errorf("%d tokens held", n)
	}
	c.put(1)
	// A token takes the place of what was lent.
	if err := other.Return(1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the token", func() bool { return server.held() == 1 })
	c.take()
	if c.takeWithin(2 * lendDelay) {
		t.Error("a second token")
	}
	c.close()
	eventually(t, "the token restored", func() bool { s := b.Stats(); return s.InUse == 0 && s.Restored == 1 })
}

// TestReturnCancelsDemand: a byte that a client returns while the bridge waits for one ends that wait.
func TestReturnCancelsDemand(t *testing.T) {
	m := newMachine(t, 2)
	b, server := open(t, m)
	other := m.join()
	if err := other.Take(); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, b)
	c.take()
	eventually(t, "the demand", func() bool { return m.waiters() == 1 })
	c.put(1)
	eventually(t, "its end", func() bool { return m.waiters() == 0 })
	if n := server.held(); n != 1 {
		t.Errorf("%d tokens held", n)
	}
}

// TestServerStops: the build keeps what it has.
func TestServerStops(t *testing.T) {
	m := newMachine(t, 3)
	failed := make(chan error, 10)
	b, err := New(m.join(), Options{Dir: t.TempDir(), Failed: func(err error) { failed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, b)
	for range 3 {
		c.take()
	}
	m.stop()
	<-failed
	for range 100 {
		c.put(3)
		for range 3 {
			c.take()
		}
	}
	c.close()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if len(failed) != 0 {
		t.Error("failed more than once")
	}
}

// TestServerHangs: Close does not.
func TestServerHangs(t *testing.T) {
	b, err := New(hung{}, Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	newClient(t, b)
	if err := b.Close(); err == nil && b.Stats().Asks > 0 {
		t.Log("closed before it asked")
	}
	if _, err := os.Stat(b.Dir()); !os.IsNotExist(err) {
		t.Error("the directory is left")
	}
}

// TestSuspend: what no client uses is back when Suspend returns, and none comes before Resume.
func TestSuspend(t *testing.T) {
	m := newMachine(t, 4)
	b, server := open(t, m)
	c := newClient(t, b)
	c.take()
	eventually(t, "an offer", func() bool { return m.free() == 0 })
	b.Suspend()
	if n := server.held(); n != 1 {
		t.Errorf("%d tokens held", n)
	}
	if c.takeWithin(50 * time.Millisecond) {
		t.Error("a token")
	}
	b.Resume()
	c.take()
	c.put(2)
}
