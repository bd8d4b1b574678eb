// Package fakekernel is the kernel's end of a FUSE or CUSE device for tests: requests in, answers out, no device needed.
//
// It keeps the kernel's rules about answers, and a test that breaks one fails: the request is known, it is answered once,
// the length is right, the error number is one the kernel takes. It does not invent requests: a test says what comes.
package fakekernel

import (
	"encoding/binary"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"steve/internal/fusewire"
)

var native = binary.NativeEndian

// A Reply is an answer as the server wrote it.
type Reply struct {
	Errno syscall.Errno // 0 for success
	Body  []byte
}

// A Kernel is a device to serve. Its methods may be called from any goroutine.
type Kernel struct {
	t testing.TB

	mu      sync.Mutex
	changed sync.Cond // a message was written, or the device is gone
	queue   []item
	sent    map[uint64]sent // by unique: read and not answered, or aborted
	replies map[uint64]Reply
	again   []uint64 // uniques of INTERRUPTs answered with EAGAIN
	wakes   []uint64
	ended   bool
	killed  bool
}

// An item is what one Read gives.
type item struct {
	msg   []byte
	errno syscall.Errno // if not 0, in place of msg
}

// sent is a request the server has.
type sent struct {
	req     fusewire.Header
	size    uint32 // most bytes the answer may have, for READ and IOCTL
	aborted bool
}

// New returns a Kernel without requests. t fails when the server breaks a rule.
func New(t testing.TB) *Kernel {
	k := &Kernel{t: t, sent: make(map[uint64]sent), replies: make(map[uint64]Reply)}
	k.changed.L = &k.mu
	return k
}

// Queue makes each of msgs the answer to a Read of its own. They need not be requests: see the Build functions for those
// that are.
func (k *Kernel) Queue(msgs ...[]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, msg := range msgs {
		k.queue = append(k.queue, item{msg: msg})
	}
}

// QueueError makes a Read fail with errno, after what was queued before.
func (k *Kernel) QueueError(errno syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queue = append(k.queue, item{errno: errno})
}

// Abort makes the request one that nobody waits for any more: an answer to it gets ENOENT, and breaks no rule.
func (k *Kernel) Abort(unique uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.sent[unique]
	s.aborted = true
	k.sent[unique] = s
}

// End takes the device away: what was not read never will be, and every answer gets ENOENT.
func (k *Kernel) End() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	k.changed.Broadcast()
}

// Kill says that the server was killed. The next one cannot know whether its last answers arrived: to give them again
// breaks no rule.
func (k *Kernel) Kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.killed = true
}

// Read gives the next message, EAGAIN if there is none, ENODEV after End.
func (k *Kernel) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(p) < fusewire.MinReadBuffer {
		k.t.Errorf("read into %d bytes: the kernel refuses less than %d", len(p), fusewire.MinReadBuffer)
		return 0, syscall.EINVAL
	}
	for {
		if k.ended {
			return 0, syscall.ENODEV
		}
		if len(k.queue) == 0 {
			return 0, syscall.EAGAIN
		}
		next := k.queue[0]
		k.queue = k.queue[1:]
		if next.errno != 0 {
			return 0, next.errno
		}
		if len(next.msg) > len(p) { // the kernel answers it for the server, and goes on
			k.replies[native.Uint64(next.msg[8:])] = Reply{Errno: syscall.EIO}
			k.changed.Broadcast()
			continue
		}
		k.remember(next.msg)
		return copy(p, next.msg), nil
	}
}

// remember notes a request that waits for an answer.
func (k *Kernel) remember(msg []byte) {
	if len(msg) < fusewire.HeaderSize {
		return
	}
	req, err := fusewire.ParseRequest(msg)
	if !req.Opcode.HasReply() {
		return
	}
	s := sent{req: req.Header, aborted: k.sent[req.Unique].aborted}
	if err == nil {
		switch req.Opcode {
		case fusewire.OpRead:
			in, _ := fusewire.ParseRead(req.Body)
			s.size = in.Size
		case fusewire.OpIoctl:
			in, _ := fusewire.ParseIoctl(req.Body)
			s.size = in.OutSize
		}
	}
	delete(k.replies, req.Unique) // uniques come again in a test that asks for much
	k.sent[req.Unique] = s
}

// Write takes one answer or wake-up.
func (k *Kernel) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.changed.Broadcast()
	if err := k.accept(p); err != 0 {
		return 0, err
	}
	return len(p), nil
}

// accept does what fuse_dev_do_write does.
func (k *Kernel) accept(p []byte) syscall.Errno {
	if len(p) < fusewire.ReplyHeaderSize {
		k.t.Errorf("%d bytes written: shorter than a header", len(p))
		return syscall.EINVAL
	}
	length, code, unique := native.Uint32(p), int32(native.Uint32(p[4:])), native.Uint64(p[8:])
	body := p[fusewire.ReplyHeaderSize:]
	if int64(length) != int64(len(p)) {
		k.t.Errorf("%d bytes written, the header says %d", len(p), length)
		return syscall.EINVAL
	}
	if unique == 0 {
		if code != 1 || len(body) != 8 {
			k.t.Errorf("notification %d with %d bytes is no wake-up", code, len(body))
			return syscall.EINVAL
		}
		k.wakes = append(k.wakes, native.Uint64(body))
		return 0
	}
	if code > 0 || code < -fusewire.MaxErrno || code != 0 && len(body) != 0 {
		k.t.Errorf("answer to %#x: error %d with %d bytes", unique, code, len(body))
		return syscall.EINVAL
	}
	if unique&1 != 0 {
		return k.acceptInterrupt(unique, code)
	}
	s, ok := k.sent[unique]
	if k.ended || s.aborted {
		return syscall.ENOENT
	}
	if !ok {
		switch _, twice := k.replies[unique]; {
		case !twice:
			k.t.Errorf("answer to %#x, which was not asked", unique)
		case !k.killed:
			k.t.Errorf("%#x answered twice", unique)
		}
		return syscall.ENOENT
	}
	delete(k.sent, unique)
	if code == 0 && !s.fits(len(body)) {
		k.t.Errorf("%v answered with %d bytes", s.req.Opcode, len(body))
		k.replies[unique] = Reply{Errno: syscall.EIO}
		return syscall.EINVAL
	}
	k.replies[unique] = Reply{Errno: syscall.Errno(-code), Body: append([]byte(nil), body...)}
	return 0
}

// acceptInterrupt takes the answer to an INTERRUPT, whose unique is its target's with bit 0 set.
func (k *Kernel) acceptInterrupt(unique uint64, code int32) syscall.Errno {
	if _, ok := k.sent[unique&^1]; !ok || k.ended {
		return syscall.ENOENT
	}
	switch syscall.Errno(-code) {
	case syscall.EAGAIN:
		k.again = append(k.again, unique)
	case syscall.ENOSYS:
		k.t.Errorf("INTERRUPT answered with ENOSYS: the kernel would send none any more")
	}
	return 0
}

// fits says whether the kernel takes an answer of n bytes.
func (s sent) fits(n int) bool {
	switch s.req.Opcode {
	case fusewire.OpRead:
		return n <= int(s.size)
	case fusewire.OpIoctl:
		return n >= 16 && n <= 16+int(s.size)
	case fusewire.OpInit:
		return n == 64
	case fusewire.OpCuseInit:
		return n > 72 && n <= 72+4096
	case fusewire.OpOpen:
		return n == 16
	case fusewire.OpWrite, fusewire.OpPoll:
		return n == 8
	case fusewire.OpGetattr, fusewire.OpSetattr:
		return n == 104
	case fusewire.OpStatfs:
		return n == 80
	}
	return n == 0
}

// Reply returns the answer to the request, and whether there is one.
func (k *Kernel) Reply(unique uint64) (Reply, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, ok := k.replies[unique]
	return r, ok
}

// WaitReply returns the answer to the request as soon as there is one. The test fails if none comes within limit, or the
// device is taken away before.
func (k *Kernel) WaitReply(unique uint64, limit time.Duration) Reply {
	k.t.Helper()
	late := false
	timer := time.AfterFunc(limit, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		late = true
		k.changed.Broadcast()
	})
	defer timer.Stop()
	r, problem := func() (Reply, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		for {
			r, ok := k.replies[unique]
			switch {
			case ok:
				return r, nil
			case k.ended:
				return r, fmt.Errorf("the device is gone, and %#x not answered", unique)
			case late:
				return r, fmt.Errorf("%#x not answered in %v", unique, limit)
			}
			k.changed.Wait()
		}
	}()
	if problem != nil {
		k.t.Fatal(problem)
	}
	return r
}

// Waiting is how many requests the server has and owes an answer.
func (k *Kernel) Waiting() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, s := range k.sent {
		if !s.aborted {
			n++
		}
	}
	return n
}

// TakeWakes returns the kh of all wake-ups since the last call, in order.
func (k *Kernel) TakeWakes() []uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.wakes
	k.wakes = nil
	return w
}

// TakeAgain returns the uniques of all INTERRUPTs that were to be sent again, since the last call, in order.
func (k *Kernel) TakeAgain() []uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.again
	k.again = nil
	return a
}
