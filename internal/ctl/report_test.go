package ctl

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/pool"
)

func TestReportNumber(t *testing.T) {
	if got, want := uint32(CmdReport), uint32(0xd0005306); got != want {
		t.Errorf("report is %#x, want %#x", got, want)
	}
}

func TestReportOf(t *testing.T) {
	const now = 100 * time.Second
	state := pool.State{
		Now: now - time.Hour, // that of the last step, which may be long ago
		Clients: []pool.ClientState{
			{ID: 1, Since: now - 1500*time.Millisecond, Watches: []pool.Watching{{Handle: 1}}},
			{ID: 2, Jobs: []pool.Job{{Number: 4, Since: now - 3*time.Second}}, Waiting: []pool.Waiting{{Ticket: 9}}, Since: now - time.Second},
			{ID: 3, Jobs: []pool.Job{{Number: 1, Since: now - 5*time.Second}, {Number: 0, Since: now + 1}}},
			{ID: 4, Taken: true, Watches: []pool.Watching{{Handle: 2, Told: true}}}, // neither holds nor waits
			{ID: 5, Lender: true},
			{ID: 6, Jobs: []pool.Job{{Number: 0, Since: now}}}, // has ended meanwhile
			{ID: 7, Since: now - 2*time.Second, Waiting: []pool.Waiting{{Ticket: 10}}},
			{ID: 8, Since: now, Host: 3},
		},
		Relays: []pool.RelayState{{Client: 3}},
	}
	got := ReportOf(Status{Free: 8}, state, now, func(c pool.Client) (int, bool) { return 1000 + int(c), c != 6 })
	want := Report{Status: Status{Free: 8}, Processes: []Process{
		{PID: 1003, Tokens: []Token{{1, 5 * time.Second}, {0, 0}}, Relays: true},
		{PID: 1002, Tokens: []Token{{4, 3 * time.Second}}, Waits: true, Waiting: time.Second},
		{PID: 1005, Lends: true},
		{PID: 1007, Waits: true, Waiting: 2 * time.Second},
		{PID: 1001, Waits: true, Waiting: 1500 * time.Millisecond},
		{PID: 1008, Under: 1003},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for i, age := range []time.Duration{5 * time.Second, 3 * time.Second, 0, 2 * time.Second, 1500 * time.Millisecond} {
		if got.Processes[i].Age() != age {
			t.Errorf("process %d is %v old, want %v", got.Processes[i].PID, got.Processes[i].Age(), age)
		}
	}
}

// large is a report of three pages.
func large() Report {
	r := Report{Status: Status{Limits: limits, Free: 1, Held: 600, Holders: 2, Waiters: 1}, Caller: 77}
	for pid := range 3 {
		p := Process{PID: 1000 + pid, Lends: pid == 1, Waits: pid == 2, Relays: pid == 0}
		if p.Waits {
			p.Waiting = time.Minute
		}
		for i := range 200 {
			p.Tokens = append(p.Tokens, Token{uint32(i), time.Duration(1000*pid + i)})
		}
		r.Processes = append(r.Processes, p)
	}
	r.Processes = append(r.Processes, Process{PID: 1003, Under: 1000})
	return r
}

// serve answers as a server does.
func serve(s *Snapshot, asked *[]int) func([]byte) error {
	return func(b []byte) error {
		offset, err := ParseReportAsk(b)
		*asked = append(*asked, offset)
		copy(b, s.AppendPage(nil, offset))
		return err
	}
}

func TestReportPages(t *testing.T) {
	exact := Report{Processes: []Process{{PID: 1}}} // fills one page to its end
	for i := range ReportRows - 1 {
		exact.Processes[0].Tokens = append(exact.Processes[0].Tokens, Token{Number: uint32(i)})
	}
	for name, tt := range map[string]struct {
		report Report
		asked  []int
	}{
		"nobody": {Report{Status: Status{Limits: limits}, Caller: 1}, []int{0}},
		"exact":  {exact, []int{0}},
		"large":  {large(), []int{0, 250, 500}},
	} {
		var asked []int
		got, err := ReadReport(serve(tt.report.Snapshot(), &asked))
		if err != nil || !reflect.DeepEqual(got, tt.report) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, tt.report)
		}
		if !reflect.DeepEqual(asked, tt.asked) {
			t.Errorf("%s: asked for rows from %v, want %v", name, asked, tt.asked)
		}
	}
}

// A server that takes over has none of the reports that the last one was giving.
func TestReportBeginsAgain(t *testing.T) {
	former, later := large(), large()
	former.Processes[0].PID = 999
	for name, tt := range map[string]struct {
		takeovers int
		err       error
		asked     []int
	}{
		"one takeover":   {1, nil, []int{0, 250, 0, 250, 500}},
		"some takeovers": {3, nil, []int{0, 250, 0, 250, 0, 250, 0, 250, 500}},
		"no end of them": {100, unix.ESTALE, []int{0, 250, 0, 250, 0, 250, 0, 250}},
	} {
		var asked []int
		got, err := ReadReport(func(b []byte) error {
			report := later
			if tt.takeovers > 0 {
				report = former
			}
			if err := serve(report.Snapshot(), &asked)(b); err != nil {
				return err
			}
			if asked[len(asked)-1] > 0 && tt.takeovers > 0 {
				tt.takeovers--
				return unix.ESTALE
			}
			return nil
		})
		want := later
		if tt.err != nil {
			want = Report{}
		}
		if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, want)
		}
		if !reflect.DeepEqual(asked, tt.asked) {
			t.Errorf("%s: asked for rows from %v, want %v", name, asked, tt.asked)
		}
	}
}

// A later server may say more of a process.
func TestReportUnknownRow(t *testing.T) {
	r := Report{Processes: []Process{{PID: 5, Lends: true}}}
	s := r.Snapshot()
	s.rows = append(s.rows, s.rows[rowSize:]...)
	binary.LittleEndian.PutUint32(s.rows[2*rowSize:], 99)
	var asked []int
	if got, err := ReadReport(serve(s, &asked)); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v, want %+v", got, err, r)
	}
}

func TestReportMalformed(t *testing.T) {
	page := func(change func([]byte)) []byte {
		b := large().Snapshot().AppendPage(nil, 0)
		change(b)
		return b
	}
	for name, b := range map[string][]byte{
		"short":               page(func([]byte) {})[:ReportSize-1],
		"too many rows":       page(func(b []byte) { binary.LittleEndian.PutUint32(b[8:], ReportRows+1) }),
		"rows without end":    page(func(b []byte) { binary.LittleEndian.PutUint64(b, 1<<40) }),
		"no row of many":      page(func(b []byte) { binary.LittleEndian.PutUint32(b[8:], 0) }),
		"a token of nobody's": page(func(b []byte) { b[reportHead] = rowToken }),
	} {
		_, err := ReadReport(func(to []byte) error { // one that is too short does not come through an ioctl
			if len(b) == len(to) {
				copy(to, b)
				return nil
			}
			var r Report
			_, _, err := r.addPage(b)
			return err
		})
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: error %v, want ErrFormat", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"short": AppendReportAsk(nil, 0)[1:],
		"far":   AppendReportAsk(nil, 1<<40),
	} {
		if _, err := ParseReportAsk(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%s argument: error %v, want ErrFormat", name, err)
		}
	}
}

func TestReportError(t *testing.T) {
	for _, errno := range []error{unix.ENOTTY, unix.EAGAIN, unix.ESTALE, unix.ENOBUFS, unix.EIO} {
		if err := reportError(errno); !errors.Is(err, errno) || (err == errno) != (errno == unix.EIO) {
			t.Errorf("%v: %q", errno, err)
		}
	}
	if reportError(nil) != nil {
		t.Error("an error out of nothing")
	}
}
