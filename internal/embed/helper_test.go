package embed

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
)

// The test binary is also the members of the pool: with helperEnv set to a directory it joins the pool there and obeys
// commands from its standard input, each in a goroutine of its own.
const (
	helperEnv = "EMBED_TEST_HELPER"
	jobsEnv   = "EMBED_TEST_JOBS"

	maxChildren = 2
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		if err := help(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// help is a member's life. It ends with its standard input, tokens in hand or not.
func help(dir string) error {
	for fd := range 2 * maxChildren { // the pipes of one child are not another's
		unix.CloseOnExec(3 + fd)
	}
	jobs, err := strconv.Atoi(os.Getenv(jobsEnv))
	if err != nil {
		return err
	}
	// Before Join: descriptors are closed from the lowest on when a process ends, and with this one its proof must go
	// before its tokens do.
	proof, err := newProof(dir)
	if err != nil {
		return err
	}
	p, err := Join(dir, jobs)
	if err != nil {
		return err
	}
	fmt.Println("joined", p.Jobs(), os.Getpid())
	var mu sync.Mutex
	var counts []*atomic.Int64
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		command, arg, _ := strings.Cut(in.Text(), " ")
		n, _ := strconv.Atoi(arg)
		go func() {
			var result any = "done"
			var err error
			switch command {
			case "take":
				err = p.Take()
			case "return":
				err = p.Return(n)
			case "nest":
				result, err = p.Nest()
			case "leave":
				err = p.Leave()
			case "relay":
				var a ctl.RelayAnswer
				a, err = p.Relay(ctl.RelayAsk{Wait: true})
				result = a.Tokens
			case "status":
				var s ctl.Status
				s, err = p.Status()
				result = fmt.Sprint(s.Held, s.Free, s.Limits.Jobs)
			case "waiters":
				var s ctl.Status
				s, err = p.Status()
				result = s.Waiters
			case "child":
				err = startChild(n)
			case "pause":
				p.Pause()
			case "resume":
				p.Resume()
			case "close":
				err = p.Close()
			case "work":
				for _, once := range []func() (int, error){
					func() (int, error) { return 1, p.Take() },
					func() (int, error) { _, err := p.Nest(); return 1, err },
					func() (int, error) {
						a, err := p.Relay(ctl.RelayAsk{Want: 1, Wait: true})
						return a.Tokens, err
					},
				} {
					count := new(atomic.Int64)
					mu.Lock()
					counts = append(counts, count)
					mu.Unlock()
					go work(p, proof, jobs, once, count)
				}
			case "progress":
				mu.Lock()
				for _, c := range counts {
					for now := c.Load(); c.Load() == now; {
						time.Sleep(time.Millisecond)
					}
				}
				mu.Unlock()
			default:
				err = fmt.Errorf("unknown")
			}
			if err != nil {
				result = err
			}
			mu.Lock()
			fmt.Println(command, result)
			mu.Unlock()
		}()
	}
	return nil
}

// work takes and returns tokens for ever. While it has one it proves that no more are out than there may be.
func work(p *Pool, proof *proof, jobs int, once func() (int, error), count *atomic.Int64) {
	for {
		n, err := once()
		if err != nil {
			fmt.Fprintln(os.Stderr, "work:", err)
			os.Exit(1)
		}
		var bytes []int64
		for range n {
			bytes = append(bytes, proof.take(jobs))
		}
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // the job
		for _, b := range bytes {
			proof.drop(b)
		}
		if err := p.Return(n); err != nil {
			fmt.Fprintln(os.Stderr, "work:", err)
			os.Exit(1)
		}
		count.Add(1)
	}
}

// proof shows how many tokens are out, by means of its own: a file of which whoever has a token locks one byte in jobs.
type proof struct {
	fd   int
	mu   sync.Mutex
	mine map[int64]bool
}

func newProof(dir string) (*proof, error) {
	fd, err := unix.Open(dir+"/proof", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	return &proof{fd: fd, mine: map[int64]bool{}}, err
}

func (p *proof) take(jobs int) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Others move meanwhile: none is free only if there is none in all of several looks.
	for range 100 {
		for at := range int64(jobs) {
			lock := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1}
			if !p.mine[at] && unix.FcntlFlock(uintptr(p.fd), unix.F_SETLK, &lock) == nil {
				p.mine[at] = true
				return at
			}
		}
	}
	fmt.Fprintln(os.Stderr, "more tokens are out than there are")
	os.Exit(3)
	return 0
}

func (p *proof) drop(at int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.mine, at)
	unix.FcntlFlock(uintptr(p.fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Start: at, Len: 1})
}

// startChild starts a member that is a child of this one, on the pair n of the pipes that the test has passed.
func startChild(n int) error {
	c := exec.Command("/proc/self/exe")
	c.Stdin, c.Stdout, c.Stderr = os.NewFile(uintptr(3+2*n), ""), os.NewFile(uintptr(4+2*n), ""), os.Stderr
	return c.Start()
}

// A member is such a process, as the test sees it.
type member struct {
	t     testing.TB
	pid   int
	cmd   *exec.Cmd // nil for a child of another
	in    io.WriteCloser
	lines chan string
}

// start starts a member and waits until it has joined.
func start(t testing.TB, dir string, jobs int) *member {
	t.Helper()
	m, _ := startParent(t, dir, jobs, 0)
	return m
}

// startAndKill starts a member and kills it at whatever point of joining it has come to.
func startAndKill(t testing.TB, dir string, jobs int) {
	t.Helper()
	m := command(t, dir, jobs)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Duration(rand.IntN(20000)) * time.Microsecond) // any moment is the point
	m.kill()
}

// command is a member that has yet to be started.
func command(t testing.TB, dir string, jobs int) *member {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t: t, cmd: exec.Command(exe), lines: make(chan string, 16)}
	m.cmd.Env = append(os.Environ(), helperEnv+"="+dir, jobsEnv+"="+strconv.Itoa(jobs))
	m.cmd.Stderr = os.Stderr
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	return m
}

// startParent starts a member, and prepares that many others, which it starts when told "child N".
func startParent(t testing.TB, dir string, jobs, children int) (*member, []*member) {
	t.Helper()
	m := command(t, dir, jobs)
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var below []*member
	for range children {
		inR, inW, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		outR, outW, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c := &member{t: t, in: inW, lines: make(chan string, 16)}
		go c.read(outR)
		t.Cleanup(func() { // its parent has been killed
			if c.pid != 0 {
				c.resume()
			}
			inW.Close()
			for range c.lines { // until its end: it might still make files
			}
		})
		below = append(below, c)
		m.cmd.ExtraFiles = append(m.cmd.ExtraFiles, inR, outW)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range m.cmd.ExtraFiles {
		f.Close()
	}
	go m.read(out)
	t.Cleanup(func() {
		m.cmd.Process.Kill()
		m.cmd.Wait()
	})
	m.expectJoined(jobs)
	return m, below
}

func (m *member) read(r io.Reader) {
	defer close(m.lines)
	for s := bufio.NewScanner(r); s.Scan(); {
		m.lines <- s.Text()
	}
}

func (m *member) say(command string) {
	m.t.Helper()
	if _, err := fmt.Fprintln(m.in, command); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) hear() string {
	m.t.Helper()
	select {
	case line, ok := <-m.lines:
		if !ok {
			m.t.Fatal("a member has ended")
		}
		return line
	case <-time.After(patience):
		m.t.Fatal("a member is stuck")
	}
	return ""
}

func (m *member) expect(want string) {
	m.t.Helper()
	if line := m.hear(); line != want {
		m.t.Fatalf("a member said %q, want %q", line, want)
	}
}

func (m *member) expectJoined(jobs int) {
	m.t.Helper()
	var n int
	line := m.hear()
	if _, err := fmt.Sscanf(line, "joined %d %d", &n, &m.pid); err != nil || n != jobs {
		m.t.Fatalf("a member said %q, want a pool of %d joined", line, jobs)
	}
}

// stop stops the member and returns when all its threads are.
func (m *member) stop() {
	m.t.Helper()
	unix.Kill(m.pid, unix.SIGSTOP)
	await(m.t, "a member is stopped", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", m.pid))
		if err != nil || len(threads) == 0 {
			m.t.Fatal("no threads: ", err)
		}
		for _, path := range threads {
			stat, err := os.ReadFile(path)
			if err == nil && !strings.Contains(string(stat), ") T ") {
				return false
			}
		}
		return true
	})
}

func (m *member) resume() { unix.Kill(m.pid, unix.SIGCONT) }

// do says a command and waits for its result.
func (m *member) do(command, want string) {
	m.t.Helper()
	m.say(command)
	name, _, _ := strings.Cut(command, " ")
	m.expect(name + " " + want)
}

// silent fails the test if the member has said something.
func (m *member) silent(why string) {
	m.t.Helper()
	select {
	case line := <-m.lines:
		m.t.Fatalf("a member said %q, but %s", line, why)
	default:
	}
}

// kill kills the member and waits for its end. It fails the test if that had come before.
func (m *member) kill() {
	m.t.Helper()
	m.cmd.Process.Kill()
	m.cmd.Wait()
	if status := m.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		m.t.Fatalf("a member ended by itself: %v", m.cmd.ProcessState)
	}
}
