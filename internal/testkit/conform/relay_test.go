package conform

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// relayCases are about processes that pass their tokens on.
var relayCases = []testCase{
	{name: "a relay takes what is to spare", args: []string{"-j3"}, run: testRelaySpare, anybody: true},
	{name: "a relay gets nothing that others wait for", run: testRelayAfterOthers},
	{name: "an idle relay hears of who waits", args: []string{"-j2"}, run: testRelayWanted, anybody: true},
	{name: "a relay that waits has its turn", args: []string{"-j3"}, run: testRelayTurn},
	{name: "a relay hears of who holds less", args: []string{"-j2"}, run: testRelayLess},
	{name: "a relay's next question ends the one before", run: testRelayAgain},
	{name: "signal ends the question of a relay", run: testRelaySignal},
	{name: "signal and token for a relay at once", run: testRelaySignalAndToken},
	{name: "SIGKILL ends the question of a relay", args: []string{"-j3"}, run: testRelayKilled, anybody: true},
	{name: "execve ends the question of a relay", args: []string{"-j3"}, run: testRelayExec},
	{name: "a relay under a limit per process", args: []string{"-j4", "-p2"}, run: testRelayLimited},
	{name: "a relay under a memory limit", args: []string{"-j2", "-a", "1000000000"}, run: testRelayHeldBack},
	{name: "SIGTERM while relays wait", run: testRelayStop},
	{name: "malformed relays", args: []string{"-j2"}, run: testRelayMalformed},
}

// relay begins a RELAY.
func (th thread) relay(fd int, ask ctl.RelayAsk) *pending {
	th.t.Helper()
	return th.sys("relay", unix.SYS_IOCTL, []memory{{Arg: 2, Data: ctl.AppendRelayAsk(nil, ask)}}, uintptr(fd), uintptr(ctl.CmdRelay))
}

// relays waits for a RELAY to end, and fails the test unless it gives this.
func (p *pending) relays(want ctl.RelayAnswer) {
	p.c.t.Helper()
	r := p.wait()
	r.is(p.c.t, p.what, 0, 0)
	if got, err := ctl.ParseRelayAnswer(r.mem[0]); got != want || err != nil {
		p.c.t.Fatalf("%s gives %+v, %v, want %+v", p.what, got, err, want)
	}
}

func testRelaySpare(t *testing.T, s *server) {
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	c.on("").relay(fd, ctl.RelayAsk{Want: 2}).relays(ctl.RelayAnswer{Tokens: 2})
	s.has(2)
	c.on("").relay(fd, ctl.RelayAsk{Want: 2}).relays(ctl.RelayAnswer{Tokens: 1})
	s.has(3)
	next := c.on("asker").relay(fd, ctl.RelayAsk{Want: 2}).arrived()
	s.waiting(0) // it does not, who asks for what is to spare
	next.waits()
	s.resize(4)
	next.relays(ctl.RelayAnswer{Tokens: 1})
	next = c.on("asker").relay(fd, ctl.RelayAsk{Want: pool.MaxJobs}).arrived()
	s.has(4)
	c.on("").gives(fd, 3) // which come back, as nobody else wants them
	next.relays(ctl.RelayAnswer{Tokens: 3})
	s.has(4)
	c.on("").gives(fd, 4)
	s.has(0)
	c.on("").write(fd, "+").is(t, "write of what it never took", 0, unix.ENOSPC)
}

func testRelayAfterOthers(t *testing.T, s *server) {
	holder, h := empties(t, s)
	c, other := newClient(t).on(""), newClient(t).on("")
	fd, o := c.open(s.path, unix.O_RDWR), other.open(s.path, unix.O_RDWR)
	relay := c.relay(fd, ctl.RelayAsk{Want: 1}).arrived()
	read := other.blocks(o)
	s.waiting(1)
	holder.gives(h, 1)
	read.gets()
	s.has(1)
	relay.waits()
	other.gives(o, 1)
	relay.relays(ctl.RelayAnswer{Tokens: 1})
	s.has(1)
}

func testRelayWanted(t *testing.T, s *server) {
	c, other := newClient(t), newClient(t)
	fd, o := c.on("").open(s.path, unix.O_RDWR), other.on("").open(s.path, unix.O_RDWR)
	c.on("").takes(fd)
	other.on("").takes(o)
	idle := ctl.RelayAsk{Idle: true}
	relay := c.on("asker").relay(fd, idle).arrived()
	s.waiting(0)
	relay.waits()
	own := c.on("reader").blocks(fd) // which is not somebody else
	s.waiting(1)
	relay.waits()

	read := other.on("").blocks(o)
	relay.relays(ctl.RelayAnswer{Wanted: true})
	c.on("asker").relay(fd, idle).relays(ctl.RelayAnswer{Wanted: true}) // as it still is
	c.on("").gives(fd, 1)
	own.gets() // it holds less
	c.on("").gives(fd, 1)
	read.gets()
	other.on("").gives(o, 1)
	c.on("").takes(fd)

	relay = c.on("asker").relay(fd, idle).arrived()
	poll := other.on("poller").poll(o, unix.POLLIN, -1).arrived()
	relay.relays(ctl.RelayAnswer{Wanted: true})
	c.on("").gives(fd, 1)
	if got := polled(poll.wait()); got != unix.POLLIN {
		t.Errorf("poll says %#x", got)
	}
	other.on("").gives(o, 1)
}

func testRelayTurn(t *testing.T, s *server) {
	c, other := newClient(t).on(""), newClient(t).on("")
	fd, o := c.open(s.path, unix.O_RDWR), other.open(s.path, unix.O_RDWR)
	c.relay(fd, ctl.RelayAsk{Want: 1}).relays(ctl.RelayAnswer{Tokens: 1})
	holder, h := empties(t, s)
	relay := c.relay(fd, ctl.RelayAsk{Wait: true}).arrived() // waits longer
	s.waiting(1)
	read := other.blocks(o) // holds less
	s.waiting(2)
	holder.gives(h, 1)
	read.gets()
	relay.waits()
	read = other.blocks(o) // as much, and for a shorter time
	s.waiting(2)
	holder.gives(h, 1)
	relay.relays(ctl.RelayAnswer{Tokens: 1})
	read.waits()
	s.has(3)
	c.gives(fd, 1)
	read.gets()
}

func testRelayLess(t *testing.T, s *server) {
	c, other := newClient(t), newClient(t)
	fd, o := c.on("").open(s.path, unix.O_RDWR), other.on("").open(s.path, unix.O_RDWR)
	c.on("").relay(fd, ctl.RelayAsk{Want: 2}).relays(ctl.RelayAnswer{Tokens: 2})
	relay := c.on("asker").relay(fd, ctl.RelayAsk{}).arrived()
	read := other.on("").blocks(o)
	relay.relays(ctl.RelayAnswer{Less: true})
	relay = c.on("asker").relay(fd, ctl.RelayAsk{Less: true}).arrived() // it has been told that
	s.waiting(1)
	relay.waits()
	c.on("").gives(fd, 1)
	read.gets()
	relay.relays(ctl.RelayAnswer{})
	relay = c.on("asker").relay(fd, ctl.RelayAsk{}).arrived()
	other.on("").blocks(o)
	third := newClient(t).on("")
	third.blocks(third.open(s.path, unix.O_RDWR)) // one less, which is as near as may be
	s.waiting(2)
	relay.waits()
	s.has(2)
}

func testRelayAgain(t *testing.T, s *server) {
	holder, h := empties(t, s)
	c, other := newClient(t), newClient(t)
	fd, o := c.on("").open(s.path, unix.O_RDWR), other.on("").open(s.path, unix.O_RDWR)
	first := c.on("first").relay(fd, ctl.RelayAsk{Want: 1, Wait: true}).arrived()
	s.waiting(1)
	others := other.on("").relay(o, ctl.RelayAsk{Want: 1}).arrived()
	first.waits() // another process's question is another question
	second := c.on("second").relay(fd, ctl.RelayAsk{Want: 1}).arrived()
	first.relays(ctl.RelayAnswer{})
	s.waiting(0)
	third := c.on("first").relay(fd, ctl.RelayAsk{Wait: true}).arrived()
	second.relays(ctl.RelayAnswer{})
	s.waiting(1)
	holder.gives(h, 1)
	third.relays(ctl.RelayAnswer{Tokens: 1})
	others.waits()
	c.kill()
	others.relays(ctl.RelayAnswer{Tokens: 1})
}

func testRelaySignal(t *testing.T, s *server) {
	holder, h := empties(t, s)
	for restart := range uintptr(2) {
		c := catching(t, restart)
		fd := c.on("").open(s.path, unix.O_RDWR)
		for _, ask := range []ctl.RelayAsk{{}, {Want: 1}, {Want: 1, Wait: true, Idle: true}} {
			relay := c.on("asker").relay(fd, ask).arrived()
			c.tgkill(relay.tid, unix.SIGUSR1)
			relay.fails(unix.EINTR)
			s.waiting(0)
		}
	}
	holder.gives(h, 1)
	s.has(0)
}

func testRelaySignalAndToken(t *testing.T, s *server) {
	holder, h := empties(t, s)
	c := catching(t, 0)
	fd := c.on("").open(s.path, unix.O_RDWR)
	interrupted := 0
	const rounds = 30
	for i := range rounds {
		relay := c.on("asker").relay(fd, ctl.RelayAsk{Want: 1, Wait: i%2 == 0}).arrived()
		s.has(1)
		if i%3 == 0 { // both in the server's queue
			s.freeze()
		}
		give := holder.sys("write", unix.SYS_WRITE, []memory{{Arg: 1, Data: []byte("+")}}, uintptr(h), 0, 1)
		c.tgkill(relay.tid, unix.SIGUSR1)
		if i%3 == 0 {
			s.thaw()
		}
		give.wait().is(t, "write", 1, 0)
		if relay.wait().errno == unix.EINTR {
			interrupted++
			s.has(0)
		} else {
			relay.relays(ctl.RelayAnswer{Tokens: 1})
			s.has(1)
			c.on("asker").gives(fd, 1)
		}
		holder.takes(h)
	}
	t.Logf("%d of %d questions ended by the signal, the others with the token", interrupted, rounds)
}

func testRelayKilled(t *testing.T, s *server) {
	other := newClient(t).on("")
	o := other.open(s.path, unix.O_RDWR)
	other.takes(o)
	for _, ask := range []ctl.RelayAsk{{Want: 2}, {Want: 2, Wait: true, Idle: true}} {
		c := newClient(t)
		fd := c.on("").open(s.path, unix.O_RDWR)
		c.on("").relay(fd, ctl.RelayAsk{Want: 3}).relays(ctl.RelayAnswer{Tokens: 2})
		c.on("asker").relay(fd, ask).arrived()
		s.has(3)
		s.reclaims(c, 1)
		s.waiting(0)
	}
	other.gives(o, 1)
	s.has(0)
}

func testRelayExec(t *testing.T, s *server) {
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	c.on("").relay(fd, ctl.RelayAsk{Want: 2}).relays(ctl.RelayAnswer{Tokens: 2})
	s.takes()
	c.on("asker").relay(fd, ctl.RelayAsk{Want: 1, Wait: true}).arrived()
	s.waiting(1)
	c.on("").exec() // ends the other threads
	s.waiting(0)
	s.gives(1)
	s.has(2) // and nothing given to a thread that is no more
	c.on("").relay(fd, ctl.RelayAsk{Want: 1}).relays(ctl.RelayAnswer{Tokens: 1})
	c.on("").gives(fd, 3)
}

func testRelayLimited(t *testing.T, s *server) {
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	c.on("").relay(fd, ctl.RelayAsk{Want: 3}).relays(ctl.RelayAnswer{Tokens: 2})
	relay := c.on("asker").relay(fd, ctl.RelayAsk{Want: 3, Wait: true}).arrived()
	s.has(2)
	relay.waits()
	c.on("").gives(fd, 1)
	relay.relays(ctl.RelayAnswer{Tokens: 1})
	relay = c.on("asker").relay(fd, ctl.RelayAsk{Want: 3}).arrived()
	s.has(2)
	relay.waits()
	s.set(pool.FieldPerProcess, pool.Limits{PerProcess: 3})
	relay.relays(ctl.RelayAnswer{Tokens: 1})
	s.has(3)
}

func testRelayHeldBack(t *testing.T, s *server) {
	c := newClient(t).on("")
	fd := c.open(s.path, unix.O_RDWR)
	c.relay(fd, ctl.RelayAsk{Want: 2}).relays(ctl.RelayAnswer{Tokens: 1}) // the minimum
	relay := c.relay(fd, ctl.RelayAsk{Want: 2}).arrived()
	s.has(1)
	relay.waits()
	s.set(pool.FieldMinMemory, pool.Limits{})
	relay.relays(ctl.RelayAnswer{Tokens: 1})
	s.has(2)
}

func testRelayStop(t *testing.T, s *server) {
	empties(t, s)
	var relays []*pending
	for _, ask := range []ctl.RelayAsk{{Want: 1}, {Wait: true}, {Idle: true}} {
		c := newClient(t).on("")
		relays = append(relays, c.relay(c.open(s.path, unix.O_RDWR), ask))
		if !ask.Idle { // that one is told that somebody waits
			relays[len(relays)-1].arrived()
		}
	}
	relays[2].relays(ctl.RelayAnswer{Wanted: true})
	s.waiting(1)
	begin := time.Now()
	s.stop(unix.SIGTERM)
	for _, r := range relays[:2] {
		r.fails(unix.ECONNABORTED)
	}
	t.Logf("stopped in %v", time.Since(begin))
}

func testRelayMalformed(t *testing.T, s *server) {
	main := newClient(t).on("")
	fd := main.open(s.path, unix.O_RDWR)
	record := func(at int, value byte) []byte {
		b := ctl.AppendRelayAsk(nil, ctl.RelayAsk{Want: 1})
		b[at] = value
		return b
	}
	for name, b := range map[string][]byte{
		"wants more than all":     ctl.AppendRelayAsk(nil, ctl.RelayAsk{Want: pool.MaxJobs + 1}),
		"wants less than nothing": ctl.AppendRelayAsk(nil, ctl.RelayAsk{Want: -1}),
		"an answer":               ctl.AppendRelayAnswer(nil, ctl.RelayAnswer{Tokens: 1, Wanted: true}),
		"unknown flag":            record(8, 1<<5),
		"last flag":               record(11, 1<<7),
		"padding":                 record(15, 1),
	} {
		main.ioctl(fd, ctl.CmdRelay, b).is(t, name, 0, unix.EINVAL)
		s.has(0)
	}
	main.ioctl(fd, ctl.CmdRelay, record(0, 2)).is(t, "good", 0, 0)
	s.has(2)
}
