package conform

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// sharingCases are about who gets the next token.
var sharingCases = []testCase{
	{name: "who holds less goes first", args: []string{"-j3"}, run: testFewestFirst, anybody: true},
	{name: "who drains the pool leaves the next to others", args: []string{"-j4"}, run: testDrain},
	{name: "a limit per process bounds who drains", args: []string{"-j4", "-p2"}, run: testDrainLimited},
	{name: "who only retries does not starve", run: testRetrier},
	{name: "a poller does not starve", run: testPollerAmongReaders},
	{name: "poll and never read", args: []string{"-j2"}, run: testPollNeverRead},
	{name: "resize while processes wait", args: []string{"-j2"}, run: testResize},
}

func testFewestFirst(t *testing.T, s *server) {
	rich, poor, free := newClient(t), newClient(t), newClient(t)
	r, p, f := rich.on("").open(s.path, unix.O_RDWR), poor.on("").open(s.path, unix.O_RDWR), free.on("").open(s.path, unix.O_RDWR)
	rich.on("").takes(r)
	free.on("").takes(f)
	free.on("").takes(f)
	first := rich.on("").blocks(r) // waits longer
	s.waiting(1)
	second := poor.on("").blocks(p)
	s.waiting(2)
	free.on("").gives(f, 1)
	second.gets()
	first.waits()
	third := poor.on("").blocks(p)
	s.waiting(2)
	free.on("").gives(f, 1)
	first.gets() // equals now, and it has waited longer
	third.waits()
	rich.on("").gives(r, 1)
	third.gets()
}

// testDrain is the shape of jobserver-exec and of LLVM's start: read all there is, then go on.
func testDrain(t *testing.T, s *server) {
	drainer, other := newClient(t), newClient(t)
	d := drainer.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	for range 4 {
		drainer.on("").startRead(d, 8).gets()
	}
	drainer.on("").startRead(d, 8).fails(unix.EAGAIN)
	o := other.on("").open(s.path, unix.O_RDWR)
	read := other.on("").blocks(o)
	s.waiting(1)
	drainer.on("").setFlags(d, 0)
	again := drainer.on("reader").blocks(d)
	s.waiting(2)
	drainer.on("").gives(d, 1)
	read.gets()
	again.waits()
	drainer.on("").gives(d, 3)
	again.gets()
	s.has(2)
}

func testDrainLimited(t *testing.T, s *server) {
	drainer, other := newClient(t).on(""), newClient(t).on("")
	d, o := drainer.open(s.path, unix.O_RDWR|unix.O_NONBLOCK), other.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	drainer.takes(d)
	drainer.takes(d)
	drainer.read(d).is(t, "read beyond the limit", 0, unix.EAGAIN)
	other.takes(o)
	other.takes(o)
	other.read(o).is(t, "read beyond the limit", 0, unix.EAGAIN)
	s.has(4)
	drainer.gives(d, 2)
	s.has(2)
}

// beside starts processes that read, hold for a moment and return, without end.
func beside(t *testing.T, s *server, n int) {
	t.Helper()
	for range n {
		c := newClient(t)
		c.on("").cycle(c.on("").open(s.path, unix.O_RDWR), 0, 2*time.Millisecond, 0)
	}
}

func testRetrier(t *testing.T, s *server) {
	beside(t, s, 3)
	c := newClient(t).on("")
	fd := c.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	begin := time.Now()
	const times = 20
	tokens, _, denials := cycleResult(t, c.cycle(fd, times, time.Millisecond, time.Millisecond))
	t.Logf("%d tokens in %v, after %d denials", tokens, time.Since(begin), denials)
	if took := time.Since(begin); took > times*soon() {
		t.Errorf("%d tokens took %v", times, took)
	}
}

func testPollerAmongReaders(t *testing.T, s *server) {
	beside(t, s, 3)
	c := newClient(t).on("")
	fd := c.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	begin := time.Now()
	const times = 20
	reads := 0
	for range times {
		r := c.op("pollread", nil, uintptr(fd)).wait()
		if r.errno != 0 {
			t.Fatalf("poll and read: %v", r)
		}
		reads += r.n
		c.gives(fd, 1)
	}
	t.Logf("%d tokens in %v, by %d reads", times, time.Since(begin), reads)
	if took := time.Since(begin); took > times*soon() {
		t.Errorf("%d tokens took %v", times, took)
	}
	if reads > 4*times {
		t.Errorf("%d reads for %d tokens", reads, times)
	}
}

// testPollNeverRead has a process wait in poll, woken or not, and do nothing about it. Each time it costs the others a
// moment, not the token.
func testPollNeverRead(t *testing.T, s *server) {
	holder, h := empties(t, s)
	c, other := newClient(t), newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	o := other.on("").open(s.path, unix.O_RDWR)
	startPoll := func() *pending { return c.on("poller").poll(fd, unix.POLLIN, -1) }
	poll := startPoll().arrived()
	for range 10 {
		read := other.on("").blocks(o)
		s.becomes("both wait", func(st ctl.Status) bool {
			if poll.ended() { // it was told, unless the token was gone when it looked
				poll = startPoll()
			}
			return st.Waiters == 2
		})
		begin := time.Now()
		holder.gives(h, 1) // to the poll, which holds as little and waits longer
		read.gets()
		if took := time.Since(begin); took > soon() {
			t.Errorf("a poller that does not read held a token up for %v", took)
		}
		other.on("").gives(o, 1)
		holder.takes(h)
	}
	holder.gives(h, 2)
	other.on("").takes(o)
	other.on("").takes(o)
}

func testResize(t *testing.T, s *server) {
	holder, h := empties(t, s)
	var reads []*pending
	var waiters []thread
	for i := range 3 {
		th := newClient(t).on("")
		fd := th.open(s.path, unix.O_RDWR)
		reads, waiters = append(reads, th.blocks(fd)), append(waiters, th)
		s.waiting(i + 1)
	}
	s.resize(3)
	reads[0].gets()
	s.waiting(2)
	s.resize(5)
	reads[1].gets()
	reads[2].gets()
	s.has(5)
	s.resize(1)
	s.has(5)
	read := waiters[0].blocks(waiters[0].open(s.path, unix.O_RDWR))
	s.waiting(1)
	holder.gives(h, 2)
	for _, w := range waiters[1:] {
		w.gives(w.open(s.path, unix.O_WRONLY), 1)
	}
	s.has(1)
	s.waiting(1)
	read.waits() // 1 of 1 is held
	s.set(pool.FieldJobs, pool.Limits{Jobs: 2})
	read.gets()
}
