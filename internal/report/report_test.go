package report

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"steve/internal/ctl"
	"steve/internal/pool"
	"steve/internal/proc"
)

func TestWrite(t *testing.T) {
	const now = 100 * time.Second
	state := pool.State{
		Limits: pool.Limits{Jobs: 12}, Now: now, Held: 4,
		Clients: []pool.ClientState{
			{ID: 1, Since: now - 1500*time.Millisecond, Watches: []pool.Watching{{Handle: 1}}},
			{ID: 2, Jobs: []pool.Job{{Number: 4, Since: now - 3051200*time.Microsecond}}, Waiting: []pool.Waiting{{Ticket: 9}}, Since: now - 200*time.Millisecond},
			{ID: 3, Jobs: []pool.Job{{Number: 1, Since: now - 53674200*time.Nanosecond}, {Number: 0, Since: now - 8403600*time.Nanosecond}}},
			{ID: 4, Taken: true, Watches: []pool.Watching{{Handle: 2, Told: true}}}, // neither holds nor waits
			{ID: 5, Lender: true},
			{ID: 6, Jobs: []pool.Job{{Number: 0, Since: now}}}, // has ended meanwhile
			{ID: 7, Since: now - 2*time.Second, Waiting: []pool.Waiting{{Ticket: 10}}, Host: 3},
			{ID: 8, Since: now, Host: 3},
		},
		Relays: []pool.RelayState{{Client: 3}},
	}
	const want = `steve: currently 8 tokens available out of 12
PID 1003 (make DESTDIR=) holds 2 tokens:
  job 0x00 running for 0.0084036s
  job 0x01 running for 0.0536742s
PID 1002 (ninja -v -l16) holds 1 tokens, waiting for 0.2s:
  job 0x04 running for 3.0512s
PID 1005 (nasm) holds 0 tokens, lends one:
PID 1007 (cargo) holds 0 tokens, waiting for 2s:
PID 1001 (ctest) holds 0 tokens, waiting for 1.5s:
`
	commands := map[pool.Client]string{1: "ctest", 2: "ninja -v -l16", 3: "make DESTDIR=", 4: "idle", 5: "nasm", 7: "cargo", 8: "stevie"}
	var b strings.Builder
	err := Write(&b, state, func(c pool.Client) (int, string, bool) {
		command, ok := commands[c]
		return 1000 + int(c), command, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// After a shrink more may be held than there are.
func TestWriteShrunk(t *testing.T) {
	var b strings.Builder
	if err := Write(&b, pool.State{Limits: pool.Limits{Jobs: 2}, Held: 5}, nil); err != nil {
		t.Fatal(err)
	}
	if want := "steve: currently 0 tokens available out of 2\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// sample has one process of each kind.
func sample() Report {
	return Report{
		Source: "/dev/steve",
		Status: ctl.Status{
			Limits: pool.Limits{Jobs: 12, MinJobs: 1, LoadAverage: 2.5, RecheckTimeout: 500 * time.Millisecond, MinMemory: -1},
			Free:   10, Held: 2, Holders: 1, Waiters: 1,
		},
		Processes: []Process{
			{
				ctl.Process{PID: 1003, Tokens: []ctl.Token{{Number: 1, Age: 1500 * time.Millisecond}, {Number: 0, Age: 250 * time.Millisecond}}},
				&Who{Command: "make DESTDIR=", UID: 1000, User: "jo", Cgroup: "/user.slice"},
			},
			{ctl.Process{PID: 1004, Lends: true, Waits: true, Waiting: 2 * time.Second}, &Who{Command: "nasm", UID: 4711, Cgroup: "/a\nPID 1"}},
			{ctl.Process{PID: 1005, Waits: true, Relays: true}, nil},
			{ctl.Process{PID: 1006, Under: 1003}, nil},
		},
	}
}

func TestText(t *testing.T) {
	const want = `steve: currently 10 tokens available out of 12
  /dev/steve: 2 held by 1 processes, 1 processes wait
  min-jobs 1, load-average 2.5, load-recheck-timeout 0.5s, min-memory-avail off, per-process-limit off
PID 1003 (make DESTDIR=) holds 2 tokens:
  user jo, cgroup /user.slice
  job 0x00 running for 0.25s
  job 0x01 running for 1.5s
PID 1004 (nasm) holds 0 tokens, lends one, waiting for 2s:
  user 4711, cgroup "/a\nPID 1"
PID 1005 (not to be seen) holds 0 tokens, waiting for 0s, passes them on:
PID 1006 (not to be seen) holds 0 tokens, runs in the slot of PID 1003:
`
	var b strings.Builder
	if err := sample().Text(&b); err != nil {
		t.Fatal(err)
	}
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestJSON(t *testing.T) {
	const want = `{"schema":1,"source":"/dev/steve",` +
		`"tokens":{"jobs":12,"free":10,"held":2,"holders":1,"waiters":1},` +
		`"settings":{"min_jobs":1,"load_average":2.5,"load_recheck_seconds":0.5,"min_memory_mib":null,"per_process_limit":null},` +
		`"foreign_pids":false,"processes":[` +
		`{"pid":1003,"command":"make DESTDIR=","uid":1000,"user":"jo","cgroup":"/user.slice",` +
		`"tokens":[{"number":1,"age_seconds":1.5},{"number":0,"age_seconds":0.25}],"lends":false,"waiting_seconds":null,"relays":false,"under":null},` +
		`{"pid":1004,"command":"nasm","uid":4711,"user":null,"cgroup":"/a\nPID 1","tokens":[],"lends":true,"waiting_seconds":2,"relays":false,"under":null},` +
		`{"pid":1005,"command":null,"uid":null,"user":null,"cgroup":null,"tokens":[],"lends":false,"waiting_seconds":0,"relays":true,"under":null},` +
		`{"pid":1006,"command":null,"uid":null,"user":null,"cgroup":null,"tokens":[],"lends":false,"waiting_seconds":null,"relays":false,"under":1003}]}`
	var b strings.Builder
	if err := sample().JSON(&b); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := compact(&got, b.String()); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func compact(to *strings.Builder, s string) error {
	var raw json.RawMessage
	if err := json.Unmarshal([]byte(s), &raw); err != nil {
		return err
	}
	b, err := json.Marshal(raw)
	to.Write(b)
	return err
}

// TestLookUp looks at a real process, as itself and in the guise of one that had the same pid before.
func TestLookUp(t *testing.T) {
	cmd := exec.Command("cat")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A line there and back: by then it is cat with its arguments.
	if _, err := input.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := output.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	asked := ctl.Report{Caller: os.Getpid(), Processes: []ctl.Process{
		{PID: pid, Waits: true},
		{PID: pid, Waits: true, Waiting: time.Hour},
		{PID: pid, Tokens: []ctl.Token{{Age: time.Hour}}},
	}}
	r := LookUp(asked, "somewhere", proc.Root)
	if r.Foreign || r.Source != "somewhere" || len(r.Processes) != 3 {
		t.Fatalf("%+v", r)
	}
	switch w := r.Processes[0].Who; {
	case w == nil:
		t.Error("the process was not found")
	case w.Command != "cat" || w.UID != os.Geteuid():
		t.Errorf("%+v, want cat of user %d", w, os.Geteuid())
	}
	for i, p := range r.Processes[1:] {
		if p.Who != nil {
			t.Errorf("guise %d: a process younger than its wait or token is %+v, want nobody", i, p.Who)
		}
	}

	asked.Caller++
	if r := LookUp(asked, "somewhere", proc.Root); !r.Foreign || r.Processes[0].Who != nil {
		t.Errorf("asked from another pid namespace: %+v", r)
	}

	asked.Caller--
	input.Close()
	cmd.Wait()
	if r := LookUp(asked, "somewhere", proc.Root); r.Processes[0].Who != nil {
		t.Errorf("after its end: %+v", r.Processes[0].Who)
	}
}
