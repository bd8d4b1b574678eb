package bridge

import (
	"fmt"
	"testing"
	"time"
)

// TestIntegrationRecall: what nobody uses goes to whoever comes to wait, within 20 ms, and the next offer comes later each
// time. With one token others wait, with four they have less.
func TestIntegrationRecall(t *testing.T) {
	for _, jobs := range []int{1, 4} {
		t.Run(fmt.Sprint(jobs), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, jobs)
			b, _ := open(t, m)
			newClient(t, b)
			eventually(t, "it is seen", func() bool { return b.Stats().Opens == 1 })
			other := m.join()
			var recalls, pauses []time.Duration
			for range 8 {
				eventually(t, "an offer", func() bool { return m.free() == 0 })
				began := time.Now()
				if err := other.Take(); err != nil {
					t.Fatal(err)
				}
				recalls = append(recalls, time.Since(began))
				if err := other.Return(1); err != nil {
					t.Fatal(err)
				}
				began = time.Now()
				eventually(t, "the next offer", func() bool { return m.free() == 0 })
				pauses = append(pauses, time.Since(began))
			}
			t.Logf("recalled in %v; offers came after %v", recalls, pauses)
			for i, d := range recalls {
				if d > 20*time.Millisecond {
					t.Errorf("recall %d took %v", i, d)
				}
			}
			for i, d := range pauses {
				if want := min(maxPause, minPause<<i); d < want-5*time.Millisecond {
					t.Errorf("offer %d came after %v, want %v", i, d, want)
				}
			}
		})
	}
}

// TestTakenOfferEndsBackOff: a client that takes a token gets the next ones soon.
func TestTakenOfferEndsBackOff(t *testing.T) {
	m := newMachine(t, 1)
	b, _ := open(t, m)
	c := newClient(t, b)
	other := m.join()
	for range 5 { // up to a pause of 320 ms
		eventually(t, "an offer", func() bool { return m.free() == 0 })
		if err := other.Take(); err != nil {
			t.Fatal(err)
		}
		if err := other.Return(1); err != nil {
			t.Fatal(err)
		}
	}
	c.take()
	c.put(1)
	if err := other.Take(); err != nil {
		t.Fatal(err)
	}
	if err := other.Return(1); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.take()
	if d := time.Since(began); d > 160*time.Millisecond {
		t.Errorf("the next token came after %v", d)
	}
	c.put(1)
}

// TestHungryIsACandidate: a client that waits gets its token when others return theirs, though others wait as well.
func TestHungryIsACandidate(t *testing.T) {
	m := newMachine(t, 2)
	b, _ := open(t, m)
	rich := m.join()
	for range 2 {
		if err := rich.Take(); err != nil {
			t.Fatal(err)
		}
	}
	go func() { // it always waits for one more
		for rich.Take() == nil {
		}
	}()
	c := newClient(t, b)
	taken := make(chan struct{})
	go func() {
		c.take()
		close(taken)
	}()
	for got := false; !got; {
		if err := rich.Return(1); err != nil {
			t.Fatal(err)
		}
		select {
		case <-taken:
			got = true
		case <-time.After(time.Millisecond):
		}
	}
	c.put(1)
}

// TestHoarder: a client that returns a token and at once takes one, as ninja does, shares with one that comes later.
func TestHoarder(t *testing.T) {
	const jobs = 8
	m := newMachine(t, jobs)
	b, server := open(t, m)
	cmd := startChild(t, "ninja", b.Jobserver().Path, "10ms")
	eventually(t, "all tokens in use", func() bool { return b.Stats().InUse == jobs })
	newcomer := m.join()
	began := time.Now()
	for range jobs / 2 {
		if err := newcomer.Take(); err != nil {
			t.Fatal(err)
		}
		t.Logf("a token after %v", time.Since(began))
	}
	if n := server.held(); n != jobs/2 {
		t.Errorf("%d tokens held by the bridge", n)
	}
	s := b.Stats()
	t.Logf("%+v", s)
	if err := newcomer.Return(jobs / 2); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all tokens in use", func() bool { return b.Stats().InUse == jobs })
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, "the tokens of the killed client", func() bool { return b.Stats().InUse == 0 })
	if s := b.Stats(); s.Restored == 0 {
		t.Errorf("none restored: %+v", s)
	}
}

// TestIntegrationThreeIdleOneHungry: of four bridges three have clients that take one token at the start and then nothing.
func TestIntegrationThreeIdleOneHungry(t *testing.T) {
	m := newMachine(t, 4)
	var idle []*Bridge
	for range 3 {
		b, _ := open(t, m)
		c := newClient(t, b)
		c.take()
		c.put(1)
		idle = append(idle, b)
	}
	b, server := open(t, m)
	c := newClient(t, b)
	for i := range 4 {
		began := time.Now()
		c.take()
		t.Logf("token %d after %v", i, time.Since(began))
	}
	if n := server.held(); n != 4 {
		t.Errorf("%d tokens held", n)
	}
	var before []Stats
	eventually(t, "nothing but waiting", func() bool {
		before = before[:0]
		for _, b := range idle {
			before = append(before, b.Stats())
		}
		time.Sleep(2 * maxPause) // what is measured
		for i, b := range idle {
			if b.Stats() != before[i] {
				return false
			}
		}
		return m.waiters() == 1 // the one that has all
	})
	c.put(4)
}

// openDescriptors returns a client of the descriptors: what reads, and what writes.
func openDescriptors(t testing.TB, b *Bridge) (r, w *client) {
	t.Helper()
	files, _, err := b.Jobserver().Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	return &client{t, int(files[0].Fd())}, &client{t, int(files[1].Fd())}
}

// TestBothPorts: a token that lies in one port goes to the other, where a client waits, without the server.
func TestBothPorts(t *testing.T) {
	for jobs := range 3 {
		m := newMachine(t, jobs+1)
		b, server := open(t, m)
		r, w := openDescriptors(t, b)
		eventually(t, "an offer", func() bool { return b.Stats().Idle == jobs+1 })
		c := newClient(t, b)
		for range 3 {
			for range jobs + 1 {
				c.take()
			}
			c.put(jobs + 1)
			for range jobs + 1 {
				r.take()
			}
			w.put(jobs + 1)
		}
		eventually(t, "nothing in use", func() bool { return b.Stats().InUse == 0 })
		if s := b.Stats(); s.Surplus != 0 || server.held() != jobs+1 {
			t.Errorf("%d held, %+v", server.held(), s)
		}
	}
}

// TestDescriptorsShare: what comes back by a descriptor goes to somebody who has less.
func TestDescriptorsShare(t *testing.T) {
	m := newMachine(t, 4)
	b, server := open(t, m)
	r, w := openDescriptors(t, b)
	for range 4 {
		r.take()
	}
	newcomer := m.join()
	for range 2 {
		w.put(1)
		if err := newcomer.Take(); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.held(); n != 2 {
		t.Errorf("%d tokens held", n)
	}
	w.put(2)
	eventually(t, "nothing in use", func() bool { return b.Stats().InUse == 0 })
}

// BenchmarkPair takes a token and returns it, in a client that waits for it, beside others that lie there.
func BenchmarkPair(b *testing.B) {
	pair := func(b *testing.B, c *client) {
		for b.Loop() {
			c.take()
			c.put(1)
		}
	}
	b.Run("fifo", func(b *testing.B) {
		f, err := makeFIFO(b.TempDir(), "fifo")
		if err != nil {
			b.Fatal(err)
		}
		defer f.close()
		f.put(4)
		pair(b, &client{b, f.fd})
	})
	b.Run("bridge", func(b *testing.B) {
		m := newMachine(b, 4)
		br, _ := open(b, m)
		c := newClient(b, br)
		eventually(b, "an offer", func() bool { return m.free() == 0 })
		pair(b, c)
	})
	b.Run("last", func(b *testing.B) {
		m := newMachine(b, 1)
		br, _ := open(b, m)
		pair(b, newClient(b, br))
	})
	b.Run("descriptors", func(b *testing.B) {
		m := newMachine(b, 1)
		br, _ := open(b, m)
		r, w := openDescriptors(b, br)
		for b.Loop() {
			r.take()
			w.put(1)
		}
	})
}
