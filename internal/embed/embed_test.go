package embed

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// patience is how long a test waits for what must come soon, on a machine as busy as may be.
const patience = time.Minute

// join joins a pool for the time of a test.
func join(t *testing.T, dir string, jobs int) *Pool {
	t.Helper()
	p, err := Join(dir, jobs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// within fails the test if f takes longer than patience.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s did not end", what)
	}
}

// await waits until condition holds.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func statusOf(t *testing.T, p *Pool) ctl.Status {
	t.Helper()
	s, err := p.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPoolOfOne(t *testing.T) {
	p := join(t, t.TempDir(), 2)
	if !p.serving() || p.Jobs() != 2 || p.Server() != os.Getpid() {
		t.Fatalf("serving %t, %d jobs, server %d", p.serving(), p.Jobs(), p.Server())
	}
	for range 2 {
		if err := p.Take(); err != nil {
			t.Fatal(err)
		}
	}
	if s := statusOf(t, p); s.Held != 2 || s.Free != 0 || s.Holders != 1 || s.Limits.Jobs != 2 {
		t.Errorf("status %+v after 2 were taken", s)
	}
	taken := make(chan error)
	go func() { taken <- p.Take() }()
	await(t, "the third waits", func() bool { return statusOf(t, p).Waiters == 1 })
	if err := p.Return(1); err != nil {
		t.Fatal(err)
	}
	within(t, "the third", func() {
		if err := <-taken; err != nil {
			t.Error(err)
		}
	})
	if err := p.Return(3); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("returning 3 of 2: %v", err)
	}
	if err := p.Return(2); err != nil {
		t.Fatal(err)
	}
	if s := statusOf(t, p); s.Held != 0 || s.Free != 2 {
		t.Errorf("status %+v after all were returned", s)
	}
	if err := p.Leave(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("leaving what was not shared: %v", err)
	}
}

func TestNestWithoutAncestorTakes(t *testing.T) {
	p := join(t, t.TempDir(), 1)
	if shared, err := p.Nest(); shared || err != nil {
		t.Fatalf("shared %t, %v", shared, err)
	}
	if s := statusOf(t, p); s.Held != 1 {
		t.Errorf("status %+v", s)
	}
	if err := p.Return(1); err != nil {
		t.Fatal(err)
	}
}

func TestRelay(t *testing.T) {
	p := join(t, t.TempDir(), 3)
	a, err := p.Relay(ctl.RelayAsk{Want: 2})
	if err != nil || a.Tokens != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	first := make(chan ctl.RelayAnswer, 1)
	go func() {
		a, _ := p.Relay(ctl.RelayAsk{})
		first <- a
	}()
	await(t, "the relay asks", func() bool { return p.pending(relay) == 1 })
	a, err = p.Relay(ctl.RelayAsk{Wait: true})
	if err != nil || a.Tokens != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	within(t, "the first", func() {
		if a := <-first; a != (ctl.RelayAnswer{}) {
			t.Errorf("withdrawn and answered %+v", a)
		}
	})
	if err := p.Return(3); err != nil {
		t.Fatal(err)
	}
}

// pending is the number of calls of a kind without an answer.
func (p *Pool) pending(k kind) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.request.kind == k {
			n++
		}
	}
	return n
}

func TestCloseEndsCalls(t *testing.T) {
	dir := t.TempDir()
	p := join(t, dir, 1)
	if err := p.Take(); err != nil {
		t.Fatal(err)
	}
	taken := make(chan error)
	go func() { taken <- p.Take() }()
	await(t, "somebody waits", func() bool { return p.pending(take) == 1 })
	p.Close()
	within(t, "the wait", func() {
		if err := <-taken; err != ErrClosed {
			t.Errorf("the wait ended with %v", err)
		}
	})
	if _, err := p.Status(); err != ErrClosed {
		t.Errorf("status after close: %v", err)
	}
	if _, err := Join(dir, 1); err == nil {
		t.Error("joined again with a token of the first time")
	}
	if _, err := os.Stat(filepath.Join(dir, socketName)); !os.IsNotExist(err) {
		t.Errorf("the last one left the socket: %v", err)
	}
}

func TestJoinAgain(t *testing.T) {
	dir := t.TempDir()
	for _, jobs := range []int{1, 3} {
		p, err := Join(dir, jobs)
		if err != nil {
			t.Fatal(err)
		}
		if p.Jobs() != jobs {
			t.Errorf("%d jobs, want %d: nobody was there to keep a size", p.Jobs(), jobs)
		}
		if _, err := Join(dir, 1); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("joined twice: %v", err)
		}
		p.Close()
	}
}

func TestPause(t *testing.T) {
	p := join(t, t.TempDir(), 1)
	if err := p.Take(); err != nil {
		t.Fatal(err)
	}
	p.Pause()
	if p.serving() {
		t.Error("serves in a pause")
	}
	asked := make(chan error)
	go func() {
		_, err := p.Status()
		asked <- err
	}()
	await(t, "the call waits", func() bool { return p.pending(status) == 1 })
	p.Resume()
	within(t, "the call", func() {
		if err := <-asked; err != nil {
			t.Error(err)
		}
	})
	if s := statusOf(t, p); s.Held != 1 || !p.serving() {
		t.Errorf("status %+v, serving %t", s, p.serving())
	}
	p.Pause()
	p.Close()
}

func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 200))
	p := join(t, dir, 1)
	if err := p.Take(); err != nil {
		t.Fatal(err)
	}
	if err := p.Return(1); err != nil {
		t.Fatal(err)
	}
}

func TestLeftovers(t *testing.T) {
	for _, test := range []struct {
		name  string
		plant func(dir string) error
		want  string // of an error
	}{
		{"garbage in the lock file", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, lockName), []byte("garbage"), 0o600)
		}, ""},
		{"a file in place of the socket", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, socketName), nil, 0o600)
		}, ""},
		{"a directory in place of the lock file", func(dir string) error {
			return os.Mkdir(filepath.Join(dir, lockName), 0o700)
		}, lockName},
		{"a directory in place of the socket", func(dir string) error {
			return os.Mkdir(filepath.Join(dir, socketName), 0o700)
		}, socketName},
		{"a link in place of the lock file", func(dir string) error {
			return os.Symlink("/etc/passwd", filepath.Join(dir, lockName))
		}, lockName},
		{"a FIFO in place of the lock file", func(dir string) error {
			return syscall.Mkfifo(filepath.Join(dir, lockName), 0o600)
		}, "remove it"},
		{"a directory others can write to", func(dir string) error { return os.Chmod(dir, 0o777) }, "remove it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := test.plant(dir); err != nil {
				t.Fatal(err)
			}
			p, err := Join(dir, 2)
			if err == nil {
				defer p.Close()
				if p.Jobs() != 2 || p.Take() != nil || p.Return(1) != nil {
					t.Error("the pool does not work")
				}
			}
			if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestJobsOutOfRange(t *testing.T) {
	for _, jobs := range []int{-1, 0, pool.MaxJobs + 1} {
		if _, err := Join(t.TempDir(), jobs); err == nil {
			t.Errorf("joined a pool of %d", jobs)
		}
	}
}

// A token taken and returned, from a server in this process and from one in another.
func BenchmarkTakeReturn(b *testing.B) {
	b.Run("server=here", func(b *testing.B) { benchmarkTakeReturn(b, b.TempDir()) })
	b.Run("server=other", func(b *testing.B) {
		dir := b.TempDir()
		start(b, dir, 2)
		benchmarkTakeReturn(b, dir)
	})
}

func benchmarkTakeReturn(b *testing.B, dir string) {
	p, err := Join(dir, 2)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	for b.Loop() {
		if err := p.Take(); err != nil {
			b.Fatal(err)
		}
		if err := p.Return(1); err != nil {
			b.Fatal(err)
		}
	}
}

// serving says whether this process serves the pool now.
func (p *Pool) serving() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served != nil
}
