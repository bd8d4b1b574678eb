package embed

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// ErrNotServed is returned for a pool that nobody serves.
var ErrNotServed = errors.New("no stevie serves a pool")

// Report asks whoever serves the pool in dir who holds its tokens, and who waits. Processes that the server has not heard
// of since it took over are not in it, their tokens are counted. This process does not become a member, nor the server.
// The source is the path of the socket.
func Report(dir string) (r ctl.Report, source string, err error) {
	if err := ctl.Private(dir); err != nil {
		return r, "", fmt.Errorf("%w: %w", ErrNotServed, err)
	}
	at, err := openPlace(dir)
	if err != nil {
		return r, "", err
	}
	defer at.close()
	c, err := at.dial()
	if err != nil {
		return r, "", err
	}
	if c == nil {
		return r, "", fmt.Errorf("%w in %s", ErrNotServed, dir)
	}
	defer c.Close()
	r, err = ctl.ReadReport(c.page)
	if err != nil {
		err = fmt.Errorf("process %d gives no report of its pool: %w", c.peer, err)
	}
	return r, at.path(), err
}

// page asks for one page of a report, as by b, and puts it there.
func (c *conn) page(b []byte) error {
	const patience = 5 * time.Second // with one that is stopped
	offset, err := ctl.ParseReportAsk(b)
	if err != nil {
		return err
	}
	c.send(request{kind: report, n: uint64(offset)})
	c.file.SetReadDeadline(time.Now().Add(patience))
	n, err := c.file.Read(b)
	if err == nil && n != len(b) {
		err = ctl.ErrFormat // it refuses, or is older
	}
	return err
}

// report answers with the page of a report that begins at offset. The first one is of a new report.
func (s *server) report(p *peer, offset int) error {
	if offset == 0 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return fmt.Errorf("clock_gettime: %w", err)
		}
		r := ctl.ReportOf(s.status(), s.pool.State(), time.Duration(now.Nano()), s.pid)
		r.Caller = p.pid
		p.report = r.Snapshot()
	}
	if p.report == nil || offset > p.report.Rows() {
		return errFormat
	}
	s.body = p.report.AppendPage(s.body[:0], offset)
	s.sendBody(p)
	return nil
}

// pid is the process id of a client, if it has one here.
func (s *server) pid(c pool.Client) (int, bool) {
	p := s.peers[c]
	if p == nil {
		return 0, false
	}
	return p.pid, p.pid != 0
}
