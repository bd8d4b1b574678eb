package front_test

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/front"
	"steve/internal/fuseconn"
	"steve/internal/fusewire"
	"steve/internal/pool"
	"steve/internal/testkit/fakekernel"
)

// device is a fake kernel that remembers the errors it was answered, by unique: also those to an INTERRUPT whose target it
// does not have.
type device struct {
	*fakekernel.Kernel
	answered map[uint64]syscall.Errno
}

func (d *device) Write(p []byte) (int, error) {
	unique, code := binary.NativeEndian.Uint64(p[8:]), int32(binary.NativeEndian.Uint32(p[4:]))
	d.answered[unique] = syscall.Errno(-code)
	return d.Kernel.Write(p)
}

// world is a server on a fake kernel with a pool that it steps as the broker would. Its only client is this process.
type world struct {
	*front.Server
	t      *testing.T
	kernel *device
	pool   *pool.Pool
	now    time.Duration
	log    bytes.Buffer
	slot   []byte // where requests are read to, in tests that look at it
}

func newWorld(t *testing.T, jobs int) *world {
	t.Helper()
	runtime.LockOSThread() // requests carry this thread's id
	t.Cleanup(runtime.UnlockOSThread)
	w := &world{t: t, kernel: &device{fakekernel.New(t), map[uint64]syscall.Errno{}}, pool: pool.New(pool.DefaultLimits(jobs))}
	s, err := front.New(front.Config{
		Conn: fuseconn.New(w.kernel), FD: -1, Pool: w.pool, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w.Server = s
	return w
}

// serve serves all that is queued.
func (w *world) serve(messages ...[]byte) {
	w.t.Helper()
	w.kernel.Queue(messages...)
	for {
		e, more, err := w.Next()
		if err != nil {
			w.t.Fatal(err)
		}
		if !more {
			return
		}
		if e.Kind != 0 {
			w.step(e)
		}
	}
}

// step has the pool take an event and what follows from it.
func (w *world) step(events ...pool.Event) {
	w.t.Helper()
	for len(events) > 0 {
		e := events[0]
		events = events[1:]
		for _, f := range append([]pool.Effect(nil), w.pool.Step(w.now, e)...) {
			next, err := w.Do(f)
			if err != nil {
				w.t.Fatal(err)
			}
			if next.Kind != 0 {
				events = append(events, next)
			}
		}
	}
}

// after lets time pass.
func (w *world) after(d time.Duration) {
	w.t.Helper()
	w.now += d
	w.step(pool.Event{Kind: pool.Tick})
}

// answers fails the test unless the request was answered so.
func (w *world) answers(unique uint64, errno syscall.Errno, body string) {
	w.t.Helper()
	r, ok := w.kernel.Reply(unique)
	switch {
	case !ok:
		w.t.Fatalf("%#x has no answer", unique)
	case r.Errno != errno || string(r.Body) != body:
		w.t.Fatalf("answer to %#x: %v %q, want %v %q", unique, r.Errno, r.Body, errno, body)
	}
}

// waits fails the test if the request was answered.
func (w *world) waits(unique uint64) {
	w.t.Helper()
	if r, ok := w.kernel.Reply(unique); ok {
		w.t.Fatalf("%#x was answered: %+v", unique, r)
	}
}

// holds fails the test unless so many tokens are out.
func (w *world) holds(n int) {
	w.t.Helper()
	if w.pool.Held() != n || w.pool.Free() != w.pool.Limits().Jobs-n {
		w.t.Fatalf("%d held and %d free, want %d held", w.pool.Held(), w.pool.Free(), n)
	}
}

func header(unique uint64) fusewire.Header {
	return fusewire.Header{Unique: unique, NodeID: 1, PID: uint32(unix.Gettid())}
}

func read(unique uint64, flags uint32) []byte {
	return fakekernel.BuildRead(header(unique), fusewire.ReadIn{Fh: 1, Size: 1, ReadFlags: fusewire.ReadLockOwner, Flags: flags})
}

func write(unique uint64, data string) []byte {
	return fakekernel.BuildWrite(header(unique), fusewire.WriteIn{Fh: 1, Data: []byte(data)})
}

func interrupt(unique uint64) []byte {
	return fakekernel.BuildInterrupt(fusewire.Header{}, fusewire.InterruptIn{Unique: unique})
}

func poll(unique, kh uint64) []byte {
	return fakekernel.BuildPoll(header(unique), fusewire.PollIn{Fh: 1, Kh: kh, Flags: fusewire.PollScheduleNotify})
}

// The bodies of answers to POLL and WRITE.
const (
	writable        = "\x04\x01\x00\x00\x00\x00\x00\x00"
	readAndWritable = "\x45\x01\x00\x00\x00\x00\x00\x00"
	one             = "\x01\x00\x00\x00\x00\x00\x00\x00"
)

func TestInterrupt(t *testing.T) {
	tests := []struct {
		name     string
		messages func() [][]byte // after a READ with unique 2 took the only token
		again    bool            // the INTERRUPT of unique 4 is asked for again
		errno    syscall.Errno   // of the READ with unique 4
		body     string
		held     int
	}{
		{"after its read", func() [][]byte { return [][]byte{read(4, 0), interrupt(4)} }, false, syscall.EINTR, "", 1},
		{"before its read", func() [][]byte { return [][]byte{interrupt(4), read(4, 0), interrupt(4)} }, true, syscall.EINTR, "", 1},
		{"after the grant", func() [][]byte { return [][]byte{read(4, 0), write(6, "+"), interrupt(4)} }, true, 0, "+", 1},
		{"after the denial", func() [][]byte { return [][]byte{read(4, unix.O_NONBLOCK), interrupt(4)} }, true, syscall.EAGAIN, "", 1},
		{"twice", func() [][]byte { return [][]byte{read(4, 0), interrupt(4), interrupt(4)} }, true, syscall.EINTR, "", 1},
		{"and the token then", func() [][]byte { return [][]byte{read(4, 0), interrupt(4), write(6, "+")} }, false, syscall.EINTR, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.serve(read(2, 0))
			w.answers(2, 0, "+")
			w.serve(tt.messages()...)
			w.answers(4, tt.errno, tt.body)
			w.holds(tt.held)
			if errno, again := w.kernel.answered[4|1]; again != tt.again || again && errno != syscall.EAGAIN {
				t.Errorf("INTERRUPT was answered: %t, %v", again, errno)
			}
		})
	}
}

func TestReplyGone(t *testing.T) {
	w := newWorld(t, 1)
	// Granted at once.
	w.kernel.Abort(2)
	w.serve(read(2, 0))
	w.holds(0)
	// Granted after a wait.
	w.serve(read(4, 0), read(6, 0), read(8, 0))
	w.answers(4, 0, "+")
	w.kernel.Abort(6)
	w.serve(write(10, "+"))
	w.answers(10, 0, one)
	w.answers(8, 0, "+") // it goes on to the next
	w.holds(1)
	// A lender's own.
	w.serve(write(12, "+"))
	w.holds(0)
}

func TestPrivateReplyGone(t *testing.T) {
	w := newWorld(t, 1)
	w.serve(write(2, "+"))
	w.answers(2, 0, one)
	w.kernel.Abort(4)
	w.serve(read(4, 0))
	w.serve(write(6, "+"))
	w.answers(6, syscall.ENOSPC, "") // it is back
	w.serve(read(8, 0), read(10, 0), read(12, unix.O_NONBLOCK))
	w.answers(8, 0, "+")
	w.answers(10, 0, "+")
	w.answers(12, syscall.EAGAIN, "")
	w.holds(1)
}

// fewDescriptors calls make, which makes a server. Its table of processes believes that all descriptors are used.
func fewDescriptors(t *testing.T, make func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 19 // of which 16 are spared, and 3 in use by every process
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	make()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
}

func TestOutOfDescriptors(t *testing.T) {
	var w *world
	fewDescriptors(t, func() { w = newWorld(t, 2) })
	w.serve(read(2, unix.O_NONBLOCK))
	w.answers(2, syscall.EAGAIN, "")
	w.holds(0)
	w.serve(read(4, 0))
	for range 10 {
		w.waits(4)
		w.holds(0)
		w.after(100 * time.Millisecond)
	}
	w.serve(write(6, "+")) // a loan could not be reclaimed either
	w.answers(6, syscall.ENOSPC, "")
	w.serve(interrupt(4))
	w.answers(4, syscall.EINTR, "")
	w.holds(0)
	if lines := strings.Count(w.log.String(), "\n"); lines != 1 {
		t.Errorf("%d lines in the log, want one:\n%s", lines, w.log.String())
	}
}

func TestPoll(t *testing.T) {
	w := newWorld(t, 1)
	w.serve(poll(2, 1), read(4, 0), poll(6, 1))
	w.answers(2, 0, readAndWritable)
	w.answers(6, 0, writable)
	if wakes := w.kernel.TakeWakes(); len(wakes) != 0 {
		t.Errorf("woken: %v", wakes)
	}
	w.serve(write(8, "+"))
	if wakes := w.kernel.TakeWakes(); len(wakes) != 1 || wakes[0] != 1 {
		t.Errorf("woken: %v, want 1", wakes)
	}
	w.serve(poll(10, 1))
	w.answers(10, 0, readAndWritable)
	// RELEASE ends what was armed.
	w.serve(read(12, 0), poll(14, 1), fakekernel.BuildRelease(fusewire.Header{Unique: 16, NodeID: 1}, fusewire.ReleaseIn{Fh: 1}), write(18, "+"))
	w.answers(16, 0, "")
	if wakes := w.kernel.TakeWakes(); len(wakes) != 0 {
		t.Errorf("woken after its release: %v", wakes)
	}
}

// A process that polls is not watched. One that ended while somebody else has its open file is passed over when its turn
// comes, at once and not when its time is up.
func TestDeadPoller(t *testing.T) {
	w := newWorld(t, 1)
	poller := exec.Command("cat")
	input, err := poller.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := poller.Start(); err != nil {
		t.Fatal(err)
	}
	h := header(4)
	h.PID = uint32(poller.Process.Pid)
	w.serve(read(2, 0), fakekernel.BuildPoll(h, fusewire.PollIn{Fh: 9, Kh: 9, Flags: fusewire.PollScheduleNotify}))
	w.answers(4, 0, writable)
	input.Close()
	if err := poller.Wait(); err != nil {
		t.Fatal(err)
	}
	w.after(time.Millisecond) // it has waited longer than the read that follows
	w.serve(read(6, 0), write(8, "+"))
	w.answers(6, 0, "+")
	if w.pool.Waiters() != 0 {
		t.Errorf("%d processes wait, want none", w.pool.Waiters())
	}
}

func TestStop(t *testing.T) {
	w := newWorld(t, 1)
	w.serve(read(2, 0), read(4, 0), poll(6, 1))
	w.step(pool.Event{Kind: pool.Stop})
	w.answers(4, syscall.ECONNABORTED, "")
	if wakes := w.kernel.TakeWakes(); len(wakes) != 1 {
		t.Errorf("woken: %v, want 1", wakes)
	}
	w.serve(poll(8, 1), read(10, 0), read(12, unix.O_NONBLOCK), write(14, "+"))
	for unique := uint64(8); unique <= 14; unique += 2 {
		w.answers(unique, syscall.ECONNABORTED, "")
	}
}

// gone is the id of a process that has ended.
func gone(t *testing.T) uint32 {
	t.Helper()
	cmd := exec.Command("/bin/true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return uint32(cmd.Process.Pid)
}

func TestAnswers(t *testing.T) {
	ofGone := header(2)
	ofGone.PID = gone(t)
	unseen := header(2)
	unseen.PID = 0
	status := fusewire.IoctlIn{Cmd: ctl.CmdStatus, OutSize: ctl.StatusSize}
	short := status
	short.OutSize--
	settings := ctl.AppendSettings(nil, pool.FieldJobs, pool.Limits{Jobs: 0})
	tests := []struct {
		name    string
		request []byte
		errno   syscall.Errno
	}{
		{"read of nothing", fakekernel.BuildRead(header(2), fusewire.ReadIn{ReadFlags: fusewire.ReadLockOwner}), 0},
		{"read for the page cache", fakekernel.BuildRead(header(2), fusewire.ReadIn{Size: 4096}), syscall.EIO},
		{"write from the page cache", fakekernel.BuildWrite(header(2), fusewire.WriteIn{WriteFlags: fusewire.WriteCache, Data: []byte("+")}), syscall.EIO},
		{"read by a thread that is gone", fakekernel.BuildRead(ofGone, fusewire.ReadIn{Size: 1, ReadFlags: fusewire.ReadLockOwner}), syscall.EINTR},
		{"open by who is not to be seen", fakekernel.BuildOpen(unseen, fusewire.OpenIn{}), syscall.EACCES},
		{"read by who is not to be seen", fakekernel.BuildRead(unseen, fusewire.ReadIn{Size: 1, ReadFlags: fusewire.ReadLockOwner}), syscall.EACCES},
		{"flush", fakekernel.BuildFlush(header(2), fusewire.FlushIn{}), 0},
		{"unknown ioctl", fakekernel.BuildIoctl(header(2), fusewire.IoctlIn{Cmd: unix.TCGETS}), syscall.ENOTTY},
		{"ioctl of a size that lies", fakekernel.BuildIoctl(header(2), short), syscall.EINVAL},
		{"bad settings", fakekernel.BuildIoctl(header(2), fusewire.IoctlIn{Cmd: ctl.CmdSet, Data: settings}), syscall.EINVAL},
		{"settings of a size that lies", fakekernel.BuildIoctl(header(2), fusewire.IoctlIn{Cmd: ctl.CmdSet, Data: settings[:20]}), syscall.EINVAL},
		{"unknown request", fakekernel.Build(fusewire.Header{Opcode: 999, Unique: 2}, nil), syscall.ENOSYS},
	}
	for _, op := range []fusewire.Opcode{fusewire.OpOpen, fusewire.OpRead, fusewire.OpWrite, fusewire.OpPoll, fusewire.OpIoctl, fusewire.OpRelease} {
		h := header(2)
		h.Opcode = op
		tests = append(tests, struct {
			name    string
			request []byte
			errno   syscall.Errno
		}{"truncated " + op.String(), fakekernel.Build(h, make([]byte, 4)), syscall.EIO})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.serve(tt.request)
			w.answers(2, tt.errno, "")
			w.holds(0)
		})
	}
}

// TestUnseenOnce: strangers can knock as often as they like, and the log has one line.
func TestUnseenOnce(t *testing.T) {
	w := newWorld(t, 1)
	unseen := header(2)
	unseen.PID = 0
	for range 3 {
		w.serve(fakekernel.BuildOpen(unseen, fusewire.OpenIn{}))
	}
	if lines := strings.Count(w.log.String(), "\n"); lines != 1 {
		t.Errorf("%d lines in the log, want one:\n%s", lines, w.log.String())
	}
}

func TestEnd(t *testing.T) {
	w := newWorld(t, 1)
	w.kernel.End()
	if _, _, err := w.Next(); err != fuseconn.ErrEnd {
		t.Errorf("%v, want ErrEnd", err)
	}
}
