package conform

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/testkit/guest"
)

// ledgerCases are about who owes what, and when it is over.
var ledgerCases = []testCase{
	{name: "another thread returns on another open file", run: testOtherThread, anybody: true},
	{name: "any byte returns a token", args: []string{"-j5"}, run: testAnyByte, anybody: true},
	{name: "one token per read", args: []string{"-j3"}, run: testOneTokenPerRead, anybody: true},
	{name: "more than held is no space", args: []string{"-j4"}, run: testExcess, anybody: true},
	{name: "closing returns nothing", args: []string{"-j2"}, run: testCloseKeeps},
	{name: "closing under a blocked read", run: testCloseWhileReading},
	{name: "a forked child's exit returns nothing", args: []string{"-j3"}, run: testForkChildExits},
	{name: "a token passed on stays its taker's", args: []string{"-j2"}, run: testPassedOn},
	{name: "a child writes what its parent took", args: []string{"-j2"}, run: testChildWrites},
	{name: "reclaim after SIGKILL", args: []string{"-j3"}, run: testReclaim, anybody: true},
	{name: "reclaim with threads blocked", args: []string{"-j2"}, run: testReclaimBlocked},
	{name: "reclaim goes to who waits", run: testReclaimFeeds},
	{name: "killed before the request is read", run: testKilledBeforeRead},
	{name: "random schedules", args: []string{"-j5"}, run: testRandom},
}

func testOtherThread(t *testing.T, s *server) {
	c := newClient(t)
	r, w := c.on("").open(s.path, unix.O_RDONLY), c.on("").open(s.path, unix.O_WRONLY)
	for range 3 {
		c.on("reader").takes(r)
		s.has(1)
		c.on("").gives(w, 1)
		s.has(0)
	}
	c.on("reader").write(w, "+").is(t, "a write that owes nothing", 0, unix.ENOSPC)
}

func testAnyByte(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR)
	for i, b := range []string{"\x00", "G", ".", "t", "\xff"} {
		main.takes(fd)
		main.write(fd, b).is(t, fmt.Sprintf("write %q", b), 1, 0)
		s.has(0)
		if i == 0 {
			main.takes(fd) // and what is held meanwhile changes nothing
			main.gives(fd, 1)
		}
	}
}

func testOneTokenPerRead(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR)
	for held, size := range []int{8, 4096, 1 << 20} {
		main.startRead(fd, size).gets()
		s.has(held + 1)
	}
	main.startRead(fd, 0).wait().is(t, "read of nothing", 0, 0)
	s.has(3)
	main.gives(fd, 1)
	main.startRead(fd, 0).wait().is(t, "read of nothing", 0, 0)
	s.has(2)
}

func testExcess(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR)
	main.takes(fd)
	main.takes(fd)
	main.write(fd, "+++++").is(t, "write of 5 with 2 held", 2, 0)
	main.write(fd, "+").is(t, "write with none held", 0, unix.ENOSPC)
	main.write(fd, "").is(t, "write of nothing", 0, 0)
	s.has(0)
	for range 4 {
		main.takes(fd)
	}
	main.gives(fd, 4)
	s.has(0)
}

func testCloseKeeps(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	r, w := main.open(s.path, unix.O_RDONLY), main.open(s.path, unix.O_RDWR)
	main.takes(r)
	main.takes(w)
	main.close(r)
	main.close(w)
	again := main.open(s.path, unix.O_RDWR) // a RELEASE that came would have been read before this
	s.has(2)
	main.gives(again, 1)
	s.has(1)
	main.close(again)
	s.reclaims(c, 0)
}

func testCloseWhileReading(t *testing.T, s *server) {
	holder, c := newClient(t), newClient(t)
	h := holder.on("").open(s.path, unix.O_RDWR)
	holder.on("").takes(h)
	fd := c.on("").open(s.path, unix.O_RDWR)
	read := c.on("reader").blocks(fd)
	s.waiting(1)
	c.on("").close(fd)
	s.waiting(1)
	read.waits()
	holder.on("").gives(h, 1)
	read.gets()
	s.has(1)
	c.on("").gives(c.on("").open(s.path, unix.O_WRONLY), 1)
	s.has(0)
}

func testForkChildExits(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR)
	for range 3 {
		main.takes(fd)
	}
	for range 3 {
		main.fork(false, 0, call{Nr: unix.SYS_CLOSE, Args: [6]uintptr{uintptr(fd)}}).wait().is(t, "fork", 0, 0)
		s.has(3)
	}
	main.gives(fd, 3)
	s.has(0)
}

func testPassedOn(t *testing.T, s *server) {
	taker, other := newClient(t), newClient(t)
	a, b := taker.on("").open(s.path, unix.O_RDWR), other.on("").open(s.path, unix.O_RDWR)
	other.on("").takes(b) // so that it is no lender
	other.on("").gives(b, 1)
	taker.on("").takes(a)
	other.on("").write(b, "+").is(t, "write of another's token", 0, unix.ENOSPC)
	s.has(1)
	s.reclaims(taker, 0)
}

// writeOne is a call for forked children.
func writeOne(fd int) call {
	return call{Nr: unix.SYS_WRITE, Args: [6]uintptr{uintptr(fd), 0, 1}, Mem: []memory{{Arg: 1, Data: []byte("+")}}}
}

// readOne is a call for forked children.
func readOne(fd int) call {
	return call{Nr: unix.SYS_READ, Args: [6]uintptr{uintptr(fd), 0, 1}, Mem: []memory{{Arg: 1, Size: 1}}}
}

// testChildWrites is redo's shape, and that of a shell's echo + > file.
func testChildWrites(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	main.takes(fd)
	main.takes(fd)
	for range 3 {
		main.fork(false, 0, writeOne(fd)).wait().is(t, "the child's write", 1, 0) // lends its own
		s.has(2)
		main.read(fd).is(t, "the parent's read", 0, unix.EAGAIN)
	}
	main.gives(fd, 2)
	s.has(0)
}

func testReclaim(t *testing.T, s *server) {
	for range 5 {
		c := newClient(t)
		fd := c.on("").open(s.path, unix.O_RDWR)
		for range 3 {
			c.on("").takes(fd)
		}
		s.has(3)
		s.reclaims(c, 0)
	}
	// By its own exit, too.
	c := newClient(t)
	c.on("").takes(c.on("").open(s.path, unix.O_RDWR))
	c.on("").sys("exit_group", unix.SYS_EXIT_GROUP, nil, 3)
	c.exits()
	s.holds(0)
}

func testReclaimBlocked(t *testing.T, s *server) {
	for range 3 {
		c := newClient(t)
		fd := c.on("").open(s.path, unix.O_RDWR)
		c.on("").takes(fd)
		c.on("").takes(fd)
		for i := range 3 {
			c.on(strconv.Itoa(i)).blocks(fd)
		}
		s.waiting(1)
		s.reclaims(c, 0)
		s.waiting(0)
	}
}

func testReclaimFeeds(t *testing.T, s *server) {
	holder, waiter, poller := newClient(t), newClient(t), newClient(t)
	holder.on("").takes(holder.on("").open(s.path, unix.O_RDWR))
	w := waiter.on("").open(s.path, unix.O_RDWR)
	read := waiter.on("").blocks(w)
	s.waiting(1)
	holder.kill()
	read.gets()
	s.has(1)
	p := poller.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	poll := poller.on("").poll(p, unix.POLLIN, -1).arrived()
	s.waiting(1)
	waiter.kill()
	if got := polled(poll.wait()); got != unix.POLLIN {
		t.Fatalf("poll says %#x", got)
	}
	poller.on("").takes(p)
	s.has(1)
}

func testKilledBeforeRead(t *testing.T, s *server) {
	for range 5 {
		c := newClient(t)
		fd := c.on("").open(s.path, unix.O_RDWR)
		s.freeze()
		c.on("").startRead(fd, 1).arrived()
		c.on("other").startRead(fd, 1).arrived()
		c.cmd.Process.Kill()
		s.thaw()
		c.exits()  // with CUSE it waits for the server's answer to its RELEASE
		s.holds(0) // the server may have read the requests before the threads were gone, and notices the end after
	}
}

// testRandom has processes take, return, wait, be interrupted, fork, exec and be killed in random order. After each step
// the server's counts must add up, which status checks, and what is held be no more than was given.
func testRandom(t *testing.T, s *server) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("TEST_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("TEST_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	type process struct {
		*client
		fd      int
		held    int
		blocked *pending
	}
	processes := make([]*process, 5)
	settle := func(p *process) { // what a blocked read has come to
		if p.blocked != nil && p.blocked.ended() {
			if r := p.blocked.wait(); r.n == 1 {
				p.held++
			} else {
				r.is(t, "blocked read", 0, unix.EINTR)
			}
			p.blocked = nil
		}
	}
	steps := 400
	if guest.Inside() {
		steps = 100 // processes start slowly there
	}
	for step := range steps {
		i := rng.IntN(len(processes))
		p := processes[i]
		if p == nil {
			c := newClient(t)
			c.on("").op("catch", nil, uintptr(unix.SIGUSR1), 1).wait()
			p = &process{client: c, fd: c.on("").open(s.path, unix.O_RDWR)}
			processes[i] = p
		}
		main := p.on("")
		settle(p)
		switch op := rng.IntN(20); {
		case op == 0:
			p.kill()
			processes[i] = nil
		case op == 1 && p.blocked == nil:
			main.exec()
			main.op("catch", nil, uintptr(unix.SIGUSR1), 1).wait()
		case op == 2 && p.blocked != nil:
			<-p.blocked.begun
			p.tgkill(p.blocked.tid, unix.SIGUSR1)
		case op == 3:
			s.resize(1 + rng.IntN(6))
		case op == 4:
			p.on("forker").fork(false, 0, call{Nr: unix.SYS_GETPID}).wait()
		case op < 9 && p.blocked == nil && p.held < 4:
			p.blocked = main.startRead(p.fd, 1)
		case op < 13 && p.blocked == nil:
			nonblocking := p.on("other").open(s.path, unix.O_RDONLY|unix.O_NONBLOCK)
			switch r := p.on("other").read(nonblocking); {
			case r.errno == 0 && r.n == 1:
				p.held++
			case r.errno != unix.EAGAIN:
				t.Fatalf("step %d: read without waiting: %v", step, r)
			}
			p.on("other").close(nonblocking)
		case p.held > 0:
			p.on("other").gives(p.fd, 1)
			p.held--
		}
		s.status()
	}
	s.resize(6)
	s.becomes("what is held is what was given", func(st ctl.Status) bool {
		sum := 0
		for _, p := range processes {
			if p != nil {
				settle(p)
				sum += p.held
			}
		}
		return st.Held == sum
	})
}
