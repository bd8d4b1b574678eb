package ctl

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/pool"
)

// CmdReport asks for one page of a report. The argument says where it begins, the answer is the page.
const CmdReport = dirRead | dirWrite | ReportSize<<16 | 'S'<<8 | 6

// Sizes of the record of CmdReport and of its parts, in bytes.
const (
	ReportSize = reportHead + ReportRows*rowSize
	reportHead = 16 + StatusSize
	rowSize    = 16
	// ReportRows is how many rows a page has room for.
	ReportRows = 250
)

// A Report is one moment of a server: settings and counts, and the processes that hold, lend or share a token, or wait for one.
type Report struct {
	Status Status
	// Caller is the asking process, by the pid that the server knows it by. Where that is not its own pid it lives in
	// another pid namespace, and the pids of Processes mean nothing to it.
	Caller int
	// Processes: those that hold most first, and among equals the one that has waited longest.
	Processes []Process
}

// A Process is what a server knows of one process.
type Process struct {
	PID    int     // as the server sees it
	Tokens []Token // held, oldest first
	// Lends says that it returned a token before it ever took one, see pool.
	Lends bool
	// Waits says that it is in a blocked read or an armed poll, for the time of Waiting.
	Waits   bool
	Waiting time.Duration
	// Relays says that it passes its tokens on to other processes.
	Relays bool
	// Under is the pid of the process whose slot it shares, 0 if none.
	Under int
}

// A Token is one that is out.
type Token struct {
	Number uint32        // the lowest that was free among the process's own
	Age    time.Duration // since it was taken
}

// Age is how long the process has been known to live: it holds, or waits, at least since then.
func (p *Process) Age() time.Duration {
	age := p.Waiting
	if len(p.Tokens) > 0 {
		age = max(age, p.Tokens[0].Age)
	}
	return age
}

// ReportOf makes a report of a pool's state, with ages of the time now. A process of which pid knows nothing has ended,
// and is left out.
func ReportOf(status Status, s pool.State, now time.Duration, pid func(pool.Client) (int, bool)) Report {
	clients := slices.DeleteFunc(slices.Clone(s.Clients), func(c pool.ClientState) bool {
		return len(c.Jobs) == 0 && !c.Lender && !c.Waits() && c.Host == 0
	})
	relays := make(map[pool.Client]bool, len(s.Relays))
	for _, r := range s.Relays {
		relays[r.Client] = true
	}
	slices.SortStableFunc(clients, func(a, b pool.ClientState) int {
		return cmp.Or(cmp.Compare(len(b.Jobs), len(a.Jobs)), cmp.Compare(a.Since, b.Since))
	})
	r := Report{Status: status}
	for _, c := range clients {
		number, ok := pid(c.ID)
		if !ok {
			continue
		}
		p := Process{PID: number, Lends: c.Lender, Waits: c.Waits(), Relays: relays[c.ID]}
		if c.Host != 0 {
			p.Under, _ = pid(c.Host)
		}
		if p.Waits {
			p.Waiting = max(0, now-c.Since)
		}
		for _, j := range c.Jobs {
			p.Tokens = append(p.Tokens, Token{j.Number, max(0, now-j.Since)})
		}
		r.Processes = append(r.Processes, p)
	}
	return r
}

// The kinds of rows. One that tells more of a process comes behind the one that names it.
const (
	rowProcess = 1 // value: its pid
	rowToken   = 2 // value: the token's number; age: how long it has been out
	rowWaits   = 3 // age: how long it has waited
	rowLends   = 4
	rowRelays  = 5
	rowUnder   = 6 // value: the pid of the process whose slot it shares
)

// A Snapshot is a report in the form in which a server hands it out, page by page.
type Snapshot struct {
	status Status
	caller int
	rows   []byte
}

// Snapshot puts r into rows.
func (r Report) Snapshot() *Snapshot {
	s := &Snapshot{status: r.Status, caller: r.Caller}
	add := func(kind, value uint32, age time.Duration) {
		s.rows = binary.LittleEndian.AppendUint32(s.rows, kind)
		s.rows = binary.LittleEndian.AppendUint32(s.rows, value)
		s.rows = binary.LittleEndian.AppendUint64(s.rows, uint64(age))
	}
	for _, p := range r.Processes {
		add(rowProcess, uint32(p.PID), 0)
		for _, t := range p.Tokens {
			add(rowToken, t.Number, t.Age)
		}
		if p.Lends {
			add(rowLends, 0, 0)
		}
		if p.Waits {
			add(rowWaits, 0, p.Waiting)
		}
		if p.Relays {
			add(rowRelays, 0, 0)
		}
		if p.Under != 0 {
			add(rowUnder, uint32(p.Under), 0)
		}
	}
	return s
}

// Rows is how many rows there are.
func (s *Snapshot) Rows() int { return len(s.rows) / rowSize }

// AppendPage appends the answer to a CmdReport for the rows from offset on, which is 0 to Rows.
func (s *Snapshot) AppendPage(b []byte, offset int) []byte {
	n := min(ReportRows, s.Rows()-offset)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Rows()))
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = binary.LittleEndian.AppendUint32(b, uint32(s.caller))
	b = AppendStatus(b, s.status)
	b = append(b, s.rows[offset*rowSize:(offset+n)*rowSize]...)
	return append(b, make([]byte, (ReportRows-n)*rowSize)...)
}

// AppendReportAsk appends the argument of CmdReport: the first row wanted.
func AppendReportAsk(b []byte, offset int) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(offset))
	return append(b, make([]byte, ReportSize-8)...)
}

// ParseReportAsk reads the argument of CmdReport. What is behind the offset does not count.
func ParseReportAsk(b []byte) (offset int, err error) {
	if len(b) != ReportSize {
		return 0, ErrFormat
	}
	n := binary.LittleEndian.Uint64(b)
	if n > math.MaxInt32 {
		return 0, ErrFormat
	}
	return int(n), nil
}

// addPage adds the rows of an answer to CmdReport to r, and returns how many they are, and how many there are in all.
func (r *Report) addPage(b []byte) (n, total int, err error) {
	if len(b) != ReportSize {
		return 0, 0, ErrFormat
	}
	rows, here := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])
	if rows > math.MaxInt32 || here > ReportRows {
		return 0, 0, ErrFormat
	}
	r.Caller = int(binary.LittleEndian.Uint32(b[12:]))
	if r.Status, err = ParseStatus(b[16:reportHead]); err != nil {
		return 0, 0, err
	}
	for row := range slices.Chunk(b[reportHead:reportHead+int(here)*rowSize], rowSize) {
		kind, value := binary.LittleEndian.Uint32(row), binary.LittleEndian.Uint32(row[4:])
		age := time.Duration(binary.LittleEndian.Uint64(row[8:]))
		if kind == rowProcess {
			r.Processes = append(r.Processes, Process{PID: int(value)})
			continue
		}
		if len(r.Processes) == 0 {
			return 0, 0, ErrFormat
		}
		p := &r.Processes[len(r.Processes)-1]
		switch kind {
		case rowToken:
			p.Tokens = append(p.Tokens, Token{value, age})
		case rowWaits:
			p.Waits, p.Waiting = true, age
		case rowLends:
			p.Lends = true
		case rowRelays:
			p.Relays = true
		case rowUnder:
			p.Under = int(value)
		} // others are a later version's
	}
	return int(here), int(rows), nil
}

// Report asks for a report. A server too old for it answers ENOTTY; one that is just giving many large ones, EAGAIN; where
// one takes over again and again before the last page was read, ESTALE.
func (c *Conn) Report() (Report, error) {
	r, err := ReadReport(func(b []byte) error { return c.call("report", CmdReport, b) })
	return r, reportError(err)
}

// beginnings is how often a report is begun whose first pages were read of a server that is no more.
const beginnings = 4

// ReadReport gathers the pages of a report. Ask sends the argument of a CmdReport and puts the answer in its place.
// With its error ESTALE, by which a server says that it did not give the pages before, it begins again, up to three times.
func ReadReport(ask func([]byte) error) (r Report, err error) {
	for range beginnings {
		if r, err = readReport(ask); !errors.Is(err, unix.ESTALE) {
			break
		}
	}
	return r, err
}

func readReport(ask func([]byte) error) (Report, error) {
	var r Report
	b := make([]byte, 0, ReportSize)
	for offset := 0; ; {
		b = AppendReportAsk(b[:0], offset)
		if err := ask(b); err != nil {
			return Report{}, err
		}
		n, total, err := r.addPage(b)
		offset += n
		switch {
		case err != nil:
			return Report{}, err
		case offset >= total:
			return r, nil
		case n == 0:
			return Report{}, fmt.Errorf("%w: a page without rows", ErrFormat)
		}
	}
}

// reportError says what to do about the errors that have a cure.
func reportError(err error) error {
	switch {
	case errors.Is(err, unix.ENOTTY):
		return fmt.Errorf("%w: this steve is older than stevie, restart it", err)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w: too many large reports are being read, try again", err)
	case errors.Is(err, unix.ESTALE):
		return fmt.Errorf("%w: steve was replaced while it gave a report, each time, try again", err)
	case errors.Is(err, unix.ENOBUFS):
		return fmt.Errorf("%w: more tokens are out than a report has room for", err)
	}
	return err
}
