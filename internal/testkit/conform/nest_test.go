package conform

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
)

// nestCases are about processes that run in the slot of an ancestor. The test is the parent of its clients.
var nestCases = []testCase{
	{name: "a child shares its parent's slot", args: []string{"-j2"}, run: testNest, anybody: true},
	{name: "a second child waits for the slot", run: testNestWaits, anybody: true},
	{name: "a token ends the wait for a slot", args: []string{"-j2"}, run: testNestToken},
	{name: "two tokens are two slots", args: []string{"-j2"}, run: testNestTwo},
	{name: "the slot of a grandparent", args: []string{"-j2"}, run: testNestDeep},
	{name: "no ancestor holds anything", args: []string{"-j3"}, run: testNestAlone},
	{name: "the ancestor ends before its children", run: testNestAncestorExits},
	{name: "signal ends the wait for a slot", run: testNestSignal},
	{name: "SIGKILL ends the wait for a slot", run: testNestKilled},
	{name: "SIGTERM while processes wait for a slot", run: testNestStop},
	{name: "malformed nests", args: []string{"-j2"}, run: testNestMalformed},
}

// startNest begins a NEST with one of its operations.
func (th thread) startNest(fd int, op uint32) *pending {
	th.t.Helper()
	return th.sys("nest", unix.SYS_IOCTL, []memory{{Arg: 2, Data: ctl.AppendNest(nil, op)}}, uintptr(fd), uintptr(ctl.CmdNest))
}

// enters begins to nest.
func (th thread) enters(fd int) *pending {
	th.t.Helper()
	return th.startNest(fd, ctl.NestEnter)
}

// leaves gives up a slot.
func (th thread) leaves(fd int) {
	th.t.Helper()
	th.startNest(fd, ctl.NestLeave).nests(ctl.NestLeft)
}

// nests waits for a NEST to end, and fails the test unless it gives this.
func (p *pending) nests(want uint32) {
	p.c.t.Helper()
	r := p.wait()
	r.is(p.c.t, p.what, 0, 0)
	if got, err := ctl.ParseNest(r.mem[0]); got != want || err != nil {
		p.c.t.Fatalf("%s gives %d, %v, want %d", p.what, got, err, want)
	}
}

// takes has the test itself take a token.
func (s *server) takes() {
	s.t.Helper()
	if err := s.ctl.Take(); err != nil {
		s.t.Fatal(err)
	}
}

// gives has the test itself give back n tokens.
func (s *server) gives(n int) {
	s.t.Helper()
	if err := s.ctl.Return(n); err != nil {
		s.t.Fatal(err)
	}
}

func testNest(t *testing.T, s *server) {
	s.takes()
	c := newClient(t).on("")
	fd := c.open(s.path, unix.O_RDWR)
	for range 3 {
		c.enters(fd).nests(ctl.NestShared)
		s.has(1)
		c.enters(fd).fails(unix.EINVAL) // it has one
		c.leaves(fd)
		c.startNest(fd, ctl.NestLeave).fails(unix.EINVAL) // it has none
	}
	c.enters(fd).nests(ctl.NestShared)
	c.takes(fd) // a token of its own, beside
	s.has(2)
	c.gives(fd, 1)
	s.gives(1)
	s.has(0)
	c.leaves(fd) // its ancestor has returned the token, and it knows nothing of that
}

func testNestWaits(t *testing.T, s *server) {
	s.takes()
	first, second, third := newClient(t), newClient(t), newClient(t)
	f, o, l := first.on("").open(s.path, unix.O_RDWR), second.on("").open(s.path, unix.O_RDWR), third.on("").open(s.path, unix.O_RDWR)
	first.on("").enters(f).nests(ctl.NestShared)
	next := second.on("nester").enters(o).arrived()
	s.waiting(1)
	second.on("").enters(o).fails(unix.EINVAL) // it waits for one
	last := third.on("").enters(l).arrived()
	s.waiting(2)
	first.on("").leaves(f)
	next.nests(ctl.NestShared)
	last.waits()
	second.kill()
	last.nests(ctl.NestShared)
	s.has(1)
	third.on("").exec() // which keeps it
	again := first.on("").enters(f).arrived()
	s.waiting(1)
	third.on("").leaves(l)
	again.nests(ctl.NestShared)
	s.gives(1)
}

func testNestToken(t *testing.T, s *server) {
	s.takes()
	holder, h := empties(t, s)
	first, second := newClient(t).on(""), newClient(t).on("")
	f, o := first.open(s.path, unix.O_RDWR), second.open(s.path, unix.O_RDWR)
	first.enters(f).nests(ctl.NestShared)
	next := second.enters(o).arrived()
	s.waiting(1)
	holder.gives(h, 1)
	next.nests(ctl.NestTaken)
	s.has(2)
	second.startNest(o, ctl.NestLeave).fails(unix.EINVAL) // what it has is a token
	second.gives(o, 1)
	s.gives(1)
	s.has(0)
}

func testNestTwo(t *testing.T, s *server) {
	s.takes()
	s.takes()
	first, second, third := newClient(t).on(""), newClient(t).on(""), newClient(t).on("")
	f, o, l := first.open(s.path, unix.O_RDWR), second.open(s.path, unix.O_RDWR), third.open(s.path, unix.O_RDWR)
	first.enters(f).nests(ctl.NestShared)
	second.enters(o).nests(ctl.NestShared)
	next := third.enters(l).arrived()
	s.waiting(1)
	s.gives(1) // to the one who waits: there are two in the slots still
	next.nests(ctl.NestTaken)
	first.leaves(f)
	again := first.enters(f).arrived() // one holds, and one is in its slot
	s.waiting(1)
	second.leaves(o)
	again.nests(ctl.NestShared)
	s.has(2)
	s.gives(1)
}

// nestOnce is NEST for the child of a fork.
func nestOnce(fd int) call {
	return call{Nr: unix.SYS_IOCTL, Args: [6]uintptr{uintptr(fd), uintptr(ctl.CmdNest)},
		Mem: []memory{{Arg: 2, Data: ctl.AppendNest(nil, ctl.NestEnter)}}}
}

func testNestDeep(t *testing.T, s *server) {
	s.takes()
	holder, h := empties(t, s)
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	// All tokens are out, so that those who are answered share a slot, and there is one to share: the test's.
	for range 2 { // the first one's end makes room for the second
		c.on("").fork(false, 0, nestOnce(fd)).wait().is(t, "nest of a grandchild", 0, 0)
		s.has(2)
	}
	c.on("").enters(fd).nests(ctl.NestShared)
	c.on("").fork(false, 0, nestOnce(fd)).wait().is(t, "nest in a shared slot", 0, 0)
	brother := newClient(t).on("")
	next := brother.enters(brother.open(s.path, unix.O_RDWR)).arrived() // not in that one: it is not below c
	s.waiting(1)
	c.on("").leaves(fd)
	next.nests(ctl.NestShared)
	grandchild := c.on("forker").fork(false, 0, nestOnce(fd))
	s.waiting(1)
	holder.gives(h, 1) // which is a token for the grandchild
	grandchild.wait().is(t, "nest of a grandchild", 0, 0)
	c.on("").takes(fd)
	c.on("").fork(false, 0, nestOnce(fd)).wait().is(t, "nest in a nearer slot", 0, 0)
	s.has(2)
	s.gives(1)
}

func testNestAlone(t *testing.T, s *server) {
	parent, c := newClient(t), newClient(t)
	p, fd := parent.on("").open(s.path, unix.O_RDWR), c.on("").open(s.path, unix.O_RDWR)
	parent.on("").takes(p) // of a brother, which is no ancestor
	c.on("").enters(fd).nests(ctl.NestTaken)
	s.has(2)
	c.on("").enters(fd).nests(ctl.NestTaken) // nor is it its own
	s.has(3)
	third := c.on("nester").enters(fd).arrived()
	s.waiting(1)
	c.on("").gives(fd, 1)
	third.nests(ctl.NestTaken)
	s.reclaims(c, 1)
}

func testNestAncestorExits(t *testing.T, s *server) {
	parent := newClient(t)
	fd := parent.on("").open(s.path, unix.O_RDWR)
	parent.on("").takes(fd)
	var children []int
	for range 2 {
		outlive := call{Nr: unix.SYS_PRCTL, Args: [6]uintptr{unix.PR_SET_PDEATHSIG, 0}}
		r := parent.on("").fork(true, 0, outlive, nestOnce(fd)).wait()
		if r.errno != 0 {
			t.Fatalf("fork: %v", r)
		}
		pidfd, err := unix.PidfdOpen(r.n, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pidfd)
		defer unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
		children = append(children, pidfd)
	}
	s.waiting(1) // one has the slot, and the other waits for it
	parent.kill()
	s.becomes("the other has the token", func(st ctl.Status) bool { return st.Held == 1 && st.Holders == 1 && st.Waiters == 0 })
	for _, c := range children {
		if err := unix.PidfdSendSignal(c, unix.SIGKILL, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	s.holds(0)
}

func testNestSignal(t *testing.T, s *server) {
	s.takes()
	first := newClient(t).on("")
	f := first.open(s.path, unix.O_RDWR)
	first.enters(f).nests(ctl.NestShared)
	for restart := range uintptr(2) {
		c := catching(t, restart)
		fd := c.on("").open(s.path, unix.O_RDWR)
		nest := c.on("nester").enters(fd).arrived()
		s.waiting(1)
		c.tgkill(nest.tid, unix.SIGUSR1)
		nest.fails(unix.EINTR)
		s.waiting(0)
		c.on("").startNest(fd, ctl.NestLeave).fails(unix.EINVAL)
	}
	first.leaves(f)
	first.enters(f).nests(ctl.NestShared) // nobody else has it
	s.gives(1)
}

func testNestKilled(t *testing.T, s *server) {
	s.takes()
	first := newClient(t).on("")
	f := first.open(s.path, unix.O_RDWR)
	first.enters(f).nests(ctl.NestShared)
	for range 3 {
		c := newClient(t)
		c.on("").enters(c.on("").open(s.path, unix.O_RDWR)).arrived()
		s.waiting(1)
		begin := time.Now()
		c.cmd.Process.Kill()
		c.exits()
		if took := time.Since(begin); took > soon() {
			t.Errorf("the process ended %v after SIGKILL", took)
		}
		s.waiting(0)
	}
	first.leaves(f)
	first.enters(f).nests(ctl.NestShared)
	s.gives(1)
	s.has(0)
}

func testNestStop(t *testing.T, s *server) {
	s.takes()
	first, second := newClient(t).on(""), newClient(t).on("")
	f, o := first.open(s.path, unix.O_RDWR), second.open(s.path, unix.O_RDWR)
	first.enters(f).nests(ctl.NestShared)
	next := second.enters(o).arrived()
	s.waiting(1)
	s.stop(unix.SIGTERM)
	next.fails(unix.ECONNABORTED)
	if r := first.startNest(f, ctl.NestLeave).wait(); r.errno != unix.ECONNABORTED && r.errno != unix.ENOTCONN {
		t.Errorf("leave after the end: %v", r)
	}
}

func testNestMalformed(t *testing.T, s *server) {
	s.takes() // so that a slot is there
	main := newClient(t).on("")
	fd := main.open(s.path, unix.O_RDWR)
	for name, record := range map[string][]byte{
		"an answer":      ctl.AppendNest(nil, ctl.NestShared),
		"unknown":        ctl.AppendNest(nil, ctl.NestShared+1),
		"the upper half": {ctl.NestEnter, 0, 0, 0, 1, 0, 0, 0},
	} {
		main.ioctl(fd, ctl.CmdNest, record).is(t, name, 0, unix.EINVAL)
		s.has(1)
	}
	main.startNest(fd, ctl.NestLeave).fails(unix.EINVAL) // nothing was shared
	s.gives(1)
}
