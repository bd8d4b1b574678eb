package conform

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// signalCases are about reads that end by a signal, in every order of the two.
var signalCases = []testCase{
	{name: "signal ends a blocked read", run: testSignal, anybody: true},
	{name: "signal with SA_RESTART ends a blocked read", run: testSignalRestart},
	{name: "signal before the read is seen", run: testSignalBeforeRead},
	{name: "signal and token at once", run: testSignalAndToken},
	{name: "storm of signals", args: []string{"-j2"}, run: testSignalStorm},
	{name: "SIGKILL in a storm of signals", run: testKillInStorm},
	{name: "SIGKILL ends a blocked read", run: testKillBlocked, anybody: true},
	{name: "signals and reads without waiting", run: testSignalNonblock},
	{name: "signal ends a poll", run: testSignalPoll},
}

// empties makes the pool one without free tokens.
func empties(t *testing.T, s *server) (holder thread, fd int) {
	t.Helper()
	holder = newClient(t).on("")
	fd = holder.open(s.path, unix.O_RDWR)
	for range s.status().Free {
		holder.takes(fd)
	}
	return holder, fd
}

// catching starts a client that catches SIGUSR1.
func catching(t *testing.T, restart uintptr) *client {
	t.Helper()
	c := newClient(t)
	c.on("").op("catch", nil, uintptr(unix.SIGUSR1), restart).wait().is(t, "catch", 0, 0)
	return c
}

func testSignal(t *testing.T, s *server)        { signalEndsRead(t, s, 0) }
func testSignalRestart(t *testing.T, s *server) { signalEndsRead(t, s, 1) }

func signalEndsRead(t *testing.T, s *server, restart uintptr) {
	holder, h := empties(t, s)
	c := catching(t, restart)
	fd := c.on("").open(s.path, unix.O_RDWR)
	for range 5 {
		read := c.on("reader").blocks(fd)
		s.waiting(1)
		begin := time.Now()
		c.tgkill(read.tid, unix.SIGUSR1)
		read.fails(unix.EINTR)
		if took := time.Since(begin); took > soon() {
			t.Errorf("read ended %v after the signal", took)
		}
		s.waiting(0)
	}
	holder.gives(h, 1)
	s.has(0)
	c.on("reader").takes(fd)
	s.has(1)
}

// testSignalBeforeRead has the server find the INTERRUPT in the queue together with its READ.
func testSignalBeforeRead(t *testing.T, s *server) {
	c := catching(t, 0)
	fd := c.on("").open(s.path, unix.O_RDWR)
	for range 5 {
		s.freeze()
		read := c.on("reader").startRead(fd, 1).arrived()
		c.tgkill(read.tid, unix.SIGUSR1)
		s.thaw()
		switch r := read.wait(); {
		case r.errno == unix.EINTR: // a request that was still in the kernel's queue
			s.has(0)
		default:
			r.is(t, "read", 1, 0)
			s.has(1)
			c.on("").gives(fd, 1)
		}
	}
	holder, h := empties(t, s)
	s.freeze()
	read := c.on("reader").startRead(fd, 1).arrived()
	c.tgkill(read.tid, unix.SIGUSR1)
	s.thaw()
	read.fails(unix.EINTR)
	holder.gives(h, 1)
	s.has(0)
}

func testSignalAndToken(t *testing.T, s *server) {
	holder, h := empties(t, s)
	c := catching(t, 0)
	fd := c.on("").open(s.path, unix.O_RDWR)
	interrupted := 0
	for i := range 60 {
		read := c.on("reader").blocks(fd)
		s.waiting(1)
		if i%3 == 0 { // both in the server's queue
			s.freeze()
		}
		give := holder.sys("write", unix.SYS_WRITE, []memory{{Arg: 1, Data: []byte("+")}}, uintptr(h), 0, 1)
		c.tgkill(read.tid, unix.SIGUSR1)
		if i%3 == 0 {
			s.thaw()
		}
		give.wait().is(t, "write", 1, 0)
		switch r := read.wait(); {
		case r.errno == unix.EINTR:
			interrupted++
			s.has(0)
		default:
			r.is(t, "read", 1, 0)
			s.has(1)
			c.on("reader").gives(fd, 1)
		}
		holder.takes(h)
	}
	t.Logf("%d of 60 reads ended by the signal, the others with the token", interrupted)
}

// cycleResult is what opCycle counts.
func cycleResult(t *testing.T, p *pending) (tokens, interrupts, denials uint64) {
	t.Helper()
	r := p.wait()
	r.is(t, "take and return", 0, 0)
	n := func(i int) uint64 { return binary.NativeEndian.Uint64(r.mem[0][8*i:]) }
	return n(0), n(1), n(2)
}

// cycle begins to take and return tokens, times times or until stopCycles.
func (th thread) cycle(fd, times int, hold, pause time.Duration) *pending {
	th.t.Helper()
	return th.op("cycle", []memory{{Arg: 4, Size: 24}}, uintptr(fd), uintptr(times), uintptr(hold.Microseconds()), uintptr(pause.Microseconds()))
}

// stopCycles ends the cycles of a client once they have had a token or a signal more.
func (c *client) stopCycles() {
	c.t.Helper()
	const none = ^uintptr(0)
	c.on("stopper").op("cycle", []memory{{Arg: 4, Size: 24}}, none).wait()
}

// testSignalStorm is how the jobserver crate stops its helper: 100 signals, one in 10 ms, while tokens come and go.
func testSignalStorm(t *testing.T, s *server) {
	c, other := catching(t, 1), newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	o := other.on("").open(s.path, unix.O_RDWR)
	reader := c.on("reader").cycle(fd, 0, 0, 0)
	beside := []*pending{
		other.on("a").cycle(o, 0, 3*time.Millisecond, 0),
		other.on("b").cycle(o, 0, 2*time.Millisecond, 0),
		other.on("c").cycle(o, 0, time.Millisecond, time.Millisecond),
	}
	<-reader.begun
	for range 100 {
		c.tgkill(reader.tid, unix.SIGUSR1)
		s.status()
		time.Sleep(10 * time.Millisecond)
	}
	c.stopCycles()
	other.stopCycles()
	tokens, interrupts, _ := cycleResult(t, reader)
	t.Logf("%d tokens, %d interrupts", tokens, interrupts)
	for _, p := range beside {
		if tokens, _, _ := cycleResult(t, p); tokens == 0 {
			t.Error("a process beside had no token")
		}
	}
	s.has(0)
}

func testKillInStorm(t *testing.T, s *server) {
	empties(t, s)
	for range 5 {
		c := catching(t, 1)
		fd := c.on("").open(s.path, unix.O_RDWR)
		reader := c.on("reader").cycle(fd, 0, 0, 0)
		<-reader.begun
		for range 20 {
			c.tgkill(reader.tid, unix.SIGUSR1)
		}
		c.cmd.Process.Kill()
		begin := time.Now()
		c.exits()
		if took := time.Since(begin); took > soon() {
			t.Errorf("the process ended %v after SIGKILL", took)
		}
		s.waiting(0)
	}
	s.has(1)
}

func testKillBlocked(t *testing.T, s *server) {
	holder, h := empties(t, s)
	for range 3 {
		c := newClient(t)
		fd := c.on("").open(s.path, unix.O_RDWR)
		c.on("").blocks(fd)
		c.on("second").blocks(fd)
		c.on("third").poll(fd, unix.POLLIN, -1).arrived()
		s.waiting(1)
		begin := time.Now()
		c.cmd.Process.Kill()
		c.exits()
		if took := time.Since(begin); took > soon() {
			t.Errorf("the process ended %v after SIGKILL", took)
		}
		s.becomes("nobody is answered in its stead", func(st ctlStatus) bool { return st.Waiters == 0 })
	}
	holder.gives(h, 1)
	s.has(0)
}

func testSignalNonblock(t *testing.T, s *server) {
	holder, h := empties(t, s)
	c := catching(t, 0)
	fd := c.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	reader := c.on("reader").cycle(fd, 0, 0, 0)
	<-reader.begun
	for range 200 {
		c.tgkill(reader.tid, unix.SIGUSR1)
		s.status()
	}
	holder.gives(h, 1)
	c.stopCycles()
	if _, interrupts, denials := cycleResult(t, reader); interrupts != 0 || denials == 0 {
		t.Errorf("%d reads that do not wait ended by a signal, %d by EAGAIN", interrupts, denials)
	}
	s.has(0)
}

func testSignalPoll(t *testing.T, s *server) {
	holder, h := empties(t, s)
	c := catching(t, 1)
	fd := c.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	poll := c.on("poller").poll(fd, unix.POLLIN, -1).arrived()
	s.waiting(1)
	c.tgkill(poll.tid, unix.SIGUSR1)
	poll.fails(unix.EINTR)
	// Nothing tells the server that nobody polls any more. What it keeps for that poller it must not keep for long.
	other := newClient(t).on("")
	o := other.open(s.path, unix.O_RDWR)
	read := other.blocks(o)
	s.waiting(2)
	begin := time.Now()
	holder.gives(h, 1)
	read.gets()
	t.Logf("the token reached who waits in %v", time.Since(begin))
	if took := time.Since(begin); took > soon() {
		t.Errorf("a token was kept %v for a poller that had left", took)
	}
	other.gives(o, 1)
	s.has(0)
}
