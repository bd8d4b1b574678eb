package conform

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A call is one command to a client process, to be carried out by one of its threads.
type call struct {
	ID     int
	Thread string // "" is the main thread; others start with their first call
	Op     string // "" is a system call, others see ops
	Nr     uintptr
	Args   [6]uintptr
	Mem    []memory
	Calls  []call // for the child of a fork
}

// memory is a buffer whose address is an argument.
type memory struct {
	Arg   int
	Data  []byte // how it begins
	Size  int    // 0 is len(Data)
	Quiet bool   // what is in it afterwards is not told
}

// An answer is what came of a call. Before it, when the thread is about to do it, comes one with Tid alone.
type answer struct {
	ID    int
	Tid   int `json:",omitempty"`
	Ret   int
	Errno syscall.Errno
	Mem   [][]byte `json:",omitempty"`
}

// readyID is the ID of the answer that a client gives to nothing, when it has started, or has started over by execve.
const readyID = -1

// childEnv makes the test binary a client.
const childEnv = "STEVE_CONFORM_CLIENT"

func init() {
	if os.Getenv(childEnv) != "" {
		runtime.LockOSThread() // the main goroutine is the main thread
	}
}

// child obeys calls from standard input, each thread in order, and ends with it.
func child() {
	main := make(chan call)
	threads := map[string]chan call{"": main}
	go func() {
		in := json.NewDecoder(bufio.NewReader(os.Stdin))
		for {
			var c call
			if err := in.Decode(&c); err != nil {
				unix.Kill(os.Getpid(), unix.SIGKILL) // the test is over
			}
			calls := threads[c.Thread]
			if calls == nil {
				calls = make(chan call)
				threads[c.Thread] = calls
				go serve(calls)
			}
			calls <- c
		}
	}()
	say(answer{ID: readyID})
	serve(main)
}

// serve carries out calls on a thread of its own.
func serve(calls <-chan call) {
	runtime.LockOSThread() // and never unlocked: the thread is the goroutine's
	for c := range calls {
		say(perform(c))
	}
}

// say writes one line. By a raw system call: from here to the call that was announced the thread does not sleep, so
// that one seen asleep is asleep in that call.
func say(a answer) {
	line, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	line = append(line, '\n')
	for len(line) > 0 {
		n, _, errno := syscall.RawSyscall(unix.SYS_WRITE, 1, uintptr(unsafe.Pointer(&line[0])), uintptr(len(line)))
		if errno != 0 && errno != unix.EINTR {
			os.Exit(1)
		}
		if errno == 0 {
			line = line[n:]
		}
	}
}

func perform(c call) answer {
	var pin runtime.Pinner
	defer pin.Unpin()
	mem := c.place(&pin)
	a := answer{ID: c.ID, Tid: unix.Gettid()}
	if c.Op != "" {
		op := ops[c.Op]
		if op == nil {
			panic(fmt.Sprintf("unknown op %q", c.Op))
		}
		for i := range c.Calls {
			c.Calls[i].place(&pin)
		}
		say(a)
		a.Ret, a.Errno = op(c, mem)
	} else {
		say(a)
		r, _, errno := syscall.Syscall6(c.Nr, c.Args[0], c.Args[1], c.Args[2], c.Args[3], c.Args[4], c.Args[5])
		a.Ret, a.Errno = int(r), errno
	}
	a.Tid = 0
	for i, m := range c.Mem {
		if m.Quiet {
			mem[i] = nil
		}
	}
	a.Mem = mem
	return a
}

// place puts the buffers of a call into memory, and their addresses into its arguments.
func (c *call) place(pin *runtime.Pinner) [][]byte {
	var all [][]byte
	for _, m := range c.Mem {
		b := make([]byte, max(m.Size, len(m.Data), 1))
		copy(b, m.Data)
		pin.Pin(&b[0])
		c.Args[m.Arg] = uintptr(unsafe.Pointer(&b[0]))
		all = append(all, b)
	}
	return all
}

// ops are what takes more than one system call. They get the call, and its buffers.
var ops = map[string]func(c call, mem [][]byte) (int, syscall.Errno){
	"exec":     opExec,
	"catch":    opCatch,
	"fork":     opFork,
	"cycle":    opCycle,
	"pollread": opPollRead,
	"flood":    opFlood,
	"open":     opOpen,
	"pollmany": opPollMany,
	"nowait":   opNowait,
	"mmap":     opMmap,
	"splice":   opSplice,
	"sendfile": opSendfile,
	"aio":      opAIO,
	"uring":    opUring,
}
