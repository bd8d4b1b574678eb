package torture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// A fifo is a server that needs no privileges and does what a test wants: it loses and mints tokens.
type fifo struct {
	t    *testing.T
	file *os.File
}

func newFIFO(t *testing.T) fifo {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return fifo{t, file}
}

// mint puts n tokens in.
func (f fifo) mint(n int) {
	f.t.Helper()
	if _, err := f.file.Write(make([]byte, n)); err != nil {
		f.t.Fatal(err)
	}
}

// lose takes n tokens out.
func (f fifo) lose(n int) {
	f.t.Helper()
	for range n {
		if _, err := f.file.Read(make([]byte, 1)); err != nil {
			f.t.Fatal(err)
		}
	}
}

// status has as held what is not there.
func (f fifo) status() (ctl.Status, error) {
	raw, err := f.file.SyscallConn()
	if err != nil {
		return ctl.Status{}, err
	}
	s := ctl.Status{Limits: pool.Limits{Jobs: most}}
	errControl := raw.Control(func(fd uintptr) { s.Free, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	if s.Held = most - s.Free; s.Held != 0 {
		s.Holders = 1
	}
	if err == nil {
		err = errControl
	}
	return s, err
}

// onFIFO is a crowd of clients that need no more than a FIFO has.
func onFIFO(t *testing.T, f fifo, clients ...string) *crowd {
	t.Helper()
	c := newCrowd(t, f.file.Name(), seed(t), func() {})
	c.join(clients...)
	return c
}

// A server that does nothing wrong.
func TestSound(t *testing.T) {
	t.Parallel()
	f := newFIFO(t)
	f.mint(most)
	c := onFIFO(t, f, "blocking", "polling", "polling", "retrying", "two threads", "several", "fleeting")
	if err := c.getOn(20); err != nil {
		t.Fatal(err)
	}
	if err := c.finish(); err != nil {
		t.Fatal(err)
	}
	if err := c.whole(f.status); err != nil {
		t.Error(err)
	}
}

// awaits waits until nothing is left for the thread on a lane, which waits for its request to be answered.
func (c *crowd) awaits(at int, what request) {
	c.t.Helper()
	l := &c.board.lanes[at]
	err := c.until("wait of a client", limit, func() bool {
		asked := l.asked.Load()
		return asked != 0 && request(l.what.Load()) == what && now()-asked > int64(100*time.Millisecond)
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// fails fails the test unless err says what it should.
func fails(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v; want one with %q", err, word)
		}
	}
}

func TestMinted(t *testing.T) {
	t.Parallel()
	f := newFIFO(t)
	f.mint(most + 2)
	c := onFIFO(t, f, "several", "several", "several", "several")
	if err := c.until("too many jobs", limit, func() bool { return c.slots.Peak(t) > most }); err != nil {
		t.Fatal(err)
	}
	if err := c.finish(); err != nil {
		t.Fatal(err)
	}
	c.impatience = 20
	fails(t, c.whole(f.status), "no return of all tokens", "jobs at one time with at most 6 tokens")
}

func TestLost(t *testing.T) {
	t.Parallel()
	f := newFIFO(t)
	f.mint(most)
	c := onFIFO(t, f, "blocking", "blocking", "polling")
	if err := c.getOn(5); err != nil {
		t.Fatal(err)
	}
	f.lose(1)
	if err := c.getOn(5); err != nil {
		t.Fatal(err)
	}
	if err := c.finish(); err != nil {
		t.Fatal(err)
	}
	c.impatience = 20
	fails(t, c.whole(f.status), "no return of all tokens", "Held:1")
}

// A dead client's tokens that do not come back.
func TestNotReclaimed(t *testing.T) {
	t.Parallel()
	f := newFIFO(t)
	f.mint(most)
	c := onFIFO(t, f, "bereaved")
	c.awaits(1, read)
	c.impatience = 20
	fails(t, c.getOn(1), "bereaved is stuck", "lane 1, in read")
}

func TestStuck(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"blocking", "polling", "several", "two threads"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFIFO(t)
			f.mint(1)
			c := onFIFO(t, f, name)
			if err := c.getOn(2); err != nil {
				t.Fatal(err)
			}
			f.lose(1)
			waits := read
			if name == "polling" {
				waits = poll
			}
			c.awaits(0, waits)
			c.impatience = 20
			fails(t, c.getOn(2), name+" is stuck", "in "+waits.String(), "system call")
		})
	}
}

func TestDoesNotEnd(t *testing.T) {
	t.Parallel()
	f := newFIFO(t)
	c := onFIFO(t, f, "blocking")
	c.awaits(0, read)
	c.impatience = 20
	fails(t, c.finish(), "blocking does not end", "in read")
}

// Whatever a client is told that is no token, it says so.
func TestClientError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ client, path, want string }{
		{"blocking", empty, "read: end of file"},
		{"blocking", "/dev/full", "write: no space left on device"},
		{"several", "/dev/full", "write: no space left on device"},
		{"retrying", dir, "open: is a directory"},
		{"relay", empty, "open: " + empty + ": not a steve token file"},
	}
	for _, tt := range tests {
		t.Run(tt.client+" "+tt.path, func(t *testing.T) {
			c := newCrowd(t, tt.path, seed(t), func() {})
			c.join(tt.client)
			fails(t, c.getOn(1), "client "+tt.client+" has ended", tt.want)
		})
	}
}

// EIO ends the client with a status of its own, and another takes its place only where that can be.
func TestEIO(t *testing.T) {
	t.Parallel()
	const path = "/proc/self/mem" // nothing is mapped at its beginning
	c := newCrowd(t, path, seed(t), func() {})
	c.join("blocking")
	fails(t, c.getOn(1), "client blocking has ended: exit status 3")

	c = newCrowd(t, path, seed(t), func() {})
	c.bearsEIO = true
	c.join("blocking")
	if err := c.until("second EIO", limit, func() bool { return c.eio >= 2 }); err != nil {
		t.Fatal(err)
	}
}

// The server is killed once each time it is armed, by one who comes at the right moment.
func TestStrike(t *testing.T) {
	t.Parallel()
	b, _ := newBoard(t)
	if err := b.strike(anytime); err != nil {
		t.Fatalf("with nothing armed: %v", err)
	}
	f := newFIFO(t)
	f.mint(1)
	c := onFIFO(t, f, "blocking")
	victim := c.members[0]
	b.arm(victim.Process.Process.Pid, release)
	if err := b.strike(death); err != nil || b.armed.Load() == 0 {
		t.Fatalf("at the wrong moment: %v, armed %d", err, b.armed.Load())
	}
	before := now()
	if err := b.strike(release); err != nil {
		t.Fatal(err)
	}
	victim.AwaitEnd(t)
	if struck, ended := b.struck.Load(), b.ended.Load(); struck < before || ended < struck || ended > now() {
		t.Errorf("struck at %d, ended at %d; begun at %d", struck, ended, before)
	}
	if b.hasServed() {
		t.Error("served, though nobody has asked")
	}
	if err := b.ask(&b.lanes[0], read, func() error { return nil }); err != nil || !b.hasServed() {
		t.Errorf("%v, served %v", err, b.hasServed())
	}
	if err := b.strikeNow(); err != nil {
		t.Errorf("once more: %v", err)
	}
}

func TestPauses(t *testing.T) {
	var p pauses
	for i := range 200 {
		p = append(p, time.Duration(200-i)*time.Millisecond)
	}
	if got, want := p.String(), "200 pauses: p50 101ms, p99 199ms, max 200ms"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
