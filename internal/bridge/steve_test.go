package bridge

import (
	"context"
	"os"
	"testing"
	"time"

	"steve/internal/ctl"
	"steve/internal/testkit/need"
	"steve/internal/testkit/steved"
)

// startSteve starts a real steve, and returns it with a bridge to it.
func startSteve(t testing.TB, jobs string) (*steved.Steve, *Bridge) {
	t.Helper()
	need.Root(t)
	need.FUSE(t)
	program, err := steved.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := steved.Start(program, "-j", jobs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	conn, err := ctl.Open(s.Path) // not closed: a call of Relay remains
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(conn, Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if held := holders(t, s); len(held) != 0 {
			t.Errorf("held after the end of the bridge: %v", held)
		}
	})
	return s, b
}

// holders is who holds how many tokens.
func holders(t testing.TB, s *steved.Steve) map[int]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	held, err := s.Holders(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// TestIntegrationSteve: a bridge to a real steve takes, is told that others wait, and that they have less.
func TestIntegrationSteve(t *testing.T) {
	const jobs = 4
	s, b := startSteve(t, "4")
	c := newClient(t, b)
	for range jobs {
		c.take()
	}
	c.put(jobs)
	eventually(t, "all tokens idle", func() bool { return b.Stats().Idle == jobs })
	began := time.Now()
	other := startChild(t, "killed", s.Path, "1", "wait")
	t.Logf("a token for another process after %v, its start included", time.Since(began))
	for range jobs - 1 {
		c.take()
	}
	if held := holders(t, s); held[other.Process.Pid] != 1 || held[os.Getpid()] != jobs-1 {
		t.Errorf("%v", held)
	}
	_, ready := launchChild(t, "killed", s.Path, "1", "wait")
	eventually(t, "a token for one that has less", func() bool {
		c.put(1)
		c.try()
		select {
		case err := <-ready:
			return err == nil
		default:
			return false
		}
	})
	t.Logf("%+v", b.Stats())
}

// BenchmarkSteve takes the only token and returns it: by the token file, and by a bridge.
func BenchmarkSteve(b *testing.B) {
	s, br := startSteve(b, "1")
	b.Run("token file", func(b *testing.B) {
		conn, err := ctl.Open(s.Path)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		for b.Loop() {
			if err := conn.Take(); err != nil {
				b.Fatal(err)
			}
			if err := conn.Return(1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bridge", func(b *testing.B) {
		c := newClient(b, br)
		for b.Loop() {
			c.take()
			c.put(1)
		}
	})
}
