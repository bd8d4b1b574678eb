package matrix

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/jobs"
)

// tokenCount is how many tokens there are: one for the client's implicit slot, by stevie, and two to take.
const tokenCount = 3

// jobTime is how many milliseconds a job takes that was let go: longer than a client needs to act on a signal.
const jobTime = 200

// backTime is how long after the end of the last process tokens may be missing.
const backTime = time.Second

// An ending is a way in which a client ends that runs as many jobs as it can.
type ending struct {
	name   string
	always bool // "make test" tries it too
	// jobStatus is the exit status of the jobs.
	jobStatus int
	// signal is sent to whom: "group", the process group, as a terminal does, "stevie" or the "client".
	signal unix.Signal
	whom   string
}

var endings = []ending{
	{name: "normal", always: true},
	{name: "failure", jobStatus: 1},
	{name: "INT", signal: unix.SIGINT, whom: "group"},
	{name: "TERM", signal: unix.SIGTERM, whom: "stevie"},
	{name: "HUP", signal: unix.SIGHUP, whom: "group"},
	{name: "KILL", always: true, signal: unix.SIGKILL, whom: "client"},
	{name: "KILL stevie", signal: unix.SIGKILL, whom: "stevie"},
}

// A run is a client at work.
type run struct {
	*jobs.Process
	slots *jobs.Counter
	gate  *jobs.Gate
}

// mustRun ends the test if the run has ended.
func (r *run) mustRun(t *testing.T) {
	t.Helper()
	select {
	case <-r.Ended:
		t.Fatalf("it has ended with %v\n%s", r.End(), r.Output(t))
	default:
	}
}

// lease matches the line in which stevie tells of a lease.
var lease = regexp.MustCompile(`is no client of this jobserver and gets (-j\d+),`)

// least is how many jobs the client runs at one time at the least, with all tokens.
func (c *cell) least() int {
	if c.writesFirst && !c.column.takesEarly {
		return tokenCount - 1
	}
	return tokenCount
}

// startRun starts the client by stevie. Its jobs wait for the gate.
func (c *cell) startRun(t *testing.T, from source, jobStatus int) *run {
	t.Helper()
	l := &launch{prepared: c.prepared, dir: t.TempDir(), bin: t.TempDir()}
	c.row.start(t, l)
	r := &run{slots: jobs.NewCounter(t), gate: jobs.NewGate(t)}
	env := l.environ(t, r.slots.Env(), r.gate.Env(), fmt.Sprintf("JOB_MS=%d", jobTime), fmt.Sprintf("JOB_STATUS=%d", jobStatus))
	r.Process = jobs.Start(t, l.dir, append(env, from.env()...), c.stevie(t, l.argv)...)
	return r
}

// stevie returns the command line that runs argv with this column's jobserver.
func (c *cell) stevie(t *testing.T, argv []string) []string {
	return slices.Concat([]string{filepath.Join(jobs.Tools(t), "stevie"), "run"}, c.column.options, []string{"--"}, argv)
}

// end runs the client until it has all tokens, and ends it.
func (c *cell) end(t *testing.T, e ending) {
	from := c.column.open(t)
	r := c.startRun(t, from, e.jobStatus)
	from.awaitBusy(t, r, c.least())
	peak := r.slots.Peak(t)
	if m := lease.FindStringSubmatch(r.Output(t)); m != nil {
		c.leased = m[1]
	}
	if e.signal != 0 {
		if err := unix.Kill(r.target(t, e.whom), e.signal); err != nil {
			t.Fatal(err)
		}
	}
	orphaned := e.signal == unix.SIGKILL && e.whom == "stevie"
	if e.signal == unix.SIGKILL {
		r.AwaitEnd(t) // what it has left behind still waits for the gate
	}
	if orphaned && !c.column.outlives {
		r.AwaitMembers(t)
	}
	r.gate.Open(t)
	r.AwaitEnd(t)
	r.AwaitMembers(t)
	if took := from.awaitBack(t); took > backTime {
		t.Errorf("all tokens back %v after the end of all processes, want at most %v", took, backTime)
	}
	ended := r.End()
	if good := e.signal == 0 && e.jobStatus == 0; good != (ended == nil) {
		t.Errorf("it ended with %v\n%s", ended, r.Output(t))
	}
	// Not counted is what a signal leaves behind without a token for its implicit slot, and what clients start when their
	// jobs are ended before they are.
	if e.signal == 0 || !c.column.outlives && !orphaned {
		peak = r.slots.Peak(t)
	}
	c.peak = max(c.peak, peak)
	if peak < c.least() || peak > tokenCount {
		t.Errorf("at most %d jobs at one time, want %d\n%s", peak, c.least(), r.Output(t))
	}
}

// target returns whom to send a signal.
func (r *run) target(t *testing.T, whom string) int {
	t.Helper()
	switch whom {
	case "stevie":
		return r.Process.Process.Pid
	case "group":
		return -r.Process.Process.Pid
	}
	for _, pid := range r.Members(t) {
		parent, program := parentOf(pid)
		if parent == r.Process.Process.Pid && program != r.Path {
			return pid
		}
	}
	t.Fatalf("no client among %v", r.Members(t))
	return 0
}

// parentOf returns the parent of a process and the program that it runs, if it is there.
func parentOf(pid int) (parent int, program string) {
	dir := fmt.Sprintf("/proc/%d", pid)
	program, _ = os.Readlink(filepath.Join(dir, "exe"))
	status, _ := os.ReadFile(filepath.Join(dir, "status"))
	_, field, _ := strings.Cut(string(status), "\nPPid:\t")
	field, _, _ = strings.Cut(field, "\n")
	parent, _ = strconv.Atoi(field)
	return parent, program
}
