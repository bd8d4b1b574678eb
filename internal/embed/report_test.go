package embed

import (
	"errors"
	"os"
	"testing"
	"time"
)

// A report names the members that hold and wait, on as many pages as it takes, and makes the asker none.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	const jobs = 300 // more rows than a page has
	p := join(t, dir, jobs)
	waiter := start(t, dir, jobs)
	for range jobs {
		if err := p.Take(); err != nil {
			t.Fatal(err)
		}
	}
	waiter.say("take")
	await(t, "a process waits", func() bool { return statusOf(t, p).Waiters == 1 })
	r, source, err := Report(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Caller != os.Getpid() || r.Status.Held != jobs || source != p.place.path() || len(r.Processes) != 2 {
		t.Fatalf("%s reports %+v", source, r)
	}
	holds, waits := r.Processes[0], r.Processes[1]
	if holds.PID != os.Getpid() || len(holds.Tokens) != jobs || holds.Tokens[0].Age <= 0 || holds.Tokens[0].Age > time.Hour {
		t.Errorf("the holder: %+v", holds)
	}
	if waits.PID != waiter.pid || !waits.Waits || waits.Waiting <= 0 || waits.Waiting > time.Hour {
		t.Errorf("the waiter: %+v", waits)
	}
}

// To ask makes no file, nor a server.
func TestReportWithoutServer(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Report(dir); !errors.Is(err, ErrNotServed) {
		t.Errorf("nobody serves: %v", err)
	}
	if _, _, err := Report(dir + "/missing"); !errors.Is(err, ErrNotServed) {
		t.Errorf("no directory: %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("left %v, %v", files, err)
	}
}
