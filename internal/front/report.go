package front

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/fusewire"
	"steve/internal/pool"
)

// A report of more than one page is kept until its last page is read or its open file is closed: at most so many at one
// time, of so many rows, which makes 8 MiB.
const (
	maxReports    = 8
	maxReportRows = 1 << 16
)

// report answers with a page of a report. The first page is of a new one, the others go on with the one of the open file.
func (s *Server) report(req fusewire.Request, in fusewire.IoctlIn) error {
	offset, err := ctl.ParseReportAsk(in.Data)
	if err != nil {
		return s.conn.Fail(req.Unique, syscall.EINVAL)
	}
	snapshot := s.reports[in.Fh]
	if offset == 0 {
		delete(s.reports, in.Fh)
		c, ok, err := s.caller(req)
		if !ok {
			return err
		}
		snapshot = s.snapshot(c)
	}
	switch {
	case snapshot == nil: // perhaps the server that gave the first page is no more
		return s.conn.Fail(req.Unique, syscall.ESTALE)
	case offset > 0 && offset >= snapshot.Rows():
		return s.conn.Fail(req.Unique, syscall.EINVAL)
	case snapshot.Rows() > maxReportRows:
		return s.conn.Fail(req.Unique, syscall.ENOBUFS)
	case offset+ctl.ReportRows >= snapshot.Rows():
		delete(s.reports, in.Fh)
	case offset == 0 && len(s.reports) == maxReports:
		return s.conn.Fail(req.Unique, syscall.EAGAIN)
	default:
		s.reports[in.Fh] = snapshot
	}
	return s.answer(req, in, snapshot.AppendPage(nil, offset))
}

// status is what STATUS gives, and every page of a report.
func (s *Server) status() ctl.Status {
	return ctl.Status{
		Limits: s.pool.Limits(), Free: s.pool.Free(), Held: s.pool.Held(),
		Holders: s.pool.Holders(), Waiters: s.pool.Waiters(),
	}
}

// snapshot reports on this moment to c.
func (s *Server) snapshot(c pool.Client) *ctl.Snapshot {
	r := ctl.ReportOf(s.status(), s.pool.State(), monotonic(), s.PID)
	r.Caller, _ = s.PID(c)
	return r.Snapshot()
}

// monotonic is the clock of the pool's times, see broker. The pool's own time stands still while nothing happens.
func monotonic() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // this clock is there, and the address good
	}
	return time.Duration(t.Nano())
}
