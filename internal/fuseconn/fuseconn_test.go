package fuseconn_test

import (
	"encoding/binary"
	"errors"
	"io"
	"syscall"
	"testing"

	"steve/internal/fuseconn"
	"steve/internal/fusewire"
	"steve/internal/testkit/fakekernel"
)

func request(unique uint64) fusewire.Header {
	return fusewire.Header{Unique: unique, NodeID: 1, PID: 4711}
}

func read(unique uint64) []byte {
	return fakekernel.BuildRead(request(unique), fusewire.ReadIn{Fh: 1, Size: 4096})
}

// next is Next where a request must come.
func next(t *testing.T, c *fuseconn.Conn) fusewire.Request {
	t.Helper()
	req, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// checkReply fails unless the request was answered with errno and body.
func checkReply(t *testing.T, k *fakekernel.Kernel, unique uint64, errno syscall.Errno, body string) {
	t.Helper()
	r, ok := k.Reply(unique)
	if !ok || r.Errno != errno || string(r.Body) != body {
		t.Errorf("answer to %d: %v, errno %d, body %q; want errno %d, body %q", unique, ok, r.Errno, r.Body, errno, body)
	}
}

func TestNextAndReply(t *testing.T) {
	k := fakekernel.New(t)
	c := fuseconn.New(k)
	if _, err := c.Next(); err != fuseconn.ErrEmpty {
		t.Fatalf("nothing there: %v", err)
	}
	k.Queue(read(2), fakekernel.BuildWrite(request(4), fusewire.WriteIn{Data: []byte("++")}))

	waiting := next(t, c)
	in, err := fusewire.ParseRead(waiting.Body)
	if waiting.Opcode != fusewire.OpRead || waiting.PID != 4711 || err != nil || in.Size != 4096 {
		t.Fatalf("%+v, %+v, %v", waiting, in, err)
	}
	write := next(t, c)
	if err := c.Reply(write.Unique, fusewire.AppendWrite(nil, 2)); err != nil {
		t.Fatal(err)
	}
	if err := c.Reply(waiting.Unique, []byte("+")); err != nil {
		t.Fatal(err)
	}
	checkReply(t, k, 4, 0, string(fusewire.AppendWrite(nil, 2)))
	checkReply(t, k, 2, 0, "+")

	k.Queue(read(6))
	if err := c.Fail(next(t, c).Unique, syscall.EAGAIN); err != nil {
		t.Fatal(err)
	}
	checkReply(t, k, 6, syscall.EAGAIN, "")
	if n := k.Waiting(); n != 0 {
		t.Errorf("%d requests without an answer", n)
	}
}

// TestLongReply is an answer longer than any the buffer is made for, and a short one after it.
func TestLongReply(t *testing.T) {
	k := fakekernel.New(t)
	c := fuseconn.New(k)
	long := make([]byte, 10000)
	for i := range long {
		long[i] = byte(i)
	}
	ioctl := fusewire.IoctlIn{OutSize: uint32(len(long))}
	k.Queue(fakekernel.BuildIoctl(request(2), ioctl), fakekernel.BuildIoctl(request(4), ioctl))
	next(t, c)
	next(t, c)
	for _, r := range []struct {
		unique uint64
		body   []byte
	}{{2, fusewire.AppendIoctl(nil, 0, long)}, {4, fusewire.AppendIoctl(nil, 7, nil)}} {
		if err := c.Reply(r.unique, r.body); err != nil {
			t.Fatal(err)
		}
		checkReply(t, k, r.unique, 0, string(r.body))
	}
}

func TestNextErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		errno syscall.Errno
		want  error // nil: the next request
	}{
		{"nothing there", syscall.EAGAIN, fuseconn.ErrEmpty},
		{"unmounted", syscall.ENODEV, fuseconn.ErrEnd},
		{"aborted", syscall.ECONNABORTED, fuseconn.ErrEnd},
		{"signal", syscall.EINTR, nil},
		{"request aborted while it was copied", syscall.ENOENT, nil},
		{"not mounted", syscall.EPERM, syscall.EPERM},
		{"unknown", syscall.EINVAL, syscall.EINVAL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := fakekernel.New(t)
			k.QueueError(tt.errno)
			k.Queue(read(2))
			req, err := fuseconn.New(k).Next()
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if err == nil && req.Unique != 2 {
				t.Errorf("request %d, want 2", req.Unique)
			}
		})
	}
}

func TestEnd(t *testing.T) {
	k := fakekernel.New(t)
	c := fuseconn.New(k)
	k.Queue(read(2), read(4))
	next(t, c)
	k.End()
	if _, err := c.Next(); err != fuseconn.ErrEnd {
		t.Errorf("%v, want ErrEnd", err)
	}
	if err := c.Reply(2, []byte("+")); err != fuseconn.ErrGone {
		t.Errorf("%v, want ErrGone", err)
	}
}

// endless is a file that is no FUSE device.
type endless struct{ io.Writer }

func (endless) Read([]byte) (int, error) { return 0, nil }

func TestNoDevice(t *testing.T) {
	if _, err := fuseconn.New(endless{}).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v, want %v", err, io.ErrUnexpectedEOF)
	}
}

// TestMalformed has garbage between good requests: it must neither end the loop nor leave anybody waiting.
func TestMalformed(t *testing.T) {
	liar := func(unique uint64, length uint32) []byte {
		b := read(unique)
		binary.NativeEndian.PutUint32(b, length)
		return b
	}
	forget := fakekernel.Build(fusewire.Header{Opcode: fusewire.OpForget, Unique: 12}, make([]byte, 8))
	k := fakekernel.New(t)
	c := fuseconn.New(k)
	k.Queue(
		read(2),
		[]byte{1},
		make([]byte, 39),
		liar(4, 79),
		liar(6, 81),
		liar(8, 0),
		liar(10, 1<<32-1),
		forget[:len(forget)-1],
		append(fakekernel.BuildInterrupt(request(0), fusewire.InterruptIn{Unique: 2}), 0),
		fakekernel.Build(fusewire.Header{Opcode: fusewire.OpWrite, Unique: 14}, make([]byte, fusewire.MinReadBuffer)),
		read(16),
	)
	for _, unique := range []uint64{2, 16} {
		req := next(t, c)
		if req.Unique != unique {
			t.Fatalf("request %d, want %d", req.Unique, unique)
		}
		if err := c.Reply(unique, []byte("+")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Next(); err != fuseconn.ErrEmpty {
		t.Errorf("%v, want ErrEmpty", err)
	}
	for _, unique := range []uint64{4, 6, 8, 10, 14} {
		checkReply(t, k, unique, syscall.EIO, "")
	}
	if n := c.Malformed(); n != 8 { // the one that does not fit in the buffer is the kernel's affair
		t.Errorf("%d malformed, want 8", n)
	}
	if n := k.Waiting(); n != 0 {
		t.Errorf("%d requests without an answer", n)
	}
}

// TestMalformedGone is a message that does not parse, and whose caller is gone too.
func TestMalformedGone(t *testing.T) {
	k := fakekernel.New(t)
	k.Queue(append(read(2), 0), read(4))
	k.Abort(2)
	if req := next(t, fuseconn.New(k)); req.Unique != 4 {
		t.Errorf("request %d, want 4", req.Unique)
	}
}

func TestRefuse(t *testing.T) {
	k := fakekernel.New(t)
	c := fuseconn.New(k)
	k.Queue(read(2), fakekernel.BuildInterrupt(request(0), fusewire.InterruptIn{Unique: 2}))
	first, interrupt := next(t, c), next(t, c)
	if err := c.Refuse(interrupt); err != nil {
		t.Error(err)
	}
	if _, ok := k.Reply(2); ok {
		t.Error("refusing an INTERRUPT answered its target")
	}
	if err := c.Refuse(first); err != nil {
		t.Error(err)
	}
	checkReply(t, k, 2, syscall.EIO, "")
	if n := c.Malformed(); n != 2 {
		t.Errorf("%d malformed, want 2", n)
	}
}

func TestGone(t *testing.T) {
	k := fakekernel.New(t)
	c := fuseconn.New(k)
	k.Queue(read(2), fakekernel.BuildInterrupt(request(0), fusewire.InterruptIn{Unique: 2}))
	next(t, c)
	interrupt := next(t, c)
	if err := c.Again(interrupt.Unique); err != nil {
		t.Errorf("an INTERRUPT whose target waits: %v", err)
	}
	if again := k.TakeAgain(); len(again) != 1 || again[0] != 3 {
		t.Errorf("to be sent again: %v, want [3]", again)
	}
	if err := c.Fail(2, syscall.EINTR); err != nil {
		t.Fatal(err)
	}
	if err := c.Again(interrupt.Unique); err != fuseconn.ErrGone {
		t.Errorf("an INTERRUPT whose target was answered: %v, want ErrGone", err)
	}
	k.Abort(2)
	if err := c.Reply(2, []byte("+")); err != fuseconn.ErrGone {
		t.Errorf("%v, want ErrGone", err)
	}
	if err := c.Fail(2, syscall.EINTR); err != fuseconn.ErrGone {
		t.Errorf("%v, want ErrGone", err)
	}
}

func TestWakePollers(t *testing.T) {
	k := fakekernel.New(t)
	c := fuseconn.New(k)
	for _, kh := range []uint64{1, 1 << 40} {
		if err := c.WakePollers(kh); err != nil {
			t.Fatal(err)
		}
	}
	if w := k.TakeWakes(); len(w) != 2 || w[0] != 1 || w[1] != 1<<40 {
		t.Errorf("woken: %v", w)
	}
}

// unwilling is a device whose writes fail.
type unwilling struct {
	errs []error
}

func (u *unwilling) Read([]byte) (int, error) { return 0, syscall.EAGAIN }

func (u *unwilling) Write(p []byte) (int, error) {
	err := u.errs[0]
	u.errs = u.errs[1:]
	return len(p), err
}

func TestWriteErrors(t *testing.T) {
	c := fuseconn.New(&unwilling{errs: []error{syscall.EINTR, nil, syscall.EINVAL}})
	if err := c.Reply(2, nil); err != nil {
		t.Errorf("after EINTR: %v", err)
	}
	if err := c.Reply(4, nil); !errors.Is(err, syscall.EINVAL) || err.Error() != "write answer 0x4: invalid argument" {
		t.Errorf("%v, want EINVAL and which answer", err)
	}
}

// again is a device that always has the same request.
type again struct {
	req    []byte
	errno  error // of a Write
	writes int
}

func (a *again) Read(p []byte) (int, error) { return copy(p, a.req), nil }

func (a *again) Write(p []byte) (int, error) {
	a.writes++
	return len(p), a.errno
}

func TestNoAllocation(t *testing.T) {
	dev := &again{req: read(2)}
	c := fuseconn.New(dev)
	check := func(name string, f func()) {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	check("token", func() {
		req, _ := c.Next()
		in, _ := fusewire.ParseRead(req.Body)
		c.Reply(req.Unique, []byte("+")[:min(1, in.Size)])
	})
	check("written", func() {
		req, _ := c.Next()
		var body [8]byte
		c.Reply(req.Unique, fusewire.AppendWrite(body[:0], 1))
	})
	check("not now", func() {
		req, _ := c.Next()
		c.Fail(req.Unique, syscall.EAGAIN)
	})
	check("wake-up", func() { c.WakePollers(7) })
	dev.errno = syscall.ENOENT
	check("gone", func() { c.Reply(2, []byte("+")) })
	if dev.writes == 0 {
		t.Error("nothing was written")
	}
}

func BenchmarkNextReply(b *testing.B) {
	c := fuseconn.New(&again{req: read(2)})
	b.ReportAllocs()
	for b.Loop() {
		req, _ := c.Next()
		if _, err := fusewire.ParseRead(req.Body); err != nil {
			b.Fatal(err)
		}
		c.Reply(req.Unique, []byte("+"))
	}
}
