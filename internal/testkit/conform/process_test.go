package conform

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must come soon, on a machine as busy as may be.
const patience = 20 * time.Second

// A client is a process that does what a test tells it, one call at a time on each of its threads.
type client struct {
	t     *testing.T
	pid   int
	cmd   *exec.Cmd
	in    *os.File
	calls *json.Encoder
	ready chan struct{} // one for each start of its program

	mu      sync.Mutex
	lastID  int
	pending map[int]*pending

	reap func() *os.ProcessState // waits for its end
}

// clientOption changes how a client is started.
type clientOption func(*exec.Cmd)

// inherits gives the client open files, as its descriptors 3, 4, …
func inherits(files ...*os.File) clientOption {
	return func(cmd *exec.Cmd) { cmd.ExtraFiles = files }
}

// as starts the client as another user.
func as(uid, gid uint32, groups ...uint32) clientOption {
	return func(cmd *exec.Cmd) {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}
	}
}

// named gives the client's command line one more argument.
func named(arg string) clientOption {
	return func(cmd *exec.Cmd) { cmd.Args = append(cmd.Args, arg) }
}

// newClient starts a client. It is killed when the test ends.
func newClient(t *testing.T, options ...clientOption) *client {
	t.Helper()
	inRead, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, outWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(testBinary, "client")
	// No signal but those of the test, and threads enough for all that block.
	cmd.Env = append(os.Environ(), childEnv+"=1", "GODEBUG=asyncpreemptoff=1", "GOGC=off", "GOMAXPROCS=4")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inRead, outWrite, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	for _, o := range options {
		o(cmd)
	}
	err = cmd.Start()
	inRead.Close()
	outWrite.Close()
	if err != nil {
		in.Close()
		out.Close()
		t.Fatal(err)
	}
	c := &client{
		t: t, pid: cmd.Process.Pid, cmd: cmd, in: in, calls: json.NewEncoder(in),
		ready: make(chan struct{}, 4), pending: map[int]*pending{},
	}
	c.reap = sync.OnceValue(func() *os.ProcessState {
		cmd.Wait() // its status is in the state
		return cmd.ProcessState
	})
	go c.listen(out)
	t.Cleanup(func() {
		c.kill()
		in.Close()
	})
	c.awaitReady()
	return c
}

// listen hands answers to those who wait for them.
func (c *client) listen(out *os.File) {
	defer out.Close()
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			panic(fmt.Sprintf("client says %q: %v", line, err))
		}
		if a.ID == readyID {
			c.ready <- struct{}{}
			continue
		}
		c.mu.Lock()
		p := c.pending[a.ID]
		c.mu.Unlock()
		if a.Tid != 0 {
			p.tid = a.Tid
			close(p.begun)
			continue
		}
		p.answer = a
		close(p.done)
	}
}

func (c *client) awaitReady() {
	c.t.Helper()
	select {
	case <-c.ready:
	case <-time.After(patience):
		c.t.Fatal("a client did not start")
	}
}

// kill sends SIGKILL and waits for the end.
func (c *client) kill() {
	c.cmd.Process.Kill()
	c.reap()
}

// tgkill sends a signal to one thread.
func (c *client) tgkill(tid int, sig syscall.Signal) {
	c.t.Helper()
	if err := unix.Tgkill(c.pid, tid, sig); err != nil {
		c.t.Fatalf("tgkill: %v", err)
	}
}

// A thread is one of a client's.
type thread struct {
	*client
	name string
}

// on names a thread, which starts with its first call. The main thread is "".
func (c *client) on(name string) thread { return thread{c, name} }

// A pending call is under way.
type pending struct {
	c      *client
	what   string
	begun  chan struct{}
	tid    int // once begun
	done   chan struct{}
	answer answer // once done
}

// start sends a call.
func (th thread) start(what string, c call) *pending {
	th.t.Helper()
	p := &pending{c: th.client, what: what, begun: make(chan struct{}), done: make(chan struct{})}
	th.mu.Lock()
	th.lastID++
	c.ID, c.Thread = th.lastID, th.name
	th.pending[c.ID] = p
	th.mu.Unlock()
	if err := th.calls.Encode(c); err != nil {
		th.t.Fatalf("%s: %v", what, err)
	}
	return p
}

// arrived returns when the thread sleeps in its call: what it asks of the server is on the way then.
func (p *pending) arrived() *pending {
	p.c.t.Helper()
	deadline := time.Now().Add(patience)
	select {
	case <-p.begun:
	case <-time.After(patience):
		p.c.t.Fatalf("%s did not begin", p.what)
	}
	for !p.sleeps() {
		if p.ended() {
			p.c.t.Fatalf("%s ended at once: %v", p.what, p.result())
		}
		if time.Now().After(deadline) {
			p.c.t.Fatalf("%s: the thread does not sleep, its state is %c", p.what, threadState(p.c.pid, p.tid))
		}
		time.Sleep(200 * time.Microsecond)
	}
	return p
}

// sleeps says whether the thread does, in its call.
func (p *pending) sleeps() bool {
	select {
	case <-p.begun:
		return threadState(p.c.pid, p.tid) == 'S'
	default:
		return false
	}
}

// threadState returns the letter of proc(5) for a thread's state, 0 if there is no such thread.
func threadState(pid, tid int) byte {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(tid) + "/stat")
	if err != nil {
		return 0
	}
	after := stat[bytes.LastIndexByte(stat, ')')+1:]
	if len(after) < 2 {
		return 0
	}
	return after[1]
}

// waits fails the test if the call has ended.
func (p *pending) waits() {
	p.c.t.Helper()
	if p.ended() {
		p.c.t.Fatalf("%s ended: %v", p.what, p.result())
	}
}

// ended says whether the call has.
func (p *pending) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// A result is what a call gave.
type result struct {
	n     int
	errno syscall.Errno
	mem   [][]byte
}

func (r result) String() string {
	if r.errno != 0 {
		return unix.ErrnoName(r.errno)
	}
	return strconv.Itoa(r.n)
}

// is fails the test unless the result is n, or errno.
func (r result) is(t *testing.T, what string, n int, errno syscall.Errno) {
	t.Helper()
	if want := (result{n: n, errno: errno}); r.errno != errno || errno == 0 && r.n != n {
		t.Fatalf("%s: %v, want %v", what, r, want)
	}
}

func (p *pending) result() result {
	a := p.answer
	return result{a.Ret, a.Errno, a.Mem}
}

// wait returns the result when the call has ended.
func (p *pending) wait() result {
	p.c.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.c.t.Fatalf("%s did not end in %v", p.what, patience)
	}
	return p.result()
}

// sys is a system call.
func (th thread) sys(what string, nr uintptr, mem []memory, args ...uintptr) *pending {
	th.t.Helper()
	c := call{Nr: nr, Mem: mem}
	copy(c.Args[:], args)
	return th.start(what, c)
}

// op is one of ops.
func (th thread) op(name string, mem []memory, args ...uintptr) *pending {
	th.t.Helper()
	c := call{Op: name, Mem: mem}
	copy(c.Args[:], args)
	return th.start(name, c)
}

// exec replaces the client's program by itself on the thread, and returns when it has started.
func (th thread) exec() {
	th.t.Helper()
	th.op("exec", nil)
	th.awaitReady()
}

// fork makes a child that does calls: see opFork.
func (th thread) fork(stay bool, pid int, calls ...call) *pending {
	th.t.Helper()
	c := call{Op: "fork", Calls: calls}
	if stay {
		c.Args[0] = 1
	}
	c.Args[1] = uintptr(pid)
	return th.start("fork", c)
}

// exits waits for the end of the client, of itself or by a signal on the way.
func (c *client) exits() *os.ProcessState {
	c.t.Helper()
	done := make(chan *os.ProcessState)
	go func() { done <- c.reap() }()
	select {
	case state := <-done:
		return state
	case <-time.After(patience):
		c.t.Fatal("a client did not end")
		panic(errors.ErrUnsupported)
	}
}
