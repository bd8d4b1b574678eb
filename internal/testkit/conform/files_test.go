package conform

import (
	"encoding/binary"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tryOpen opens a path. Without O_CLOEXEC, as clients' descriptors survive execve.
func (th thread) tryOpen(path string, flags int) result {
	th.t.Helper()
	cwd := unix.AT_FDCWD
	return th.sys("open "+path, unix.SYS_OPENAT, []memory{{Arg: 1, Data: append([]byte(path), 0)}}, uintptr(cwd), 0, uintptr(flags), 0).wait()
}

// open opens the token file.
func (th thread) open(path string, flags int) int {
	th.t.Helper()
	r := th.tryOpen(path, flags)
	if r.errno != 0 {
		th.t.Fatalf("open %s: %v", path, r)
	}
	return r.n
}

func (th thread) close(fd int) {
	th.t.Helper()
	th.sys("close", unix.SYS_CLOSE, nil, uintptr(fd)).wait().is(th.t, "close", 0, 0)
}

// startRead begins a read of n bytes.
func (th thread) startRead(fd, n int) *pending {
	th.t.Helper()
	return th.sys("read", unix.SYS_READ, []memory{{Arg: 1, Size: n}}, uintptr(fd), 0, uintptr(n))
}

// read reads one byte.
func (th thread) read(fd int) result {
	th.t.Helper()
	return th.startRead(fd, 1).wait()
}

// blocks begins a read that waits, and returns when it does.
func (th thread) blocks(fd int) *pending {
	th.t.Helper()
	return th.startRead(fd, 1).arrived()
}

// takes reads one token.
func (th thread) takes(fd int) {
	th.t.Helper()
	th.startRead(fd, 1).gets()
}

// gets waits for a read to bring a token.
func (p *pending) gets() {
	p.c.t.Helper()
	r := p.wait()
	r.is(p.c.t, p.what, 1, 0)
	if r.mem[0][0] != '+' {
		p.c.t.Fatalf("%s: token %q", p.what, r.mem[0][0])
	}
}

// fails waits for a call to end with errno.
func (p *pending) fails(errno syscall.Errno) {
	p.c.t.Helper()
	p.wait().is(p.c.t, p.what, 0, errno)
}

// write writes data.
func (th thread) write(fd int, data string) result {
	th.t.Helper()
	return th.sys("write", unix.SYS_WRITE, []memory{{Arg: 1, Data: []byte(data), Quiet: true}}, uintptr(fd), 0, uintptr(len(data))).wait()
}

// gives writes n tokens back.
func (th thread) gives(fd, n int) {
	th.t.Helper()
	th.write(fd, strings.Repeat("+", n)).is(th.t, "write", n, 0)
}

// setFlags is F_SETFL.
func (th thread) setFlags(fd, flags int) {
	th.t.Helper()
	th.sys("fcntl", unix.SYS_FCNTL, nil, uintptr(fd), unix.F_SETFL, uintptr(flags)).wait().is(th.t, "F_SETFL", 0, 0)
}

// ioctl passes data, or where that is nil no memory but 0.
func (th thread) ioctl(fd int, cmd uint, data []byte) result {
	th.t.Helper()
	var mem []memory
	if data != nil {
		mem = []memory{{Arg: 2, Data: data}}
	}
	return th.sys("ioctl", unix.SYS_IOCTL, mem, uintptr(fd), uintptr(cmd)).wait()
}

// A poller is one of the ways to wait for a descriptor.
type poller struct {
	name string
	// start begins to wait for events; timeout is in milliseconds, negative for ever. Its result is understood by ready.
	start func(th thread, fd int, events int16, timeout int) *pending
	// ready returns the events of an ended call, 0 for none.
	ready func(result) int16
}

func timespec(ms int) []byte {
	b := binary.NativeEndian.AppendUint64(nil, uint64(ms/1000))
	return binary.NativeEndian.AppendUint64(b, uint64(ms%1000)*uint64(time.Millisecond))
}

// poll begins ppoll(2), of which poll(2) is a special case.
func (th thread) poll(fd int, events int16, timeout int) *pending {
	th.t.Helper()
	set := binary.NativeEndian.AppendUint32(nil, uint32(fd))
	set = binary.NativeEndian.AppendUint32(set, uint32(uint16(events)))
	mem := []memory{{Arg: 0, Data: set}}
	if timeout >= 0 {
		mem = append(mem, memory{Arg: 2, Data: timespec(timeout)})
	}
	return th.sys("ppoll", unix.SYS_PPOLL, mem, 0, 1)
}

func polled(r result) int16 {
	if r.n == 0 {
		return 0
	}
	return int16(binary.NativeEndian.Uint16(r.mem[0][6:]))
}

// polls returns what ppoll says now.
func (th thread) polls(fd int, events int16) int16 {
	th.t.Helper()
	return polled(th.poll(fd, events, 0).wait())
}

// pselect begins pselect(2) for reading, writing, and what is exceptional.
func (th thread) pselect(fd int, events int16, timeout int) *pending {
	th.t.Helper()
	var mem []memory
	for i, e := range [...]int16{unix.POLLIN, unix.POLLOUT, unix.POLLPRI} {
		set := make([]byte, 128)
		if events&e != 0 {
			set[fd/8] |= 1 << (fd % 8)
		}
		mem = append(mem, memory{Arg: 1 + i, Data: set})
	}
	if timeout >= 0 {
		mem = append(mem, memory{Arg: 4, Data: timespec(timeout)})
	}
	return th.sys("pselect", unix.SYS_PSELECT6, mem, uintptr(fd+1))
}

func selected(r result) int16 {
	var events int16
	for i, e := range [...]int16{unix.POLLIN, unix.POLLOUT, unix.POLLPRI} {
		for _, b := range r.mem[i] {
			if b != 0 {
				events |= e
			}
		}
	}
	return events
}

// epoll makes an epoll with descriptor fd in it.
func (th thread) epoll(fd int, events uint32) int {
	th.t.Helper()
	r := th.sys("epoll_create1", unix.SYS_EPOLL_CREATE1, nil, 0).wait()
	if r.errno != 0 {
		th.t.Fatalf("epoll_create1: %v", r)
	}
	th.epollCtl(r.n, unix.EPOLL_CTL_ADD, fd, events)
	return r.n
}

func (th thread) epollCtl(ep, op, fd int, events uint32) {
	th.t.Helper()
	event := binary.NativeEndian.AppendUint32(nil, events) // struct epoll_event, packed or not
	event = append(event, make([]byte, 12)...)
	th.sys("epoll_ctl", unix.SYS_EPOLL_CTL, []memory{{Arg: 3, Data: event}}, uintptr(ep), uintptr(op), uintptr(fd)).wait().is(th.t, "epoll_ctl", 0, 0)
}

func (th thread) epollWait(ep, timeout int) *pending {
	th.t.Helper()
	return th.sys("epoll_wait", unix.SYS_EPOLL_PWAIT, []memory{{Arg: 1, Size: 16}}, uintptr(ep), 0, 1, uintptr(timeout))
}

func epolled(r result) int16 {
	if r.n == 0 {
		return 0
	}
	return int16(binary.NativeEndian.Uint32(r.mem[0]))
}

// pollers are all ways to wait.
var pollers = []poller{
	{"ppoll", thread.poll, polled},
	{"pselect", thread.pselect, selected},
	{"epoll level", func(th thread, fd int, events int16, timeout int) *pending {
		return th.epollWait(th.epoll(fd, uint32(events)), timeout)
	}, epolled},
	{"epoll edge", func(th thread, fd int, events int16, timeout int) *pending {
		return th.epollWait(th.epoll(fd, uint32(events)|unix.EPOLLET&0xffffffff), timeout)
	}, epolled},
	{"epoll modified", func(th thread, fd int, events int16, timeout int) *pending {
		ep := th.epoll(fd, 0)
		th.epollCtl(ep, unix.EPOLL_CTL_MOD, fd, uint32(events))
		return th.epollWait(ep, timeout)
	}, epolled},
}
