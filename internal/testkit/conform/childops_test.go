package conform

import (
	"encoding/binary"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// opExec replaces the program by itself, from whichever thread it is called on.
func opExec(call, [][]byte) (int, syscall.Errno) {
	return 0, syscall.Exec("/proc/self/exe", os.Args, os.Environ()).(syscall.Errno)
}

// opCatch catches the signal Args[0], with SA_RESTART or, if Args[1] is 0, without.
func opCatch(c call, _ [][]byte) (int, syscall.Errno) {
	const saRestart = 0x10000000
	signal.Notify(make(chan os.Signal, 1), syscall.Signal(c.Args[0]))
	if c.Args[1] != 0 {
		return 0, 0
	}
	var action [4]uint64 // of the kernel: handler, flags, restorer, mask
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, c.Args[0], 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	action[1] &^= saRestart
	_, _, errno = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, c.Args[0], uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	return 0, errno
}

// opFork makes a child by fork(2), without execve, that carries out c.Calls. With Args[0] 0 it then exits, and the
// result is that of its last call; else it stays until it is killed, and the result is its pid. Args[1] is the pid it is
// to have, 0 for any.
func opFork(c call, _ [][]byte) (int, syscall.Errno) {
	shared, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0, err.(syscall.Errno)
	}
	defer unix.Munmap(shared)
	tid := int32(c.Args[1])
	args := [11]uint64{4: uint64(unix.SIGCHLD)} // struct clone_args
	if tid != 0 {
		args[8], args[9] = uint64(uintptr(unsafe.Pointer(&tid))), 1 // set_tid
	}
	pid, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	if errno != 0 {
		return 0, errno
	}
	if pid == 0 { // from here on system calls only: there is one thread, and no runtime to speak of
		syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
		for i := range c.Calls {
			a := &c.Calls[i].Args
			r, _, e := syscall.RawSyscall6(c.Calls[i].Nr, a[0], a[1], a[2], a[3], a[4], a[5])
			*(*int32)(unsafe.Pointer(&shared[0])) = int32(r)
			*(*int32)(unsafe.Pointer(&shared[4])) = int32(e)
		}
		for c.Args[0] != 0 {
			syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	if c.Args[0] != 0 {
		return int(pid), 0
	}
	if _, err := unix.Wait4(int(pid), nil, 0, nil); err != nil {
		return 0, err.(syscall.Errno)
	}
	return int(int32(binary.NativeEndian.Uint32(shared))), syscall.Errno(binary.NativeEndian.Uint32(shared[4:]))
}

// stopped ends loops: the op of another thread on descriptor -1 sets it.
var stopped atomic.Bool

// opCycle takes and returns a token on descriptor Args[0], Args[1] times or, if that is 0, until it is stopped, which a
// cycle on descriptor -1 does. It holds each for Args[2] microseconds and then pauses for Args[3]. It counts, in
// its buffer, tokens, reads that ended by a signal, and reads that were denied. Any other outcome ends it.
func opCycle(c call, mem [][]byte) (int, syscall.Errno) {
	fd := int(int32(c.Args[0]))
	if fd < 0 {
		stopped.Store(true)
		return 0, 0
	}
	var tokens, interrupts, denials uint64
	defer func() {
		for i, n := range [...]uint64{tokens, interrupts, denials} {
			binary.LittleEndian.PutUint64(mem[0][8*i:], n)
		}
	}()
	var b [1]byte
	for !stopped.Load() && (c.Args[1] == 0 || tokens < uint64(c.Args[1])) {
		switch n, err := unix.Read(fd, b[:]); {
		case n == 1 && b[0] == '+':
			tokens++
			pause(c.Args[2])
			if n, err := unix.Write(fd, b[:]); n != 1 {
				return n, errnoOf(err)
			}
		case err == unix.EINTR:
			interrupts++
		case err == unix.EAGAIN:
			denials++
		default:
			return n, errnoOf(err)
		}
		pause(c.Args[3])
	}
	return 0, 0
}

func pause(microseconds uintptr) {
	if microseconds > 0 {
		time.Sleep(time.Duration(microseconds) * time.Microsecond)
	}
}

func errnoOf(err error) syscall.Errno {
	errno, _ := err.(syscall.Errno)
	return errno
}

// opPollRead polls descriptor Args[0] and reads, without waiting there, until it has a token. Its result is how many
// reads that took.
func opPollRead(c call, _ [][]byte) (int, syscall.Errno) {
	fds := []unix.PollFd{{Fd: int32(c.Args[0]), Events: unix.POLLIN}}
	for reads := 1; ; reads++ {
		for {
			n, err := unix.Poll(fds, -1)
			if n == 1 && fds[0].Revents == unix.POLLIN {
				break
			}
			if err != unix.EINTR {
				return int(fds[0].Revents), unix.EBADMSG
			}
		}
		var b [1]byte
		n, err := unix.Read(int(c.Args[0]), b[:])
		if n == 1 {
			return reads, 0
		}
		if err != unix.EAGAIN {
			return n, errnoOf(err)
		}
	}
}

// opFlood reads descriptor Args[0], which must be O_NONBLOCK, without a pause and without an end but the process's. What
// it gets it returns at once.
func opFlood(c call, _ [][]byte) (int, syscall.Errno) {
	var b [1]byte
	for {
		n, err := unix.Read(int(c.Args[0]), b[:])
		if n == 1 {
			n, err = unix.Write(int(c.Args[0]), b[:])
		}
		if n != 1 && err != unix.EAGAIN && err != unix.EINTR {
			return n, errnoOf(err)
		}
	}
}

// opOpen opens the path in its buffer Args[0] times, without waiting, and returns the last descriptor.
func opOpen(c call, mem [][]byte) (int, syscall.Errno) {
	last := 0
	for range c.Args[0] {
		fd, err := unix.Open(string(mem[0]), unix.O_RDWR|unix.O_NONBLOCK, 0)
		if err != nil {
			return 0, errnoOf(err)
		}
		last = fd
	}
	return last, 0
}

// opPollMany polls Args[1] descriptors from Args[0] on, until one is readable, and returns how many are.
func opPollMany(c call, _ [][]byte) (int, syscall.Errno) {
	fds := make([]unix.PollFd, c.Args[1])
	for i := range fds {
		fds[i] = unix.PollFd{Fd: int32(int(c.Args[0]) + i), Events: unix.POLLIN}
	}
	n, err := unix.Poll(fds, -1)
	return n, errnoOf(err)
}

// opNowait reads one byte of descriptor Args[0] by preadv2(2) with RWF_NOWAIT.
func opNowait(c call, mem [][]byte) (int, syscall.Errno) {
	const nowait = 8
	n, err := unix.Preadv2(int(c.Args[0]), mem, -1, nowait)
	return n, errnoOf(err)
}

// opSplice moves one byte of descriptor Args[0] by splice(2), and returns how many bytes came out of the pipe.
func opSplice(c call, _ [][]byte) (int, syscall.Errno) {
	return throughPipe(func(to int) (int, error) {
		n, err := unix.Splice(int(c.Args[0]), nil, to, nil, 1, 0)
		return int(n), err
	})
}

// opSendfile is opSplice by sendfile(2).
func opSendfile(c call, _ [][]byte) (int, syscall.Errno) {
	return throughPipe(func(to int) (int, error) { return unix.Sendfile(to, int(c.Args[0]), nil, 1) })
}

func throughPipe(move func(to int) (int, error)) (int, syscall.Errno) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK); err != nil {
		return 0, errnoOf(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if n, err := move(pipe[1]); n <= 0 {
		return 0, errnoOf(err)
	}
	var b [16]byte
	n, err := unix.Read(pipe[0], b[:])
	return n, errnoOf(err)
}

// opMmap maps a page of descriptor Args[0] with protection Args[1] and flags Args[2], and touches it. A fault is EFAULT.
func opMmap(c call, _ [][]byte) (n int, errno syscall.Errno) {
	page, err := unix.Mmap(int(c.Args[0]), 0, 4096, int(c.Args[1]), int(c.Args[2]))
	if err != nil {
		return 0, errnoOf(err)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			errno = unix.EFAULT
		}
	}()
	n = int(page[0])
	if c.Args[1]&unix.PROT_WRITE != 0 {
		page[0] = 'x'
		unix.Msync(page, unix.MS_SYNC)
	}
	return n, 0
}

// opAIO reads one byte of descriptor Args[0] by io_submit(2), and returns what io_getevents(2) says.
func opAIO(c call, mem [][]byte) (int, syscall.Errno) {
	var ctx uintptr
	if _, _, errno := syscall.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&ctx)), 0); errno != 0 {
		return 0, errno
	}
	defer syscall.Syscall(unix.SYS_IO_DESTROY, ctx, 0, 0)
	var iocb [64]byte // struct iocb: aio_lio_opcode 0 is IOCB_CMD_PREAD
	binary.NativeEndian.PutUint32(iocb[20:], uint32(c.Args[0]))
	binary.NativeEndian.PutUint64(iocb[24:], uint64(uintptr(unsafe.Pointer(&mem[0][0]))))
	binary.NativeEndian.PutUint64(iocb[32:], 1)
	list := [1]*byte{&iocb[0]}
	if _, _, errno := syscall.Syscall(unix.SYS_IO_SUBMIT, ctx, 1, uintptr(unsafe.Pointer(&list))); errno != 0 {
		return 0, errno
	}
	var event [32]byte // struct io_event
	if _, _, errno := syscall.Syscall6(unix.SYS_IO_GETEVENTS, ctx, 1, 1, uintptr(unsafe.Pointer(&event)), 0, 0); errno != 0 {
		return 0, errno
	}
	return outcome(int64(binary.NativeEndian.Uint64(event[16:])))
}

// outcome is what the kernel means by a count or a negative error number.
func outcome(n int64) (int, syscall.Errno) {
	if n < 0 {
		return 0, syscall.Errno(-n)
	}
	return int(n), 0
}

// opUring reads one byte of descriptor Args[0] by io_uring(7), and returns what its completion says.
func opUring(c call, mem [][]byte) (int, syscall.Errno) {
	var params [120]byte // struct io_uring_params
	ring, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return 0, errno
	}
	defer unix.Close(int(ring))
	field := func(at int) uintptr { return uintptr(binary.NativeEndian.Uint32(params[at:])) }
	const sqOff, cqOff = 40, 80 // struct io_sqring_offsets, io_cqring_offsets: head, tail, mask, entries, …
	sq, err := unix.Mmap(int(ring), 0, int(field(sqOff+24)+4*field(0)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return 0, errnoOf(err)
	}
	cq, err := unix.Mmap(int(ring), 0x8000000, int(field(cqOff+20)+16*field(4)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return 0, errnoOf(err)
	}
	sqes, err := unix.Mmap(int(ring), 0x10000000, 64*int(field(0)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return 0, errnoOf(err)
	}
	const opRead = 22 // IORING_OP_READ
	sqes[0] = opRead
	binary.NativeEndian.PutUint32(sqes[4:], uint32(c.Args[0]))
	binary.NativeEndian.PutUint64(sqes[8:], ^uint64(0)) // no offset
	binary.NativeEndian.PutUint64(sqes[16:], uint64(uintptr(unsafe.Pointer(&mem[0][0]))))
	binary.NativeEndian.PutUint32(sqes[24:], 1)
	binary.NativeEndian.PutUint32(sq[field(sqOff+24):], 0) // array[0]: the first entry
	atomic.AddUint32((*uint32)(unsafe.Pointer(&sq[field(sqOff+4)])), 1)
	const getEvents = 1
	if _, _, errno := syscall.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 1, getEvents, 0, 0); errno != 0 {
		return 0, errno
	}
	return outcome(int64(int32(binary.NativeEndian.Uint32(cq[field(cqOff+20)+8:]))))
}
