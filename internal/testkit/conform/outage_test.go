package conform

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/proc"
)

// outageCases are about what happens while nobody serves, and about a past that the next worker does not believe.
var outageCases = []testCase{
	{name: "all at once while nobody serves", args: []string{"-j5"}, run: testOutage, anybody: true},
	{name: "pid used again while nobody serves", args: []string{"-j2"}, run: testOutagePIDReused},
	{name: "pid used again by a writer while nobody serves", args: []string{"-j2"}, run: testOutagePIDReusedByWriter},
	{name: "journal with a flipped bit", args: []string{"-j4"}, run: refused("its snapshot is damaged", flipped), anybody: true},
	{name: "journal of a newer steve", args: []string{"-j4"}, run: refused("written by a newer steve", newer), anybody: true},
}

// journalCases are more of what can be wrong with the past. It is not tried in guests, for time: what is found is the same
// on any transport, and what follows is among outageCases.
var journalCases = []testCase{
	{name: "journal with a flipped bit in an event", args: []string{"-j4"}, run: refused("record 1 after its snapshot is damaged", flippedEvent)},
	{name: "journal cut short", args: []string{"-j4"}, run: refused("cut short", cutShort)},
	{name: "journal of another boot", args: []string{"-j4"}, run: refused("before this machine was started", otherBoot)},
	{name: "journal that is none", args: []string{"-j4"}, run: refused("not a journal", none)},
}

func testOutage(t *testing.T, s *server) {
	const flags = unix.O_RDWR
	stays, writes, dies, gone := newClient(t), newClient(t), newClient(t), newClient(t)
	st, wr, di, gn := stays.on("").open(s.path, flags), writes.on("").open(s.path, flags), dies.on("").open(s.path, flags), gone.on("").open(s.path, flags)
	stays.on("").takes(st)
	writes.on("").takes(wr)
	writes.on("").takes(wr)
	dies.on("").takes(di)
	gone.on("").takes(gn)
	gone.on("").close(gn) // so that its end needs no answer
	waits, leaves, starts, closes := newClient(t), newClient(t), newClient(t), newClient(t)
	wa, le, sa, cl := waits.on("").open(s.path, flags), leaves.on("").open(s.path, flags), starts.on("").open(s.path, flags), closes.on("").open(s.path, flags)
	left := leaves.on("").blocks(le)
	s.waiting(1)
	waiting := waits.on("").blocks(wa)
	s.waiting(2)
	closes.on("").epoll(cl, unix.EPOLLIN)
	s.waiting(3)
	poller := newClient(t).on("")
	poll := poller.poll(poller.open(s.path, flags|unix.O_NONBLOCK), unix.POLLIN, -1).arrived()
	s.waiting(4)

	s.outage()
	dies.cmd.Process.Kill()
	leaves.cmd.Process.Kill()
	gone.kill()
	reading := starts.on("").blocks(sa)
	writing := writes.on("").sys("write", unix.SYS_WRITE, []memory{{Arg: 1, Data: []byte("+")}}, uintptr(wr), 0, 1).arrived()
	closing := closes.on("").sys("close", unix.SYS_CLOSE, nil, uintptr(cl))
	<-closing.begun
	asking := stays.on("other").sys("status", unix.SYS_IOCTL, []memory{{Arg: 2, Size: ctl.StatusSize}}, uintptr(st), uintptr(ctl.CmdStatus)).arrived()
	waiting.waits()
	s.thaw()

	waiting.gets()
	reading.gets()
	writing.wait().is(t, "write", 1, 0)
	closing.wait().is(t, "close", 0, 0)
	asking.wait().is(t, "status", 0, 0)
	if got := polled(poll.wait()); got != unix.POLLIN {
		t.Errorf("poll says %#x", got)
	}
	dies.exits()
	leaves.exits()
	if left.ended() {
		t.Errorf("the read of a killed process ended: %v", left.result())
	}
	s.becomes("two tokens are where they were, two more are out", func(st ctl.Status) bool {
		return st.Held == 4 && st.Holders == 4 && st.Waiters == 0
	})
	stays.on("").gives(st, 1)
	writes.on("").gives(wr, 1)
	for _, c := range []*client{waits, starts} {
		c.kill()
	}
}

// nextTick returns when processes that start have another start time than c has, of which pids used again are told by.
func nextTick(t *testing.T, c *client) {
	t.Helper()
	started, err := proc.Root.StartTime(c.pid)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
			t.Fatal(err)
		}
		const tick = 10 * time.Millisecond
		if uint64(now.Nano()) >= (started+1)*uint64(tick) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func testOutagePIDReused(t *testing.T, s *server) {
	old, forker := newClient(t), newClient(t)
	o := old.on("").open(s.path, unix.O_RDWR)
	old.on("").takes(o)
	old.on("").close(o)
	fd := forker.on("").open(s.path, unix.O_RDWR)
	nextTick(t, old)
	reuse(t, s, s.outage, old, forker, true, readOne(fd))
	s.holds(1) // the child's; and the former one's is back
	forker.on("").takes(fd)
	s.has(2)
	if err := unix.Kill(old.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.holds(1)
	forker.kill()
}

func testOutagePIDReusedByWriter(t *testing.T, s *server) {
	old, forker := newClient(t), newClient(t)
	o := old.on("").open(s.path, unix.O_RDWR)
	old.on("").takes(o)
	old.on("").takes(o)
	old.on("").close(o)
	fd := forker.on("").open(s.path, unix.O_RDWR)
	nextTick(t, old)
	// It owes nothing of what its pid held: the first write lends, the second is one too many.
	reuse(t, s, s.outage, old, forker, false, writeOne(fd), writeOne(fd)).fails(unix.ENOSPC)
	s.holds(0)
}

// What is where in a journal: see package journal.
const (
	journalVersion  = 8
	journalBoot     = 12
	journalSum      = 2100 // of all before
	journalActive   = 2104
	journalBanks    = 64 << 10
	journalBankSize = 64 << 20
	bankLength      = 8 // of the snapshot
	bankSnapshot    = 24
)

// A journal is the file that a dead worker has left behind.
type journal struct {
	t *testing.T
	*os.File
}

// journal opens what the keeper keeps.
func (s *server) journal() journal {
	s.t.Helper()
	links, err := filepath.Glob("/proc/" + itoa(s.process.Pid) + "/fd/*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, link := range links {
		if name, _ := os.Readlink(link); !strings.HasPrefix(name, "/memfd:steve-journal") {
			continue
		}
		f, err := os.OpenFile(link, os.O_RDWR, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		return journal{s.t, f}
	}
	s.t.Fatal("no journal")
	panic(errors.ErrUnsupported)
}

func (j journal) read(at, n int) []byte {
	j.t.Helper()
	b := make([]byte, n)
	if _, err := j.ReadAt(b, int64(at)); err != nil {
		j.t.Fatal(err)
	}
	return b
}

func (j journal) write(at int, b []byte) {
	j.t.Helper()
	if _, err := j.WriteAt(b, int64(at)); err != nil {
		j.t.Fatal(err)
	}
}

func (j journal) flip(at int) { j.write(at, []byte{j.read(at, 1)[0] ^ 1}) }

// bank is where the one that counts is.
func (j journal) bank() int {
	j.t.Helper()
	switch active := binary.NativeEndian.Uint32(j.read(journalActive, 4)); active {
	case 0x0f0f0f0f:
		return journalBanks
	case 0xf0f0f0f0:
		return journalBanks + journalBankSize
	default:
		j.t.Fatalf("the active bank is %#x", active)
		panic(errors.ErrUnsupported)
	}
}

func flipped(j journal) { j.flip(j.bank() + bankSnapshot + 8) }

func flippedEvent(j journal) {
	length := binary.NativeEndian.Uint32(j.read(j.bank()+bankLength, 4))
	j.flip(j.bank() + bankSnapshot + int(length+7)&^7 + 16) // its kind
}

func cutShort(j journal) {
	if err := j.Truncate(journalBanks + 100); err != nil {
		j.t.Fatal(err)
	}
}

func newer(j journal) { j.flip(journalVersion + 1) }
func none(j journal)  { j.flip(0) }

func otherBoot(j journal) {
	j.flip(journalBoot)
	sum := crc32.Checksum(j.read(0, journalSum), crc32.MakeTable(crc32.Castagnoli))
	j.write(journalSum, binary.NativeEndian.AppendUint32(nil, sum))
}

// refused makes a case of damage to the journal, and what is said of it.
func refused(why string, damage func(journal)) func(*testing.T, *server) {
	return func(t *testing.T, s *server) {
		held := newClient(t)
		h := held.on("").open(s.path, unix.O_RDWR)
		held.on("").takes(h)
		held.on("").takes(h)
		empties(t, s)
		reader, caught, relay, killed, poller := newClient(t), catching(t, 0), newClient(t), newClient(t), newClient(t)
		open := func(c *client) int { return c.on("").open(s.path, unix.O_RDWR) }
		ca := open(caught)
		var asleep []*pending
		asleep = append(asleep, reader.on("").blocks(open(reader)), caught.on("reader").blocks(ca),
			relay.on("").relay(open(relay), ctl.RelayAsk{Want: 1, Wait: true}).arrived())
		killed.on("").blocks(open(killed))
		po := open(poller)
		poll := poller.on("poller").poll(po, unix.POLLIN, -1).arrived()
		s.waiting(5)

		old := s.about().Worker
		s.outage()
		j := s.journal()
		damage(j)
		j.Close()
		caught.tgkill(asleep[1].tid, unix.SIGUSR1) // whose INTERRUPT the next worker finds
		killed.cmd.Process.Kill()
		begin := time.Now()
		s.thaw()
		killed.exits()
		for _, p := range asleep {
			p.fails(unix.EINTR)
		}
		if got := polled(poll.wait()); got != unix.POLLIN {
			t.Errorf("poll says %#x", got)
		}
		if now := s.another(old); now.Takeovers != 0 || now.Forgiven != 0 {
			t.Errorf("a server without a past says %+v", now)
		}
		t.Logf("all were told within %v", time.Since(begin))
		s.has(0)
		s.waiting(0)
		if log := s.stderr.String(); strings.Count(log, "refused") != 1 || !strings.Contains(log, "refused: ") || !strings.Contains(log, why) {
			t.Errorf("the log says:\n%s", log)
		}

		// What was taken in the past may come back, and mints nothing.
		forgiven := func(want uint64) {
			t.Helper()
			if got := s.about().Forgiven; got != want {
				t.Errorf("%d tokens forgiven, want %d", got, want)
			}
			s.has(0)
		}
		held.on("").gives(h, 1)
		forgiven(1)
		held.on("").gives(h, 1)
		forgiven(2)
		o := open(held) // here as in any pool: one is a loan, two are too many
		held.on("").gives(o, 1)
		held.on("").write(o, "+").is(t, "write of what was never taken", 0, unix.ENOSPC)
		forgiven(2)
		held.on("").takes(o) // the loan

		// All else is as ever, on what was opened in the past too.
		holder, hh := empties(t, s)
		read := caught.on("reader").blocks(ca)
		poll = poller.on("poller").poll(po, unix.POLLIN, -1).arrived()
		s.waiting(2)
		caught.tgkill(read.tid, unix.SIGUSR1)
		read.fails(unix.EINTR)
		s.waiting(1)
		s.killWorker() // the journal is one again,
		s.upgrade()    // and what a worker leaves that parks
		s.waiting(1)
		holder.gives(hh, 1)
		if got := polled(poll.wait()); got != unix.POLLIN {
			t.Errorf("poll says %#x", got)
		}
		poller.on("").takes(po)
		poller.on("").close(po)
		holder.gives(hh, 3)
		s.reclaims(poller, 0)
		forgiven(2)
		caught.on("").gives(ca, 1) // opened before any worker with this journal
		forgiven(3)
		if log := s.stderr.String(); strings.Count(log, "refused") != 1 {
			t.Errorf("the log says:\n%s", log)
		}
	}
}
