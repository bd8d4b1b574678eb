package conform

import (
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// surviveCases are about what stays as it is when another worker comes to serve.
var surviveCases = []testCase{
	{name: "tokens stay held", args: []string{"-j4"}, run: each(testKeepTokens), anybody: true},
	{name: "readers keep waiting, and their order", args: []string{"-j3"}, run: each(testKeepReaders), anybody: true},
	{name: "signals end reads from before", run: each(testKeepInterrupt), anybody: true},
	{name: "pollers keep waiting", run: each(testKeepPollers), anybody: true},
	{name: "close of what is polled since before", run: each(testKeepRelease), anybody: true},
	{name: "relays keep waiting", args: []string{"-j2"}, run: each(testKeepRelays), anybody: true},
}

// memoryCases are more of it, in which the kernel has no part.
var memoryCases = []testCase{
	{name: "tokens stay held without privileges", args: []string{"-j4", "--user", "nobody"}, run: each(testKeepTokens)},
	{name: "forks have open files from before", args: []string{"-j3"}, run: each(testKeepForks)},
	{name: "a loan stays", args: []string{"-j2"}, run: each(testKeepLoan), anybody: true},
	{name: "slots stay shared", run: each(testKeepNest)},
	{name: "settings stay", run: each(testKeepSettings), anybody: true},
	{name: "the same report", args: []string{"-j6"}, run: each(testKeepReport), anybody: true},
	{name: "a report cut in two begins again", args: []string{"-j300"}, run: each(testReportCut), anybody: true},
	{name: "SIGUSR1 to the next", run: each(testReportNext)},
	{name: "mode and owner stay", run: each(testKeepMode)},
}

func testKeepTokens(t *testing.T, s *server, replace func()) {
	a, b := newClient(t), newClient(t)
	fa, fb := a.on("").open(s.path, unix.O_RDWR), b.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	a.on("").takes(fa)
	a.on("").takes(fa)
	b.on("").takes(fb)
	b.on("").takes(fb)
	replace()
	s.has(4)
	b.on("").read(fb).is(t, "read of an empty pool", 0, unix.EAGAIN)
	a.on("").write(fa, "+++").is(t, "write of 3 with 2 held", 2, 0)
	a.on("").write(fa, "+").is(t, "write with none held", 0, unix.ENOSPC)
	s.has(2)
	b.on("").takes(fb)
	s.has(3)
	s.reclaims(b, 0) // its end is seen
}

func testKeepReaders(t *testing.T, s *server, replace func()) {
	rich, poor, late, free := newClient(t), newClient(t), newClient(t), newClient(t)
	open := func(c *client) int { return c.on("").open(s.path, unix.O_RDWR) }
	r, p, l, f := open(rich), open(poor), open(late), open(free)
	rich.on("").takes(r)
	free.on("").takes(f)
	free.on("").takes(f)
	third := rich.on("").blocks(r) // waits longest
	s.waiting(1)
	first := poor.on("reader").blocks(p)
	s.waiting(2)
	second := late.on("").blocks(l)
	s.waiting(3)
	replace()
	s.waiting(3)
	free.on("").gives(f, 1)
	first.gets()
	second.waits()
	free.on("").gives(f, 1)
	second.gets()
	third.waits()
	poor.on("").gives(p, 1)
	third.gets()
	for _, c := range []*client{rich, late} {
		c.kill()
	}
}

func testKeepInterrupt(t *testing.T, s *server, replace func()) {
	holder, h := empties(t, s)
	c, killed := catching(t, 0), newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	read := c.on("reader").blocks(fd)
	s.waiting(1)
	killed.on("").blocks(killed.on("").open(s.path, unix.O_RDWR))
	s.waiting(2)
	replace()
	read.waits()
	c.tgkill(read.tid, unix.SIGUSR1)
	read.fails(unix.EINTR)
	s.waiting(1)
	killed.cmd.Process.Kill()
	killed.exits()
	s.waiting(0)
	holder.gives(h, 1)
	s.has(0)
}

func testKeepPollers(t *testing.T, s *server, replace func()) {
	holder, h := empties(t, s)
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	var polls []*pending
	for _, p := range pollers {
		polls = append(polls, p.start(c.on(p.name), fd, unix.POLLIN, -1).arrived())
	}
	s.waiting(1)
	replace()
	s.waiting(1)
	for _, p := range polls {
		p.waits()
	}
	holder.gives(h, 1)
	for i, p := range polls {
		if got := pollers[i].ready(p.wait()); got != unix.POLLIN {
			t.Errorf("%s: %#x", pollers[i].name, got)
		}
	}
	c.on("").takes(fd)
	c.kill()
}

func testKeepRelease(t *testing.T, s *server, replace func()) {
	holder, h := empties(t, s)
	c := newClient(t).on("")
	polled, read := c.open(s.path, unix.O_RDWR), c.open(s.path, unix.O_RDWR)
	c.epoll(polled, unix.EPOLLIN)
	s.waiting(1)
	replace()
	s.waiting(1)
	c.close(polled)
	s.waiting(0)
	holder.gives(h, 1)
	c.takes(read)
	c.gives(read, 1)
}

func testKeepForks(t *testing.T, s *server, replace func()) {
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	child := c.on("").fork(true, 0, readOne(fd)).wait()
	s.holds(1)
	replace()
	s.has(1)
	c.on("").takes(fd)
	c.on("").fork(false, 0, readOne(fd)).wait().is(t, "read by a fork", 1, 0)
	s.holds(2) // its end has returned it
	if err := unix.Kill(child.n, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.holds(1)
	c.on("").gives(fd, 1)
	c.kill()
}

func testKeepLoan(t *testing.T, s *server, replace func()) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	main.gives(fd, 1)
	replace()
	main.write(fd, "+").is(t, "a second loan", 0, unix.ENOSPC)
	main.takes(fd) // its own
	s.has(0)
	main.takes(fd)
	replace()
	s.has(1)
	main.takes(fd)
	main.read(fd).is(t, "read of an empty pool", 0, unix.EAGAIN)
	main.write(fd, "++++").is(t, "write of 4", 3, 0)
	s.has(0)
	c.kill()
}

func testKeepNest(t *testing.T, s *server, replace func()) {
	s.takes()
	first, second := newClient(t).on(""), newClient(t)
	f, o := first.open(s.path, unix.O_RDWR), second.on("").open(s.path, unix.O_RDWR)
	first.enters(f).nests(ctl.NestShared)
	next := second.on("nester").enters(o).arrived()
	s.waiting(1)
	replace()
	s.waiting(1)
	first.enters(f).fails(unix.EINVAL) // it has one
	next.waits()
	first.leaves(f)
	next.nests(ctl.NestShared)
	again := first.enters(f).arrived()
	s.waiting(1)
	replace()
	second.kill() // which was in the slot
	again.nests(ctl.NestShared)
	s.has(1)
	first.leaves(f)
	s.gives(1)
}

func testKeepRelays(t *testing.T, s *server, replace func()) {
	turn, spare, idle, other := newClient(t), newClient(t), newClient(t), newClient(t)
	open := func(c *client) int { return c.on("").open(s.path, unix.O_RDWR) }
	tu, sp, id, o := open(turn), open(spare), open(idle), open(other)
	other.on("").takes(o)
	idle.on("").takes(id)
	told := idle.on("asker").relay(id, ctl.RelayAsk{Idle: true}).arrived()
	spares := spare.on("").relay(sp, ctl.RelayAsk{Want: 2}).arrived()
	s.has(2)
	replace()
	told.waits()
	waits := turn.on("").relay(tu, ctl.RelayAsk{Wait: true}).arrived()
	told.relays(ctl.RelayAnswer{Wanted: true})
	s.waiting(1)
	replace()
	idle.on("").gives(id, 1)
	waits.relays(ctl.RelayAnswer{Tokens: 1})
	spares.waits()
	other.on("").gives(o, 1)
	spares.relays(ctl.RelayAnswer{Tokens: 1})
	for _, c := range []*client{turn, spare} {
		c.kill()
	}
}

func testKeepSettings(t *testing.T, s *server, replace func()) {
	c := newClient(t).on("")
	fd := c.open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
	want := pool.Limits{Jobs: 7, MinJobs: 1, LoadAverage: 1e9, RecheckTimeout: 90 * time.Second, MinMemory: 3, PerProcess: 2}
	s.set(pool.AllFields, want)
	replace()
	if got := s.status().Limits; got != want {
		t.Errorf("limits are %+v, want %+v", got, want)
	}
	c.takes(fd)
	c.takes(fd)
	c.read(fd).is(t, "read beyond the limit per process", 0, unix.EAGAIN)
	c.gives(fd, 2)
}

func testKeepReport(t *testing.T, s *server, replace func()) {
	a, lender, waiter := newClient(t), newClient(t), newClient(t)
	fa, fl, fw := a.on("").open(s.path, unix.O_RDWR), lender.on("").open(s.path, unix.O_RDWR), waiter.on("").open(s.path, unix.O_RDWR)
	for range 4 {
		a.on("").takes(fa)
	}
	a.on("").gives(fa, 2) // numbers 2 and 3 are left
	lender.on("").gives(fl, 1)
	for range 5 {
		lender.on("").takes(fl)
	}
	waiter.on("").blocks(fw)
	s.waiting(1)
	relays := newClient(t)
	relays.on("").relay(relays.on("").open(s.path, unix.O_RDWR), ctl.RelayAsk{Want: 1, Wait: true}).arrived()
	s.waiting(2)
	before, err := s.ctl.Report()
	if err != nil {
		t.Fatal(err)
	}
	replace()
	after, err := s.ctl.Report()
	if err != nil {
		t.Fatal(err)
	}
	// All is as it was, and so much older; and as the counts are read at one moment and the time at another, by one number.
	if len(before.Processes) != 4 || len(after.Processes) != 4 {
		t.Fatalf("%+v became %+v", before, after)
	}
	var older time.Duration
	age := func(now, was *time.Duration) {
		t.Helper()
		if older == 0 {
			older = *now - *was
		}
		if *now-*was != older || older <= 0 && *was != 0 {
			t.Errorf("an age of %v became %v, others are %v older", *was, *now, older)
		}
		*now = *was
	}
	for i := range before.Processes {
		was, now := before.Processes[i], after.Processes[i]
		if now.PID != was.PID || len(now.Tokens) != len(was.Tokens) || now.Lends != was.Lends || now.Waits != was.Waits || now.Relays != was.Relays {
			t.Fatalf("%+v became %+v", was, now)
		}
		for j := range was.Tokens {
			age(&now.Tokens[j].Age, &was.Tokens[j].Age)
			if now.Tokens[j] != was.Tokens[j] {
				t.Errorf("%+v became %+v", was, now)
			}
		}
		if was.Waits {
			age(&now.Waiting, &was.Waiting)
		}
	}
	for _, c := range []*client{a, lender, waiter, relays} {
		c.kill()
	}
}

// testReportCut has another worker give the second page.
func testReportCut(t *testing.T, s *server, replace func()) {
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	c.on("").relay(fd, ctl.RelayAsk{Want: 300}).relays(ctl.RelayAnswer{Tokens: 300})
	asked, stale := 0, 0
	r, err := ctl.ReadReport(func(b []byte) error {
		if asked++; asked == 2 {
			replace()
		}
		r := c.on("").ioctl(fd, ctl.CmdReport, b)
		if r.errno != 0 {
			stale++
			return r.errno
		}
		copy(b, r.mem[0])
		return nil
	})
	if err != nil || asked != 4 || stale != 1 {
		t.Fatalf("asked for %d pages, of which %d came of another report: %v", asked, stale, err)
	}
	if len(r.Processes) != 1 || len(r.Processes[0].Tokens) != 300 {
		t.Errorf("%d processes, %d tokens of the first", len(r.Processes), len(r.Processes[0].Tokens))
	}
	c.kill()
}

func testReportNext(t *testing.T, s *server, replace func()) {
	holder, h := empties(t, s)
	replace()
	report := regexp.MustCompile(`(?m)^PID ` + itoa(holder.pid) + ` \(.*\) holds 1 tokens:$`)
	s.signal(unix.SIGUSR1)
	s.stdout.await(t, report, s.ended)
	holder.gives(h, 1)
}

func testKeepMode(t *testing.T, s *server, replace func()) {
	stat := func() (st unix.Statx_t) {
		t.Helper()
		// Of the server, not of what the kernel remembers.
		if err := unix.Statx(unix.AT_FDCWD, s.path, unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	is := func(mode uint16, uid, gid uint32) {
		t.Helper()
		if st := stat(); st.Mode&0o7777 != mode || st.Uid != uid || st.Gid != gid {
			t.Errorf("mode %#o, owner %d, group %d, want %#o, %d, %d", st.Mode, st.Uid, st.Gid, mode, uid, gid)
		}
	}
	if err := os.Chown(s.path, 12345, 23456); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.path, 0o604); err != nil {
		t.Fatal(err)
	}
	is(0o604, 12345, 23456)
	replace()
	is(0o604, 12345, 23456)
	c := newClient(t, as(nobody, nobody)).on("")
	c.open(s.path, unix.O_RDONLY)
	c.tryOpen(s.path, unix.O_RDWR).is(t, "open by nobody", 0, unix.EACCES)
	if err := errors.Join(os.Chmod(s.path, 0o620), os.Chown(s.path, 0, 0)); err != nil {
		t.Fatal(err)
	}
	is(0o620, 0, 0)
}
