package embed

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// serving is the process id of the server in dir, or 0.
func serving(t *testing.T, dir string) int {
	t.Helper()
	at, err := openPlace(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer at.close()
	c, err := at.dial()
	if err != nil {
		t.Fatal(err)
	}
	if c == nil {
		return 0
	}
	defer c.Close()
	return c.peer
}

// theServer waits until one of the members serves, and returns its index.
func theServer(t *testing.T, dir string, members []*member) (i int) {
	t.Helper()
	await(t, "one serves", func() bool {
		pid := serving(t, dir)
		i = slices.IndexFunc(members, func(m *member) bool { return m.pid == pid })
		return i >= 0
	})
	return i
}

// startAll starts that many members at once.
func startAll(t *testing.T, dir string, jobs, n int) []*member {
	t.Helper()
	members := make([]*member, n)
	var all sync.WaitGroup
	for i := range members {
		all.Go(func() { members[i] = start(t, dir, jobs) })
	}
	all.Wait()
	if t.Failed() || slices.Contains(members, nil) {
		t.FailNow()
	}
	return members
}

// checkWhole fails the test unless all tokens of the pool are free, in the locks and in the ledger.
func checkWhole(t *testing.T, dir string, jobs int) {
	t.Helper()
	p := join(t, dir, jobs+1)
	await(t, "all tokens are back", func() bool { s := statusOf(t, p); return s.Free == p.Jobs() && s.Held == 0 })
	if n := p.locks.out(); n != 0 {
		t.Errorf("%d tokens are out", n)
	}
	within(t, "taking all", func() {
		for range p.Jobs() {
			if err := p.Take(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if err := p.Return(p.Jobs()); err != nil {
		t.Error(err)
	}
}

// Twenty processes of one user take and return by all three ways, and whichever serves is killed, again and again.
func TestIntegrationServersKilled(t *testing.T) {
	const jobs, count, kills = 4, 20, 40
	dir := t.TempDir()
	members := startAll(t, dir, jobs, count)
	for _, m := range members {
		m.do("work", "done")
	}
	for range kills {
		i := theServer(t, dir, members)
		members[i].kill()
		startAndKill(t, dir, jobs)
		members[i] = start(t, dir, jobs)
		members[i].do("work", "done")
		// Whoever survived goes on.
		members[(i+1)%count].do("progress", "done")
	}
	for _, m := range members {
		m.do("progress", "done")
	}
	// A run with another -j joins what is there.
	p := join(t, dir, 7)
	if p.Jobs() != jobs {
		t.Errorf("a pool of %d became one of %d", jobs, p.Jobs())
	}
	p.Close()
	for _, m := range members {
		m.kill()
	}
	checkWhole(t, dir, jobs)
}

// Members hold tokens, wait, or do nothing when the server is killed.
func TestIntegrationOutstanding(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, 2)
	holder, taker, nester, relay := start(t, dir, 2), start(t, dir, 2), start(t, dir, 2), start(t, dir, 2)
	waiters := []*member{taker, nester, relay}
	holder.do("take", "done")
	holder.do("take", "done")
	taker.say("take")
	nester.say("nest")
	relay.say("relay")
	s.kill()
	// Each is answered by the new server, behind whatever it asked before.
	for _, m := range waiters {
		m.do("status", "2 0 2")
	}
	holder.do("return 2", "done")
	granted := map[*member]string{taker: "take done", nester: "nest false", relay: "relay 1"}
	got := func() *member {
		select {
		case line := <-taker.lines:
			check(t, line, granted[taker])
			return taker
		case line := <-nester.lines:
			check(t, line, granted[nester])
			return nester
		case line := <-relay.lines:
			check(t, line, granted[relay])
			return relay
		case <-time.After(patience):
			t.Fatal("nobody is given what is free")
		}
		return nil
	}
	first, second := got(), got()
	holder.do("status", "2 0 2")
	first.do("return 1", "done")
	third := got()
	second.do("return 1", "done")
	third.do("return 1", "done")
	holder.do("status", "0 2 2")
}

func check(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A member that is stopped while the server changes keeps its token, until it returns it or dies.
func TestIntegrationStopped(t *testing.T) {
	for _, end := range []string{"return", "kill"} {
		t.Run(end, func(t *testing.T) {
			dir := t.TempDir()
			s := start(t, dir, 2)
			stopped, b, c := start(t, dir, 2), start(t, dir, 2), start(t, dir, 2)
			stopped.do("take", "done")
			stopped.stop()
			s.kill()
			b.do("status", "1 1 2")
			b.do("take", "done")
			c.say("take")
			c.do("status", "2 0 2")
			// Several looks at the others later it still has the token.
			time.Sleep(4 * recheck)
			c.silent("both tokens are out")
			if end == "kill" {
				stopped.kill()
			} else {
				stopped.resume()
				stopped.do("return 1", "done")
			}
			c.expect("take done")
			b.do("return 1", "done")
			c.do("return 1", "done")
			await(t, "all are back", func() bool {
				b.say("status")
				return b.hear() == "status 0 2 2"
			})
		})
	}
}

// A server that is about to be stopped hands over, and is no hindrance. A stopped member that serves nothing is none.
func TestIntegrationPaused(t *testing.T) {
	dir := t.TempDir()
	a, b := start(t, dir, 1), start(t, dir, 1)
	a.do("take", "done")
	for _, m := range []*member{a, b} {
		m.do("pause", "done")
		m.stop()
		other := a
		if m == a {
			other = b
		}
		other.do("status", "1 0 1")
		if serving(t, dir) != other.pid {
			t.Error("the one that is left does not serve")
		}
		m.resume()
		m.do("resume", "done")
		m.do("status", "1 0 1")
	}
	b.do("pause", "done")
	a.kill()
	b.say("take") // waits: there is no server
	b.do("resume", "done")
	b.expect("take done")
}

// Members without a token keep the size of a pool.
func TestIntegrationSizeKept(t *testing.T) {
	dir := t.TempDir()
	s, m := start(t, dir, 3), start(t, dir, 3)
	m.stop() // so that a newcomer serves
	s.kill()
	p := join(t, dir, 8)
	if p.Jobs() != 3 || !p.serving() {
		t.Errorf("%d jobs, serving %t", p.Jobs(), p.serving())
	}
	m.resume()
	m.do("status", "0 3 3")
}

// A process in the slot of its ancestor stays there when the server is killed, and gives up no more than that.
func TestIntegrationNested(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, 1)
	outer, inner := startParent(t, dir, 1, 2)
	outer.do("take", "done")
	for i, m := range inner {
		outer.do([]string{"child 0", "child 1"}[i], "done")
		m.expectJoined(1)
	}
	inner[0].do("nest", "true")
	s.kill()
	for _, m := range append(inner, outer) { // until all of them are clients of the new server
		m.do("status", "1 0 1")
	}
	inner[0].do("leave", "done")
	inner[1].do("nest", "true")
	inner[1].do("leave", "done")
	outer.do("return 1", "done")
	await(t, "the token is back", func() bool {
		outer.say("status")
		return outer.hear() == "status 0 1 1"
	})
}

// Those who wait for a slot do not get the one that is in use, were they the first to find the next server.
func TestIntegrationNestedWaits(t *testing.T) {
	const kills = 15
	dir := t.TempDir()
	s := start(t, dir, 1)
	outer, inner := startParent(t, dir, 1, 2)
	outer.do("take", "done")
	for i, m := range inner {
		outer.do([]string{"child 0", "child 1"}[i], "done")
		m.expectJoined(1)
	}
	inner[0].do("nest", "true")
	inner[1].say("nest")
	for range kills {
		all := append(inner, outer)
		next := start(t, dir, 1)
		for _, m := range all {
			m.do("status", "1 0 1")
		}
		for _, m := range all { // so that the next server is one that can be killed
			m.stop()
		}
		s.kill()
		s = next
		s.do("status", "1 0 1")
		for _, m := range all {
			m.resume()
		}
		await(t, "the one waits for the other", func() bool {
			inner[1].say("waiters")
			line := inner[1].hear()
			if line == "nest true" {
				t.Fatal("the slot is in use")
			}
			return line == "waiters 1"
		})
	}
	inner[0].do("leave", "done")
	inner[1].expect("nest true")
}

// A client that closes keeps its tokens, though it is none any more.
func TestIntegrationTokensKept(t *testing.T) {
	p := join(t, t.TempDir(), 1)
	m := start(t, p.place.dir, 1)
	m.do("take", "done")
	m.do("close", "done")
	await(t, "it has hung up", func() (alone bool) {
		p.served.broker.Inspect(func(*pool.Pool) { alone = len(p.served.peers) == 1 })
		return alone
	})
	if s := statusOf(t, p); s.Held != 1 || s.Free != 0 {
		t.Errorf("status %+v", s)
	}
	m.kill()
	within(t, "taking what is back", func() {
		if err := p.Take(); err != nil {
			t.Error(err)
		}
	})
}

// A member that was granted a token of which there is no more waits on, and there is no to and fro about it.
func TestIntegrationLost(t *testing.T) {
	p := join(t, t.TempDir(), 1)
	m := start(t, p.place.dir, 1)
	if ok, err := p.locks.take(1); !ok || err != nil { // behind the server's back
		t.Fatal(ok, err)
	}
	m.say("take")
	await(t, "it has found that out", func() bool { s := statusOf(t, p); return s.Held == 1 && s.Waiters == 1 })
	for range 1000 {
		if s := statusOf(t, p); s.Held != 1 || s.Waiters != 1 {
			t.Fatalf("status %+v", s)
		}
	}
	if err := p.locks.giveBack(1); err != nil {
		t.Fatal(err)
	}
	m.expect("take done")
	m.do("return 1", "done")
}

// A server that closes hands over without a word, and the last one cleans up.
func TestIntegrationClose(t *testing.T) {
	dir := t.TempDir()
	s, m := start(t, dir, 1), start(t, dir, 1)
	m.do("take", "done")
	s.do("close", "done")
	m.do("status", "1 0 1")
	m.do("return 1", "done")
	if serving(t, dir) != m.pid {
		t.Error("the one that is left does not serve")
	}
	m.do("close", "done")
	if _, err := os.Stat(filepath.Join(dir, socketName)); !os.IsNotExist(err) {
		t.Errorf("the last one left the socket: %v", err)
	}
}

// A process of another user is refused, were the directory as open as may be.
func TestIntegrationOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir := t.TempDir()
	p := join(t, dir, 1)
	for path, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o755, filepath.Join(dir, socketName): 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan answer)
	go func() {
		defer close(got)
		runtime.LockOSThread() // for good: the thread is another user's from now on, and ends with the goroutine
		const nobody = 65534
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), nobody, ^uintptr(0)); errno != 0 {
			t.Error(errno)
			return
		}
		c, err := p.place.dial()
		if c == nil {
			t.Error("not connected: ", err)
			return
		}
		defer c.Close()
		c.send(request{kind: hello})
		a, _ := c.receive()
		if _, err := c.receive(); err == nil {
			t.Error("the connection goes on")
		}
		got <- a
	}()
	if a := <-got; a.kind != refused {
		t.Errorf("answered %v", a)
	}
	statusOf(t, p)
}

// How long the members of a pool are without a server. For the record; that it ends at all is what is tested.
func TestIntegrationPause(t *testing.T) {
	const jobs, count, kills = 4, 20, 30
	dir := t.TempDir()
	members := startAll(t, dir, jobs, count)
	var one, all []time.Duration
	for range kills {
		i := theServer(t, dir, members)
		killed := time.Now()
		members[i].kill()
		for j, m := range members {
			if j != i {
				m.say("status")
			}
		}
		first := true
		for j, m := range members {
			if j != i {
				m.expect("status 0 4 4")
				if first {
					first = false
					one = append(one, time.Since(killed))
				}
			}
		}
		all = append(all, time.Since(killed))
		members[i] = start(t, dir, jobs)
	}
	for name, d := range map[string][]time.Duration{"one member": one, "all 19 members": all} {
		slices.Sort(d)
		t.Logf("from the kill to an answer of the next server to %s: p50 %v, max %v", name, d[len(d)/2], d[len(d)-1])
	}
}

// A server that is stopped (SIGSTOP), and reads nothing, keeps nobody from giving back or leaving, however much was asked.
func TestIntegrationDeafServer(t *testing.T) {
	dir := t.TempDir()
	server := start(t, dir, 2)
	p := join(t, dir, 2)
	if err := p.Take(); err != nil {
		t.Fatal(err)
	}
	server.stop()
	defer server.resume()
	const calls = 1000 // more than a socket has room for
	done := make(chan error, calls)
	for range calls {
		go func() {
			_, err := p.Relay(ctl.RelayAsk{})
			done <- err
		}()
	}
	within(t, "all have asked", func() {
		await(t, "all have asked", func() bool { return p.pending(relay) == calls })
	})
	within(t, "a return", func() {
		if err := p.Return(1); err != nil {
			t.Error(err)
		}
	})
	within(t, "the end", func() {
		p.Close()
		for range calls {
			if err := <-done; err != ErrClosed {
				t.Error(err)
			}
		}
	})
}
