package torture

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// counts are asked of a server.
type counts func() (ctl.Status, error)

// whole returns an error unless everything is as it was before the first client came. Tokens of a client that has just
// ended come back within a moment.
func (c *crowd) whole(ask counts) error {
	var last ctl.Status
	var errs []error
	err := c.until("return of all tokens", limit/c.impatience, func() bool {
		s, err := ask()
		if last = s; err != nil {
			errs = append(errs, err)
			return true
		}
		return s.Limits.Jobs == most && s.Held == 0 && s.Free == most && s.Holders == 0 && s.Waiters == 0
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("%w: %+v", err, last))
	}
	if peak := c.slots.Peak(c.t); peak > most {
		errs = append(errs, fmt.Errorf("%d jobs at one time with at most %d tokens", peak, most))
	} else if peak < 2 {
		errs = append(errs, fmt.Errorf("%d jobs at one time: they are not counted, or not parallel", peak))
	}
	return errors.Join(errs...)
}

// conclude has the clients get on, ends them, and looks that everything is as it was. The error has all that is not.
func (s *server) conclude(c *crowd) error {
	if err := c.getOn(2); err != nil {
		return err
	}
	if err := c.finish(); err != nil {
		return err
	}
	if err := s.conn.Set(pool.FieldJobs, pool.Limits{Jobs: most}); err != nil {
		return err
	}
	about, err := s.conn.Server()
	if about.Forgiven != 0 {
		err = fmt.Errorf("%d tokens forgiven: a worker did not know who held them", about.Forgiven)
	}
	return errors.Join(err, c.whole(s.conn.Status))
}

// end ends a crowd and its server, in which nobody should have noticed anything, nor should the server have lost anything.
func end(t *testing.T, s *server, c *crowd) {
	t.Helper()
	if err := s.conclude(c); err != nil {
		t.Fatal(err)
	}
	if c.eio > 0 {
		t.Logf("%d times EIO", c.eio)
	}
	t.Logf("in all\n%s", c.summary())
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("steve said\n%s", s.log.String())
	}
	s.stop()
}
