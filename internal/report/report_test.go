package report

import (
	"strings"
	"testing"
	"time"

	"steve/internal/pool"
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
			{ID: 7, Since: now - 2*time.Second, Waiting: []pool.Waiting{{Ticket: 10}}},
		},
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
	commands := map[pool.Client]string{1: "ctest", 2: "ninja -v -l16", 3: "make DESTDIR=", 4: "idle", 5: "nasm", 7: "cargo"}
	var b strings.Builder
	err := Write(&b, state, func(c pool.Client) (Process, bool) {
		command, ok := commands[c]
		return Process{PID: 1000 + int(c), Command: command}, ok
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
