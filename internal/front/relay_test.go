package front_test

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"steve/internal/ctl"
	"steve/internal/fusewire"
	"steve/internal/pool"
	"steve/internal/testkit/fakekernel"
)

// A child is a process below this one, by its id.
type child uint32

// newChild starts a child, which does nothing by itself: what it asks is made up.
func newChild(t *testing.T) child {
	t.Helper()
	cmd := exec.Command("cat")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		cmd.Wait()
	})
	return child(cmd.Process.Pid)
}

func (c child) header(unique uint64) fusewire.Header {
	h := header(unique)
	h.PID = uint32(c)
	return h
}

func (c child) nest(unique uint64, op uint32) []byte { return nest(c.header(unique), op) }

func nest(h fusewire.Header, op uint32) []byte {
	return fakekernel.BuildIoctl(h, fusewire.IoctlIn{Cmd: ctl.CmdNest, OutSize: ctl.NestSize, Data: ctl.AppendNest(nil, op)})
}

func relay(h fusewire.Header, ask ctl.RelayAsk) []byte {
	return fakekernel.BuildIoctl(h, fusewire.IoctlIn{Cmd: ctl.CmdRelay, OutSize: ctl.RelaySize, Data: ctl.AppendRelayAsk(nil, ask)})
}

// ioctl is the body of an answer with data.
func ioctl(data []byte) string { return strings.Repeat("\x00", 16) + string(data) }

func nested(n uint32) string { return ioctl(ctl.AppendNest(nil, n)) }

func relayed(answer ctl.RelayAnswer) string { return ioctl(ctl.AppendRelayAnswer(nil, answer)) }

func TestNest(t *testing.T) {
	w := newWorld(t, 1)
	first, second := newChild(t), newChild(t)
	w.serve(first.nest(2, ctl.NestEnter))
	w.answers(2, 0, nested(ctl.NestTaken)) // its parent holds nothing
	w.holds(1)
	w.serve(nest(header(4), ctl.NestEnter), first.nest(6, ctl.NestLeave))
	w.waits(4) // the child of one is not its ancestor
	w.answers(6, syscall.EINVAL, "")
	w.serve(fakekernel.BuildWrite(first.header(8), fusewire.WriteIn{Data: []byte("+")}))
	w.answers(4, 0, nested(ctl.NestTaken))

	w.serve(first.nest(10, ctl.NestEnter), second.nest(12, ctl.NestEnter))
	w.answers(10, 0, nested(ctl.NestShared))
	w.waits(12)
	w.serve(first.nest(14, ctl.NestLeave))
	w.answers(14, 0, nested(ctl.NestLeft))
	w.answers(12, 0, nested(ctl.NestShared))
	w.holds(1)
}

func TestRelay(t *testing.T) {
	w := newWorld(t, 3)
	other := newChild(t)
	w.serve(relay(header(2), ctl.RelayAsk{Want: 2}))
	w.answers(2, 0, relayed(ctl.RelayAnswer{Tokens: 2}))
	w.serve(relay(header(4), ctl.RelayAsk{Want: 2}), relay(header(6), ctl.RelayAsk{Idle: true}))
	w.answers(4, 0, relayed(ctl.RelayAnswer{Tokens: 1}))
	w.waits(6)
	w.serve(relay(header(8), ctl.RelayAsk{Idle: true}))
	w.answers(6, 0, relayed(ctl.RelayAnswer{}))
	w.serve(fakekernel.BuildRead(other.header(10), fusewire.ReadIn{Fh: 2, Size: 1, ReadFlags: fusewire.ReadLockOwner}))
	w.answers(8, 0, relayed(ctl.RelayAnswer{Wanted: true, Less: true}))
	w.holds(3)
}

// Tokens that found nobody are back.
func TestTokensReplyGone(t *testing.T) {
	w := newWorld(t, 3)
	w.kernel.Abort(2)
	w.serve(relay(header(2), ctl.RelayAsk{Want: 3}))
	w.holds(0)
	w.kernel.Abort(4)
	w.serve(nest(header(4), ctl.NestEnter))
	w.holds(0)
	w.kernel.Abort(8) // answered after a wait
	w.serve(read(6, 0), read(12, 0), read(14, 0), relay(header(8), ctl.RelayAsk{Want: 2}), write(10, "++"))
	w.holds(1)
}

func TestSlotReplyGone(t *testing.T) {
	w := newWorld(t, 1)
	w.take(1)
	first, second, third, fourth := newChild(t), newChild(t), newChild(t), newChild(t)
	w.kernel.Abort(2) // answered at once
	w.serve(first.nest(2, ctl.NestEnter), second.nest(4, ctl.NestEnter))
	w.answers(4, 0, nested(ctl.NestShared))
	w.kernel.Abort(6) // answered after a wait
	w.serve(third.nest(6, ctl.NestEnter), fourth.nest(8, ctl.NestEnter))
	w.waits(8)
	w.serve(second.nest(10, ctl.NestLeave))
	w.answers(8, 0, nested(ctl.NestShared))
	w.holds(1)
}

func TestWaitInterrupted(t *testing.T) {
	w := newWorld(t, 1)
	w.take(1)
	w.serve(relay(header(2), ctl.RelayAsk{Want: 1}), interrupt(2))
	w.answers(2, syscall.EINTR, "")
	w.serve(relay(header(4), ctl.RelayAsk{Wait: true}), interrupt(4))
	w.answers(4, syscall.EINTR, "")
	w.serve(nest(header(6), ctl.NestEnter), interrupt(6))
	w.answers(6, syscall.EINTR, "")
	w.serve(write(8, "+"))
	w.holds(0)
}

func TestWaitStopped(t *testing.T) {
	w := newWorld(t, 1)
	w.take(1)
	c := newChild(t)
	w.serve(relay(header(2), ctl.RelayAsk{Want: 1}), relay(c.header(4), ctl.RelayAsk{Wait: true}), nest(header(6), ctl.NestEnter))
	w.step(pool.Event{Kind: pool.Stop})
	w.serve(relay(header(8), ctl.RelayAsk{}), nest(header(10), ctl.NestEnter), nest(header(12), ctl.NestLeave))
	for unique := uint64(2); unique <= 12; unique += 2 {
		w.answers(unique, syscall.ECONNABORTED, "")
	}
}

// A process whose end cannot be observed gets neither a slot nor tokens.
func TestNestOutOfDescriptors(t *testing.T) {
	var w *world
	fewDescriptors(t, func() { w = newWorld(t, 2) })
	w.serve(relay(header(2), ctl.RelayAsk{Want: 1}), nest(header(4), ctl.NestEnter), nest(header(6), ctl.NestLeave))
	for unique := uint64(2); unique <= 6; unique += 2 {
		w.answers(unique, syscall.EAGAIN, "")
	}
	w.holds(0)
	if lines := strings.Count(w.log.String(), "\n"); lines != 1 {
		t.Errorf("%d lines in the log, want one:\n%s", lines, w.log.String())
	}
}

func TestNestMalformed(t *testing.T) {
	unseen := header(2)
	unseen.PID = 0
	in := func(cmd uint32, out uint32, data []byte) []byte {
		return fakekernel.BuildIoctl(header(2), fusewire.IoctlIn{Cmd: cmd, OutSize: out, Data: data})
	}
	enter := ctl.AppendNest(nil, ctl.NestEnter)
	ask := ctl.AppendRelayAsk(nil, ctl.RelayAsk{Want: 1})
	flag := append([]byte(nil), ask...)
	flag[8] = 1 << 3 // an answer's
	for _, tt := range []struct {
		name    string
		request []byte
		errno   syscall.Errno
	}{
		{"nest without a record", in(ctl.CmdNest, ctl.NestSize, nil), syscall.EINVAL},
		{"short nest", in(ctl.CmdNest, ctl.NestSize, enter[:7]), syscall.EINVAL},
		{"nest without room for the answer", in(ctl.CmdNest, 0, enter), syscall.EINVAL},
		{"nest with too much room", in(ctl.CmdNest, ctl.RelaySize, enter), syscall.EINVAL},
		{"an answer for a nest", in(ctl.CmdNest, ctl.NestSize, ctl.AppendNest(nil, ctl.NestShared)), syscall.EINVAL},
		{"leave of nothing", nest(header(2), ctl.NestLeave), syscall.EINVAL},
		{"relay without a record", in(ctl.CmdRelay, ctl.RelaySize, nil), syscall.EINVAL},
		{"long relay", in(ctl.CmdRelay, ctl.RelaySize, append(ask[:16:16], 0)), syscall.EINVAL},
		{"relay without room for the answer", in(ctl.CmdRelay, ctl.RelaySize-1, ask), syscall.EINVAL},
		{"relay with an answer's flag", in(ctl.CmdRelay, ctl.RelaySize, flag), syscall.EINVAL},
		{"nest by who is not to be seen", nest(unseen, ctl.NestEnter), syscall.EACCES},
		{"relay by who is not to be seen", relay(unseen, ctl.RelayAsk{Want: 1}), syscall.EACCES},
		{"relay of another number", in(ctl.CmdRelay+100, ctl.RelaySize, ask), syscall.ENOTTY},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.serve(tt.request)
			w.answers(2, tt.errno, "")
			w.holds(0)
		})
	}
}
