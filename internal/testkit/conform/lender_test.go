package conform

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// lenderCases are the stories of processes that return a token before they ever took one.
var lenderCases = []testCase{
	{name: "lender of a pool of 1", run: testLender, anybody: true},
	{name: "lender of a pool of 3", args: []string{"-j3"}, run: testLender},
	{name: "lender under a parent that holds", args: []string{"-j3"}, run: testLenderNested},
	{name: "nasm-rs with a pool of 1", run: testNasm},
	{name: "nasm-rs with a pool of 3", args: []string{"-j3"}, run: testNasm},
	{name: "lender dies", args: []string{"-j2"}, run: testLenderDies},
	{name: "lender waits", run: testLenderWaits},
	{name: "lender while the pool shrinks", args: []string{"-j3"}, run: testLenderShrink},
	{name: "lender under a limit per process", args: []string{"-j3", "-p1"}, run: testLenderLimited},
	{name: "execve keeps a loan, fork does not", args: []string{"-j1"}, run: testLenderExecFork},
}

func testLender(t *testing.T, s *server) {
	jobs := s.status().Limits.Jobs
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	for range 3 {
		main.gives(fd, 1)
		s.has(0) // and no token more than before
		main.write(fd, "+").is(t, "a second loan", 0, unix.ENOSPC)
		main.takes(fd) // its own
		s.has(0)
		for held := range jobs {
			main.takes(fd)
			s.has(held + 1)
		}
		main.read(fd).is(t, "read of an empty pool", 0, unix.EAGAIN)
		main.write(fd, "++++++").is(t, "write of 6", jobs+1, 0)
		s.has(0)
		main.takes(fd)
	}
}

func testLenderNested(t *testing.T, s *server) {
	var b [1]byte
	if n, err := s.ctl.File().Read(b[:]); n != 1 || err != nil {
		t.Fatal(err)
	}
	testLenderBeside(t, s, 1)
	if n, err := s.ctl.File().Write(b[:]); n != 1 || err != nil {
		t.Fatal(err)
	}
}

// testLenderBeside is a lender's story while others hold some tokens.
func testLenderBeside(t *testing.T, s *server, others int) {
	t.Helper()
	jobs := s.status().Limits.Jobs
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	main.gives(fd, 1)
	for got := range jobs - others + 1 {
		s.has(others + max(0, got-1))
		main.takes(fd)
	}
	main.read(fd).is(t, "one more", 0, unix.EAGAIN)
	main.gives(fd, jobs-others+1)
	s.has(others)
	main.takes(fd)
	s.has(others)
}

// testNasm is what nasm-rs 0.3.0 does: its slot is lent, a token is taken for each file and returned by a worker, and at
// the end the slot is taken back.
func testNasm(t *testing.T, s *server) {
	jobs := s.status().Limits.Jobs
	for range 2 {
		c := newClient(t)
		r, w := c.on("").open(s.path, unix.O_RDWR), c.on("").open(s.path, unix.O_RDWR)
		c.on("").gives(w, 1)
		var reads []*pending
		for file := range 2*jobs + 1 {
			read := c.on("").startRead(r, 1)
			if file <= jobs { // the slot, and the pool
				read.gets()
				continue
			}
			read.arrived()
			reads = append(reads, read)
			c.on("worker").gives(w, 1)
			read.gets()
		}
		for range jobs + 1 {
			c.on("worker").gives(w, 1)
		}
		c.on("").takes(r)
		s.has(0)
		if len(reads) != jobs {
			t.Fatalf("%d reads waited, want %d", len(reads), jobs)
		}
	}
}

func testLenderDies(t *testing.T, s *server) {
	for _, held := range []int{0, 1, 2, 3} {
		t.Run(fmt.Sprintf("with %d taken", held), func(t *testing.T) {
			c := newClient(t)
			main := c.on("")
			fd := main.open(s.path, unix.O_RDWR)
			main.gives(fd, 1)
			for range held {
				main.takes(fd)
			}
			s.has(max(0, held-1))
			s.reclaims(c, 0)
		})
	}
}

func testLenderWaits(t *testing.T, s *server) {
	holder, c := newClient(t), newClient(t)
	h := holder.on("").open(s.path, unix.O_RDWR)
	holder.on("").takes(h)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR)
	main.gives(fd, 1)
	if got := main.polls(fd, unix.POLLIN); got != unix.POLLIN {
		t.Fatalf("poll with the loan in says %#x", got)
	}
	main.takes(fd)
	if got := main.polls(fd, unix.POLLIN); got != 0 {
		t.Fatalf("poll with the loan out says %#x", got)
	}

	read := c.on("reader").blocks(fd)
	s.waiting(1)
	main.gives(fd, 1) // answers its own reader
	read.gets()
	s.waiting(0)

	poll := c.on("poller").poll(fd, unix.POLLIN, -1).arrived()
	s.waiting(1)
	main.gives(fd, 1) // wakes its own poller
	if got := polled(poll.wait()); got != unix.POLLIN {
		t.Fatalf("poll says %#x", got)
	}
	main.takes(fd)

	read = c.on("reader").blocks(fd)
	s.waiting(1)
	holder.on("").gives(h, 1) // a token of the pool does as well
	read.gets()
	s.has(1)
	main.gives(fd, 1) // that one goes first
	s.has(0)
	holder.on("").takes(h)
	other := holder.on("reader").blocks(h)
	s.waiting(1)
	main.gives(fd, 1) // what is private is for nobody else
	s.waiting(1)
	other.waits()
}

func testLenderShrink(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	main.gives(fd, 1)
	for range 4 {
		main.takes(fd)
	}
	s.has(3)
	s.resize(1)
	s.has(3)
	main.gives(fd, 2) // taken out of the pool
	main.read(fd).is(t, "read of a shrunk pool", 0, unix.EAGAIN)
	main.gives(fd, 1)
	s.has(0)
	main.gives(fd, 1) // the private one
	main.takes(fd)
	s.has(0)
	main.takes(fd)
	s.has(1)
	main.read(fd).is(t, "read of an empty pool", 0, unix.EAGAIN)
	s.resize(3)
}

func testLenderLimited(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	main.gives(fd, 1)
	main.takes(fd) // counts for nothing
	main.takes(fd)
	main.read(fd).is(t, "read beyond the limit", 0, unix.EAGAIN)
	s.has(1)
	main.gives(fd, 2)
	s.has(0)
}

func testLenderExecFork(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	main.gives(fd, 1)
	main.exec()
	main.write(fd, "+").is(t, "a second loan", 0, unix.ENOSPC)
	main.fork(false, 0, readOne(fd), readOne(fd)).fails(unix.EAGAIN) // one of the pool's, which its end returns
	s.holds(0)
	main.fork(false, 0, writeOne(fd), writeOne(fd)).fails(unix.ENOSPC) // the child lends one of its own
	main.takes(fd)
	s.has(0)
	main.takes(fd)
	s.has(1)
	main.fork(false, 0, readOne(fd)).fails(unix.EAGAIN)
	main.gives(fd, 2)
}
