package conform

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/pool"
)

type ctlStatus = ctl.Status

// readinessCases are about poll(2) and its kin.
var readinessCases = []testCase{
	{name: "every way to poll", run: testPollers, anybody: true},
	{name: "poll says what a read would do", args: []string{"-j2", "-p1"}, run: testPollPredicate},
	{name: "own return wakes under a limit per process", args: []string{"-j3", "-p1"}, run: testPollOwnReturn},
	{name: "a setting wakes", args: []string{"-j3", "-p1"}, run: testPollSetting},
	{name: "a poll lost to another reader", run: testPollLost},
	{name: "poll, then a blocking read, and the race lost", run: testPollThenBlock},
	{name: "epoll edge, each token", run: testEpollEdge},
	{name: "20 processes poll one inherited open file", args: []string{"-j2"}, run: testInheritedPoll},
}

func testPollers(t *testing.T, s *server) {
	holder, h := empties(t, s)
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	const all = unix.POLLIN | unix.POLLOUT | unix.POLLPRI
	for _, p := range pollers {
		th := c.on(p.name)
		if got := p.ready(p.start(th, fd, unix.POLLIN|unix.POLLPRI, 0).wait()); got != 0 {
			t.Errorf("%s of an empty pool: %#x", p.name, got)
		}
		if got := p.ready(p.start(th, fd, all, 0).wait()); got != unix.POLLOUT {
			t.Errorf("%s of an empty pool, for all: %#x, want writable only", p.name, got)
		}
		if got := p.ready(p.start(th, fd, unix.POLLIN, 30).wait()); got != 0 {
			t.Errorf("%s of an empty pool, for 30 ms: %#x", p.name, got)
		}
		waits := p.start(th, fd, unix.POLLIN|unix.POLLPRI, -1).arrived()
		s.waiting(1)
		waits.waits()
		holder.gives(h, 1)
		if got := p.ready(waits.wait()); got != unix.POLLIN {
			t.Errorf("%s when a token came: %#x, want readable only", p.name, got)
		}
		if got := p.ready(p.start(th, fd, all, 0).wait()); got != unix.POLLIN|unix.POLLOUT {
			t.Errorf("%s of a token, for all: %#x, want readable and writable", p.name, got)
		}
		th.takes(fd)
		th.gives(fd, 1)
		holder.takes(h)
	}
	holder.gives(h, 1)
}

func testPollPredicate(t *testing.T, s *server) {
	a, b := newClient(t).on(""), newClient(t).on("")
	fa, fb := a.open(s.path, unix.O_RDWR|unix.O_NONBLOCK), b.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	agree := func(th thread, fd int, what string) {
		t.Helper()
		readable := th.polls(fd, unix.POLLIN) == unix.POLLIN
		r := th.read(fd)
		switch {
		case readable:
			r.is(t, what+": read of what is readable", 1, 0)
			th.gives(fd, 1)
		default:
			r.is(t, what+": read of what is not readable", 0, unix.EAGAIN)
		}
	}
	agree(a, fa, "two free")
	a.takes(fa)
	if got := a.polls(fa, unix.POLLIN); got != 0 {
		t.Errorf("readable at its limit, with a token free: %#x", got)
	}
	agree(a, fa, "at its limit")
	agree(b, fb, "one free")
	b.takes(fb)
	agree(a, fa, "none free")
	agree(b, fb, "none free")
	a.gives(fa, 1)
	agree(a, fa, "after its return")
	b.gives(fb, 1)
}

func testPollOwnReturn(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	for _, p := range pollers {
		main.takes(fd)
		poll := p.start(c.on(p.name), fd, unix.POLLIN, -1).arrived()
		s.waiting(1)
		poll.waits()
		main.gives(fd, 1)
		if got := p.ready(poll.wait()); got != unix.POLLIN {
			t.Errorf("%s: %#x", p.name, got)
		}
	}
	main.setFlags(fd, 0)
	main.takes(fd)
	read := c.on("reader").blocks(fd)
	s.waiting(1)
	main.gives(fd, 1)
	read.gets()
}

func testPollSetting(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	main.takes(fd)
	poll := c.on("poller").poll(fd, unix.POLLIN, -1).arrived()
	s.waiting(1)
	s.set(pool.FieldPerProcess, pool.Limits{PerProcess: 2})
	if got := polled(poll.wait()); got != unix.POLLIN {
		t.Errorf("after a higher limit: %#x", got)
	}
	main.takes(fd)
	s.set(pool.FieldPerProcess, pool.Limits{PerProcess: 0})
	main.takes(fd)
	poll = c.on("poller").poll(fd, unix.POLLIN, -1).arrived()
	s.waiting(1)
	s.resize(4)
	if got := polled(poll.wait()); got != unix.POLLIN {
		t.Errorf("after one token more: %#x", got)
	}
	s.resize(1)
	if got := main.polls(fd, unix.POLLIN|unix.POLLOUT|unix.POLLPRI); got != unix.POLLOUT {
		t.Errorf("after a shrink: %#x", got)
	}
}

func testPollLost(t *testing.T, s *server) {
	holder, h := empties(t, s)
	c, thief := newClient(t), newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	f := thief.on("").open(s.path, unix.O_RDWR)
	for range 5 {
		poll := c.on("poller").poll(fd, unix.POLLIN, -1).arrived()
		s.waiting(1)
		holder.gives(h, 1)
		if got := polled(poll.wait()); got != unix.POLLIN {
			t.Fatalf("poll says %#x", got)
		}
		thief.on("").takes(f) // waits until the moment is over for which the token is kept
		c.on("").read(fd).is(t, "read too late", 0, unix.EAGAIN)
		poll = c.on("poller").poll(fd, unix.POLLIN, -1).arrived()
		s.waiting(1)
		poll.waits()
		thief.on("").gives(f, 1)
		if got := polled(poll.wait()); got != unix.POLLIN {
			t.Fatalf("poll says %#x", got)
		}
		holder.takes(h)
	}
	holder.gives(h, 1)
}

func testPollThenBlock(t *testing.T, s *server) {
	holder, h := empties(t, s)
	c, thief := catching(t, 0), newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	f := thief.on("").open(s.path, unix.O_RDWR)
	poll := c.on("").poll(fd, unix.POLLIN, -1).arrived()
	s.waiting(1)
	holder.gives(h, 1)
	poll.wait()
	thief.on("").takes(f)
	read := c.on("").blocks(fd)
	s.waiting(1)
	c.tgkill(read.tid, unix.SIGUSR1)
	read.fails(unix.EINTR)
	read = c.on("").blocks(fd)
	s.waiting(1)
	thief.on("").gives(f, 1)
	read.gets()
}

func testEpollEdge(t *testing.T, s *server) {
	holder, h := empties(t, s)
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	ep := main.epoll(fd, unix.EPOLLIN|unix.EPOLLET&0xffffffff)
	for i := range 10 {
		main.read(fd).is(t, "read of an empty pool", 0, unix.EAGAIN)
		wait := c.on("waiter").epollWait(ep, -1)
		<-wait.begun
		s.waiting(1)
		holder.gives(h, 1)
		if got := epolled(wait.wait()); got != unix.POLLIN {
			t.Fatalf("edge %d: %#x", i, got)
		}
		main.takes(fd)
		main.gives(fd, 1)
		holder.takes(h)
	}
	holder.gives(h, 1)
}

// testInheritedPoll has each of 20 processes, which the kernel knows by one handle, get a token by poll and read, and none
// read much oftener than tokens came.
func testInheritedPoll(t *testing.T, s *server) {
	const processes = 20
	shared, err := os.OpenFile(s.path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	holder, h := empties(t, s)
	const fd = 3
	clients := make([]*client, processes)
	polls := make([]*pending, processes)
	for i := range clients {
		clients[i] = newClient(t, inherits(shared))
		polls[i] = clients[i].on("").op("pollread", nil, fd)
	}
	s.waiting(processes)
	holder.gives(h, 2)
	reads, rounds := 0, 0
	for served := 0; served < processes; {
		s.becomes("somebody has a token", func(st ctlStatus) bool { return st.Held > 0 })
		for i, p := range polls {
			if p == nil || !p.ended() {
				continue
			}
			r := p.wait()
			if r.errno != 0 {
				t.Fatalf("poll and read: %v", r)
			}
			reads += r.n
			rounds++
			served++
			polls[i] = nil
			clients[i].on("").gives(fd, 1)
		}
	}
	t.Logf("%d processes had their token by %d reads", rounds, reads)
	if most := processes * processes; reads > most {
		t.Errorf("%d reads for %d tokens, want at most %d", reads, processes, most)
	}
}
