package keeper

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must come soon, on a machine as busy as may be.
const patience = time.Minute

// A house is a keeper with its workers, and all that they print.
type house struct {
	t      *testing.T
	dir    string
	main   *exec.Cmd
	lines  chan string
	closed chan struct{} // when the last descriptor of the device is

	mu   sync.Mutex
	seen []string
}

// start starts a main process. Its workers do what is told for the first version.
func start(t *testing.T, does string) *house {
	h := &house{t: t, dir: t.TempDir(), lines: make(chan string, 1e5), closed: make(chan struct{})}
	h.tell(firstTag, does)
	h.launch()
	return h
}

func (h *house) launch() {
	t := h.t
	output, outputOfHouse, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	device, deviceOfHouse, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h.main = exec.Command(self)
	h.main.Env = append(os.Environ(), dirEnv+"="+h.dir)
	h.main.Stdout, h.main.Stderr = outputOfHouse, outputOfHouse
	h.main.ExtraFiles = []*os.File{deviceOfHouse}
	if err := h.main.Start(); err != nil {
		t.Fatal(err)
	}
	outputOfHouse.Close()
	deviceOfHouse.Close()
	go func() {
		defer close(h.lines)
		defer output.Close()
		for in := bufio.NewScanner(output); in.Scan(); {
			h.mu.Lock()
			h.seen = append(h.seen, in.Text())
			h.mu.Unlock()
			h.lines <- in.Text()
		}
	}()
	go func() {
		defer close(h.closed)
		defer device.Close()
		io.Copy(io.Discard, device)
	}()
	t.Cleanup(func() {
		for pass := true; pass; { // until none is left that could start another
			pass = false
			for pid := range h.processes() {
				unix.Kill(pid, unix.SIGKILL)
				pass = true
			}
			if h.main.ProcessState == nil {
				h.main.Wait()
			}
		}
		<-h.closed
		for range h.lines {
		}
		if t.Failed() {
			t.Log(strings.Join(h.seen, "\n"))
		}
	})
}

// A member is a process of the house.
type member struct {
	parent int
	state  string
}

// processes are those that live or wait to be buried.
func (h *house) processes() map[int]member {
	all := map[int]member{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	children := map[int]member{}
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		stat, _ := os.ReadFile(dir + "/stat")
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		m := member{parent, fields[0]}
		environ, _ := os.ReadFile(dir + "/environ") // a zombie has none
		if m.state == "Z" {
			children[pid] = m
		} else if slices.Contains(strings.Split(string(environ), "\x00"), dirEnv+"="+h.dir) {
			all[pid] = m
		}
	}
	for pid, m := range children {
		if _, ok := all[m.parent]; ok {
			all[pid] = m
		}
	}
	return all
}

// tell says what workers of a version do from now on.
func (h *house) tell(version, does string) {
	if err := os.WriteFile(filepath.Join(h.dir, version), []byte(does), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// install puts another version of the program on the disk.
func (h *house) install(version, does string) {
	h.t.Helper()
	h.tell(version, does)
	program, err := os.ReadFile(self)
	if err != nil {
		h.t.Fatal(err)
	}
	h.installBytes(append(program, versionMark+version...), 0o700)
}

func (h *house) installBytes(program []byte, perm os.FileMode) {
	h.t.Helper()
	fresh := filepath.Join(h.dir, "program.new")
	if err := os.WriteFile(fresh, program, perm); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(fresh, filepath.Join(h.dir, "program")); err != nil {
		h.t.Fatal(err)
	}
}

// await returns what the parentheses of pattern match in the next line that it matches.
func (h *house) await(pattern string) []string {
	h.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-h.lines:
			if m := re.FindStringSubmatch(line); m != nil {
				return m[1:]
			} else if !ok {
				h.t.Fatalf("all have ended without a line like %q", pattern)
			}
		case <-deadline:
			h.t.Fatalf("no line like %q", pattern)
		}
	}
}

// served awaits a worker that serves, and its keeper to know.
func (h *house) served(version string) (worker, keeper int) {
	h.t.Helper()
	m := h.await(`^worker (\d+) serving program=` + version + ` .* keeper=(\d+) comm=steve-worker `)
	h.await(`^kept ` + m[0])
	return number(m[0]), number(m[1])
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

func (h *house) kill(pid int, s unix.Signal) {
	h.t.Helper()
	if err := unix.Kill(pid, s); err != nil {
		h.t.Fatalf("%v to %d: %v", s, pid, err)
	}
}

// open checks that the device has been open all the time.
func (h *house) open() {
	h.t.Helper()
	select {
	case <-h.closed:
		h.t.Fatal("the device is closed")
	default:
	}
}

// ended awaits the end of all, with a line of the last keeper.
func (h *house) ended(status int, message string) {
	h.t.Helper()
	if m := h.await(`^end status=(\d+) error=(.*)`); number(m[0]) != status || !strings.Contains(m[1], message) {
		h.t.Errorf("ended with status %s, error %s, want %d, %q", m[0], m[1], status, message)
	}
	h.gone()
}

// gone awaits that no process and no descriptor is left.
func (h *house) gone() {
	h.t.Helper()
	select {
	case <-h.closed:
	case <-time.After(patience):
		h.t.Fatal("the device is still open")
	}
	h.main.Wait()
	deadline := time.Now().Add(patience)
	for len(h.processes()) > 0 { // one that has closed all may still be on its way out
		if time.Now().After(deadline) {
			h.t.Fatalf("processes are left: %v", h.processes())
		}
		time.Sleep(time.Millisecond)
	}
}

// stop ends all as a user does.
func (h *house) stop(keeper int) {
	h.t.Helper()
	h.open()
	h.kill(keeper, unix.SIGTERM)
	h.await(`^worker \d+ told stop`)
	h.ended(0, "<nil>")
}

func (h *house) pid() int { return h.main.Process.Pid }

// fds are the descriptors of a process by what they are open on, the numbers of sockets and pipes left out.
func fds(t *testing.T, pid int) map[string]int {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for _, e := range entries {
		name, _ := os.Readlink(filepath.Join(dir, e.Name()))
		name, _, _ = strings.Cut(name, ":[")
		all[name]++
	}
	return all
}

// comm is the name of a process as ps and killall see it.
func comm(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(b))
}

func TestIntegrationStop(t *testing.T) {
	h := start(t, serves)
	_, keeper := h.served("v1")
	h.stop(keeper)
}

// One that was told to stop by a user itself has stopped for good.
func TestIntegrationStopOfWorker(t *testing.T) {
	h := start(t, serves)
	worker, _ := h.served("v1")
	h.kill(worker, unix.SIGTERM)
	h.ended(0, "<nil>")
}

func TestIntegrationReport(t *testing.T) {
	h := start(t, serves)
	worker, keeper := h.served("v1")
	h.kill(worker, unix.SIGUSR1) // as killall does that goes by the path
	h.kill(keeper, unix.SIGUSR1)
	h.await(fmt.Sprintf(`^worker %d told report`, worker))
	h.stop(keeper)
}

func TestIntegrationWorkerKilled(t *testing.T) {
	h := start(t, serves)
	worker, keeper := h.served("v1")
	before, ofWorker := fds(t, keeper), fds(t, worker)
	if !maps.Equal(before, ofWorker) { // each has an end of the link, and what is kept
		t.Errorf("the keeper has descriptors %v, its worker %v, want the same", before, ofWorker)
	}
	var pauses []time.Duration
	for range 100 {
		killed := time.Now()
		h.kill(worker, unix.SIGKILL)
		worker = number(h.await(`^worker (\d+) serving program=v1 fresh=false`)[0])
		pauses = append(pauses, time.Since(killed))
		h.await(fmt.Sprintf("^kept %d", worker))
	}
	slices.Sort(pauses)
	t.Logf("from the kill to the next worker: p50 %v, p90 %v, max %v", pauses[50], pauses[90], pauses[99])
	if after := fds(t, keeper); !maps.Equal(before, after) {
		t.Errorf("the keeper had descriptors %v, and has %v", before, after)
	}
	if after := fds(t, worker); !maps.Equal(ofWorker, after) {
		t.Errorf("the first worker had descriptors %v, the last has %v", ofWorker, after)
	}
	if members := h.processes(); len(members) != 2 {
		t.Errorf("processes %v, want keeper and worker", members)
	}
	h.stop(keeper)
}

func TestIntegrationKeeperKilled(t *testing.T) {
	h := start(t, serves)
	worker, keeper := h.served("v1")
	var pauses []time.Duration
	for range 30 {
		killed := time.Now()
		h.kill(keeper, unix.SIGKILL)
		if keeper == h.pid() {
			h.main.Wait()
		}
		h.await(fmt.Sprintf(`^keeper %d program=v1 verb="keep"`, worker))
		successor := worker
		worker, keeper = h.served("v1")
		pauses = append(pauses, time.Since(killed))
		if keeper != successor {
			t.Fatalf("the keeper is %d, want %d, the worker before", keeper, successor)
		}
	}
	slices.Sort(pauses)
	t.Logf("from the kill to the next worker: p50 %v, max %v", pauses[15], pauses[29])
	if name := comm(keeper); name != "steve" {
		t.Errorf("the keeper is called %q", name)
	}
	h.kill(worker, unix.SIGKILL) // the new keeper does its work
	worker, _ = h.served("v1")
	h.kill(keeper, unix.SIGUSR1)
	h.await(fmt.Sprintf(`^worker %d told report`, worker))
	h.stop(keeper)
}

func TestIntegrationBothKilled(t *testing.T) {
	for _, keeperFirst := range []bool{true, false} {
		h := start(t, serves)
		worker, keeper := h.served("v1")
		h.kill(keeper, unix.SIGSTOP) // so that it cannot start another
		h.kill(worker, unix.SIGSTOP)
		pids := []int{worker, keeper}
		if keeperFirst {
			slices.Reverse(pids)
		}
		for _, pid := range pids {
			h.kill(pid, unix.SIGKILL)
		}
		h.gone()
	}
}

func TestIntegrationWorkerStopped(t *testing.T) {
	h := start(t, serves)
	worker, keeper := h.served("v1")
	h.kill(worker, unix.SIGSTOP)
	next, _ := h.served("v1")
	if _, alive := h.processes()[worker]; alive || next == worker {
		t.Error("the stopped worker is still there")
	}
	// One that goes on soon is left alone.
	h.kill(next, unix.SIGSTOP)
	h.kill(next, unix.SIGCONT)
	h.kill(keeper, unix.SIGUSR1)
	h.await(fmt.Sprintf(`^worker %d told report`, next))
	h.stop(keeper)
}

func TestIntegrationDeafWorker(t *testing.T) {
	t.Parallel()
	h := start(t, isDeaf)
	_, keeper := h.served("v1")
	h.kill(keeper, unix.SIGTERM)
	h.ended(1, "did not stop within")
}

func TestIntegrationFatal(t *testing.T) {
	h := start(t, isFatal)
	h.ended(2, "<nil>")
}

func TestIntegrationPanics(t *testing.T) {
	t.Parallel()
	h := start(t, panics)
	for range freshAfter {
		h.await(`^worker \d+ started`)
	}
	h.await(`^worker \d+ serving .* fresh=true`)
	h.ended(1, "no worker could serve for 6s; the last: exit status 2")
}

func TestIntegrationPanicsOnOldState(t *testing.T) {
	h := start(t, panicsOnOld)
	keeper := number(h.await(`^worker \d+ serving .* fresh=true keeper=(\d+)`)[0])
	h.stop(keeper)
}

func TestIntegrationKilledWorkersAreNoReasonToStartFresh(t *testing.T) {
	h := start(t, hangsReady)
	for range 2 * freshAfter {
		h.kill(number(h.await(`^worker (\d+) started`)[0]), unix.SIGKILL)
	}
	h.tell("v1", serves)
	h.kill(number(h.await(`^worker (\d+) started`)[0]), unix.SIGKILL)
	keeper := number(h.await(`^worker \d+ serving .* fresh=false keeper=(\d+)`)[0])
	h.stop(keeper)
}

func TestIntegrationNoWorker(t *testing.T) {
	t.Parallel()
	for does, last := range map[string]string{
		crashes:    "exit status 3",
		parks:      "exit status 75",
		hangs:      "as it hung",
		hangsReady: "as it hung",
	} {
		t.Run(does, func(t *testing.T) {
			t.Parallel()
			start(t, does).ended(1, last)
		})
	}
	t.Run("exec fails", func(t *testing.T) {
		t.Parallel()
		h := &house{t: t, dir: t.TempDir(), lines: make(chan string, 1e5), closed: make(chan struct{})}
		h.tell("self", "/dev/null")
		h.launch()
		h.ended(1, "exec /dev/null: permission denied")
		if n := strings.Count(strings.Join(h.seen, "\n"), "starting fresh"); n != 0 {
			t.Error("that is no reason to start fresh")
		}
	})
}

// A stop that comes while none serves is for the next that does.
func TestIntegrationStopDuringOutage(t *testing.T) {
	h := start(t, crashes)
	keeper := number(h.await(`^keeper (\d+)`)[0])
	h.await(`could not serve`)
	h.kill(keeper, unix.SIGTERM)
	h.await(`msg=stopping`)
	h.tell("v1", serves)
	h.await(`^worker \d+ told stop`)
	h.ended(0, "<nil>")
}
