package conform

import (
	"testing"

	"golang.org/x/sys/unix"
)

// identityCases are about what makes a process the same, or another one.
var identityCases = []testCase{
	{name: "execve keeps tokens", args: []string{"-j3"}, run: testExec, anybody: true},
	{name: "execve by another thread keeps tokens", args: []string{"-j3"}, run: testExecByThread},
	{name: "execve while threads wait", args: []string{"-j2"}, run: testExecWhileWaiting},
	{name: "main thread gone", args: []string{"-j3"}, run: testMainThreadGone},
	{name: "pid used again before the exit is seen", args: []string{"-j2"}, run: testPIDReused},
	{name: "pid used again by a writer", args: []string{"-j2"}, run: testPIDReusedByWriter},
}

func testExec(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR)
	main.takes(fd)
	main.takes(fd)
	for range 2 {
		main.exec()
		s.has(2)
		main.gives(fd, 1)
		main.takes(fd)
	}
	s.reclaims(c, 0)
}

func testExecByThread(t *testing.T, s *server) {
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	c.on("").takes(fd)
	c.on("other").takes(fd)
	c.on("other").exec() // this thread gets the id of the main thread
	s.has(2)
	c.on("").gives(fd, 1)
	s.has(1)
	c.on("other").takes(fd)
	c.on("other").takes(fd)
	s.has(3)
	s.reclaims(c, 0)
}

func testExecWhileWaiting(t *testing.T, s *server) {
	holder, c := newClient(t), newClient(t)
	h := holder.on("").open(s.path, unix.O_RDWR)
	holder.on("").takes(h)
	fd := c.on("").open(s.path, unix.O_RDWR)
	c.on("").takes(fd)
	c.on("reader").blocks(fd)
	poller := c.on("poller").poll(fd, unix.POLLIN, -1).arrived()
	s.waiting(1)
	poller.waits()
	c.on("").exec() // ends the other threads
	s.has(2)
	holder.on("").gives(h, 1)
	s.has(1) // and not given to a thread that is no more
	c.on("").takes(fd)
	c.on("").gives(fd, 2)
	s.has(0)
}

func testMainThreadGone(t *testing.T, s *server) {
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	c.on("").takes(fd)
	c.on("other").takes(fd)
	c.on("").sys("exit", unix.SYS_EXIT, nil, 0)
	for threadState(c.pid, c.pid) != 'Z' {
		c.on("other").sys("getpid", unix.SYS_GETPID, nil).wait()
	}
	s.has(2)
	c.on("other").gives(fd, 1)
	c.on("third").takes(fd)
	c.on("third").takes(fd)
	c.on("third").gives(fd, 1)
	s.has(2)
	s.reclaims(c, 0)
}

// reuse kills a client, whose files must be closed, while nobody serves, and has a forked child of another with its pid
// carry out calls. Pause begins that time: freeze, or outage. The server that wakes has, at once, requests by that pid and
// the end of the former process to learn of.
func reuse(t *testing.T, s *server, pause func(), old, forker *client, stay bool, calls ...call) *pending {
	t.Helper()
	pause()
	old.kill()
	p := forker.on("").fork(stay, old.pid, calls...)
	<-p.begun
	if stay {
		if r := p.wait(); r.errno != 0 {
			t.Fatalf("clone3 with set_tid: %v", r)
		}
	}
	for threadState(old.pid, old.pid) != 'S' { // the child, in its request
		if p.ended() && !stay {
			t.Fatalf("the child with pid %d: %v", old.pid, p.wait())
		}
	}
	s.thaw()
	return p
}

func testPIDReused(t *testing.T, s *server) {
	for range 5 {
		old, forker := newClient(t), newClient(t)
		o := old.on("").open(s.path, unix.O_RDWR)
		old.on("").takes(o)
		old.on("").close(o)
		fd := forker.on("").open(s.path, unix.O_RDWR)
		reuse(t, s, s.freeze, old, forker, true, readOne(fd))
		s.holds(1) // the child's; and the former one's is back
		forker.on("").takes(fd)
		s.has(2)
		if err := unix.Kill(old.pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.holds(1)
		forker.kill()
		s.holds(0)
	}
}

func testPIDReusedByWriter(t *testing.T, s *server) {
	old, forker := newClient(t), newClient(t)
	o := old.on("").open(s.path, unix.O_RDWR)
	old.on("").takes(o)
	old.on("").takes(o)
	old.on("").close(o)
	fd := forker.on("").open(s.path, unix.O_RDWR)
	// It owes nothing of what its pid held: the first write lends, the second is one too many.
	reuse(t, s, s.freeze, old, forker, false, writeOne(fd), writeOne(fd)).fails(unix.ENOSPC)
	s.holds(0)
}
