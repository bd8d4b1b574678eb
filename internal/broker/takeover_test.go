package broker

import (
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/front"
	"steve/internal/fuseconn"
	"steve/internal/fusewire"
	"steve/internal/journal"
	"steve/internal/pool"
	"steve/internal/testkit/fakekernel"
)

// killed is what a server that dies panics with.
type killed struct{}

// A mortal is a device whose server is killed at the moment that left reaches 0. Moments are after each read, before each
// write and after it.
type mortal struct {
	fuseconn.Device
	left int
}

func (m *mortal) moment() {
	if m.left--; m.left == 0 {
		panic(killed{})
	}
}

func (m *mortal) Read(p []byte) (int, error) {
	n, err := m.Device.Read(p)
	if err == nil {
		m.moment()
	}
	return n, err
}

func (m *mortal) Write(p []byte) (int, error) {
	m.moment()
	n, err := m.Device.Write(p)
	m.moment()
	return n, err
}

// An observer is a Config.Observe.
type observer func(time.Duration, pool.Event, []pool.Effect)

// born returns a broker that goes on from where the journal ends. Of its past it has the journal alone.
func born(t *testing.T, j *journal.Journal, kernel fuseconn.Device, observe observer) *Broker {
	t.Helper()
	past := &Past{Pool: pool.New(pool.DefaultLimits(2))}
	if !j.Empty() {
		var err error
		if past, err = Recover(j); err != nil {
			t.Fatal(err)
		}
	}
	book := &Journal{Journal: j, Failed: func(err error) { t.Error(err) }}
	server, err := front.New(front.Config{
		Conn: fuseconn.NewIn(kernel, j.Slot()), FD: -1, Pool: past.Pool, Note: book.Note, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	book.Facts = server.Facts
	b, err := New(Config{Pool: past.Pool, Front: server, Journal: book, Observe: observe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(b.wakeup) })
	if j.Empty() {
		book.Checkpoint(past.Pool)
		return b
	}
	b.follow, err = server.Restore(front.Past{
		Facts: past.Facts, Effects: past.Effects, Ticket: past.Last.Ticket, Received: j.Received,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lives has f serve, and returns false if it was killed.
func lives(f func()) (lives bool) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case killed{}:
			lives = false
		default:
			panic(p)
		}
	}()
	f()
	return true
}

// serveAll serves all that the kernel has.
func (b *Broker) serveAll(t *testing.T) {
	t.Helper()
	b.followUp()
	b.exits()
	for b.requests() {
	}
	if b.err != nil {
		t.Fatal(b.err)
	}
}

// conversation is what three processes ask of a steve with two tokens, with all that a server must not forget.
func conversation(a, b, c uint32) [][]byte {
	of := func(pid uint32, unique uint64) fusewire.Header {
		return fusewire.Header{Unique: unique, NodeID: 1, PID: pid}
	}
	read := func(pid uint32, unique uint64) []byte {
		return fakekernel.BuildRead(of(pid, unique), fusewire.ReadIn{Fh: uint64(pid), Size: 1, ReadFlags: fusewire.ReadLockOwner})
	}
	write := func(pid uint32, unique uint64, data string) []byte {
		return fakekernel.BuildWrite(of(pid, unique), fusewire.WriteIn{Fh: uint64(pid), Data: []byte(data)})
	}
	poll := func(pid uint32, unique uint64) []byte {
		return fakekernel.BuildPoll(of(pid, unique), fusewire.PollIn{Fh: uint64(pid), Kh: uint64(pid), Flags: fusewire.PollScheduleNotify})
	}
	interrupt := func(target uint64) []byte {
		return fakekernel.BuildInterrupt(fusewire.Header{}, fusewire.InterruptIn{Unique: target})
	}
	ioctl := func(pid uint32, unique uint64, cmd uint32, out int, data []byte) []byte {
		return fakekernel.BuildIoctl(of(pid, unique), fusewire.IoctlIn{Fh: uint64(pid), Cmd: cmd, OutSize: uint32(out), Data: data})
	}
	jobs := func(pid uint32, unique uint64, n int) []byte {
		return ioctl(pid, unique, ctl.CmdSet, 0, ctl.AppendSettings(nil, pool.FieldJobs, pool.Limits{Jobs: n}))
	}
	relay := func(pid uint32, unique uint64, ask ctl.RelayAsk) []byte {
		return ioctl(pid, unique, ctl.CmdRelay, ctl.RelaySize, ctl.AppendRelayAsk(nil, ask))
	}
	status := func(pid uint32, unique uint64) []byte { return ioctl(pid, unique, ctl.CmdStatus, ctl.StatusSize, nil) }
	return [][]byte{
		read(a, 2), read(b, 4),
		read(c, 6),        // waits
		write(a, 8, "+"),  // and is granted
		read(a, 10),       // waits
		interrupt(10),     // and no more
		poll(a, 12),       // armed
		write(b, 14, "+"), // wakes a,
		read(a, 16),       // which comes
		read(b, 18), read(b, 20), read(a, 22),
		jobs(c, 24, 4), // grants two
		read(c, 26), read(c, 28), read(a, 30),
		jobs(c, 32, 9), // grants them all
		fakekernel.BuildRelease(fusewire.Header{Unique: 34, NodeID: 1}, fusewire.ReleaseIn{Fh: uint64(a)}),
		status(a, 36),
		write(c, 38, "+++"), write(c, 40, "+"), // the last is one too many
		relay(a, 42, ctl.RelayAsk{Want: 2}),                                         // at once
		relay(b, 44, ctl.RelayAsk{Idle: true}),                                      // stays
		ioctl(c, 46, ctl.CmdNest, ctl.NestSize, ctl.AppendNest(nil, ctl.NestEnter)), // a token
		jobs(c, 48, 2),
		read(c, 50), // waits, and b is told
		write(a, 52, "+++++"),
		write(b, 54, "++"),
		status(c, 56),
	}
}

// processes starts n of them, which end with the test, and returns their ids.
func processes(t *testing.T, n int) (pids []uint32) {
	t.Helper()
	for range n {
		cmd := exec.Command("cat")
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		pids = append(pids, uint32(cmd.Process.Pid))
	}
	return pids
}

// TestTakeover kills the server of a conversation at every moment of it, and then its successor at one of its own. All are
// to get the answers that they get from one that lives.
func TestTakeover(t *testing.T) {
	pids := processes(t, 3)
	messages := conversation(pids[0], pids[1], pids[2])
	// talk returns all answers, and whether both servers were killed in time.
	talk := func(first, second int) (answers map[uint64]string, killed bool) {
		kernel := fakekernel.New(t)
		j, err := journal.Create(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(j.FD())
		defer j.Close()
		kernel.Queue(messages...)
		killed = true
		for _, left := range []int{first, second, -1} { // who is left less than no time is never killed
			if left == 0 {
				continue
			}
			var b *Broker
			if lives(func() { b = born(t, j, &mortal{kernel, left}, nil); b.serveAll(t) }) && left > 0 {
				killed = false
			}
			if b != nil {
				b.front.(*front.Server).Close()
			}
			kernel.Kill()
		}
		answers = map[uint64]string{}
		for unique := uint64(2); unique <= 56; unique += 2 {
			if r, ok := kernel.Reply(unique); ok {
				answers[unique] = fmt.Sprintf("%v %q", r.Errno, r.Body)
			}
		}
		return answers, killed
	}
	want, _ := talk(0, 0)
	if len(want) != 28 {
		t.Fatalf("%d answers, want 28: %v", len(want), want)
	}
	kills := 0
	for second := range 7 { // 0: the second server is left alone
		for first := 1; ; first++ {
			got, killed := talk(first, second)
			if !maps.Equal(got, want) {
				for _, unique := range slices.Sorted(maps.Keys(want)) {
					if got[unique] != want[unique] {
						t.Errorf("killed at %d and %d: the answer to %d is %s, not %s", first, second, unique, got[unique], want[unique])
					}
				}
				return
			}
			if !killed {
				break
			}
			kills++
		}
	}
	t.Logf("%d times killed", kills)
}

// TestTakeoverAmongFollowUps kills a server between two events that follow from one: neither of two processes that were
// granted a token could be watched, for want of descriptors.
func TestTakeoverAmongFollowUps(t *testing.T) {
	for dies := 1; dies <= 3; dies++ { // the third time it lives
		kernel := fakekernel.New(t)
		j, err := journal.Create(nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			j.Close()
			unix.Close(j.FD())
		})
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		free, err := unix.Dup(0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(free)
		few := limit
		few.Cur = uint64(free) + 8 // the last 16 are not for watching processes
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
			t.Fatal(err)
		}
		granted, refused := 0, 0
		b := born(t, j, kernel, func(_ time.Duration, e pool.Event, effects []pool.Effect) {
			if len(effects) == 2 && effects[0].Kind == pool.Grant && effects[1].Kind == pool.Grant {
				granted = 2
			}
			if granted == 2 && e.Kind == pool.Refuse {
				if refused++; refused == dies {
					panic(killed{})
				}
			}
		})
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		for i, pid := range processes(t, 2) {
			kernel.Queue(fakekernel.BuildRead(fusewire.Header{Unique: 2 + 2*uint64(i), NodeID: 1, PID: pid},
				fusewire.ReadIn{Fh: 1, Size: 1, ReadFlags: fusewire.ReadLockOwner}))
		}
		lives(func() {
			b.serveAll(t)
			for refused < 2 { // both are granted at a time when those that were refused may try again
				at, timed := b.pool.Next()
				if !timed {
					t.Fatal("nobody is to be granted anything")
				}
				b.floor = at
				b.step(pool.Event{Kind: pool.Tick}, false)
			}
		})
		b.front.(*front.Server).Close()
		kernel.Kill()
		heir := born(t, j, kernel, nil)
		defer heir.front.(*front.Server).Close()
		heir.serveAll(t)
		if at, timed := heir.pool.Next(); timed {
			heir.floor = at
			heir.step(pool.Event{Kind: pool.Tick}, false)
		}
		for _, unique := range []uint64{2, 4} {
			if r, ok := kernel.Reply(unique); !ok || r.Errno != 0 || heir.pool.Held() != 2 {
				t.Errorf("killed at refusal %d: %d tokens held, answer to %d: %t, %v", dies, heir.pool.Held(), unique, ok, r.Errno)
			}
		}
	}
}
