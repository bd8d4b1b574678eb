package front

import (
	"errors"
	"fmt"
	"syscall"

	"steve/internal/fuseconn"
	"steve/internal/journal"
	"steve/internal/pool"
	"steve/internal/proc"
)

// The kinds of facts that a journal has beside the events. Their numbers are part of its format.
const (
	factProcess uint8 = iota + 1 // client A has the process id B and started at C, see proc.Process
	factPolled                   // the open file A polls by the handle B
	factFirst                    // open files before A are older than the pool; B is 1 when interruptOrphans is done
	FactAttr                     // the token file has the mode A, the owner B and the group C
	FactDaemon                   // for the daemon: its number A is B
)

// A Past is what a Server goes on from when another has ended, beside the pool.
type Past struct {
	Facts []journal.Fact
	// Effects are those of the last event. Nobody knows which of them were carried out.
	Effects []pool.Effect
	// Ticket is that of the last event, or 0.
	Ticket pool.Ticket
	// Received is called if the request in the place to read into is the last event, and not to be looked at again.
	Received func()
}

// Restore makes s, which has served nothing yet, go on where another Server ended that had the same connection and the
// pool that Config.Pool is a copy of. The events it returns are to be stepped before anything else.
func (s *Server) Restore(p Past) ([]pool.Event, error) {
	events, err := s.adopt(p.Facts)
	if err != nil {
		return nil, err
	}
	for _, f := range p.Effects {
		e, err := s.redo(f)
		if err != nil {
			return nil, err
		}
		if e.Kind != 0 {
			events = append(events, e)
		}
	}
	for _, h := range s.pool.Armed(nil) { // they ask again: one who asks too often loses nothing
		if err := s.conn.WakePollers(uint64(h)); err != nil {
			return nil, err
		}
	}
	if req, ok := s.conn.Unfinished(); ok {
		if pool.Ticket(req.Unique) == p.Ticket {
			p.Received()
		} else {
			s.unfinished = &req
		}
	}
	return events, nil
}

// adopt takes over what facts say of the clients and open files that the pool knows. It returns the ends of the others.
func (s *Server) adopt(facts []journal.Fact) ([]pool.Event, error) {
	processes := map[proc.ID]proc.Process{}
	for _, f := range facts {
		switch f.Kind {
		case factProcess:
			processes[proc.ID(f.A)] = proc.Process{ID: proc.ID(f.A), PID: int(f.B), Start: f.C}
		case factPolled:
			if s.pool.Polled(pool.Handle(f.B)) {
				s.polled[f.A] = pool.Handle(f.B)
			}
		case factFirst:
			s.first, s.orphans = f.A, f.B == 0
		default:
			if s.other != nil {
				s.other.Restore(f)
			}
		}
	}
	var ends []pool.Event
	for _, c := range s.pool.State().Clients {
		p, ok := processes[proc.ID(c.ID)]
		if !ok { // it had nothing, so that its record was dropped, and the pool was yet to hear of it
			ends = append(ends, pool.Event{Kind: pool.Exit, Client: c.ID})
			continue
		}
		if err := s.procs.Adopt(p); err != nil {
			return nil, fmt.Errorf("watch the processes that hold tokens: %w", err)
		}
	}
	return ends, nil
}

// redo carries out an effect that may have been carried out before. A request that is gone was answered.
func (s *Server) redo(f pool.Effect) (pool.Event, error) {
	e, err := s.Do(f)
	switch e.Kind {
	case pool.Lost, pool.Leave:
		return pool.Event{}, err
	case pool.Refuse:
		// The process cannot be watched now; it could be when it was answered, if it was.
		switch err := s.conn.Fail(uint64(f.Ticket), syscall.EINTR); {
		case errors.Is(err, fuseconn.ErrGone):
			return pool.Event{}, nil
		case err != nil:
			return pool.Event{}, err
		}
		return pool.Event{Kind: pool.Lost, Client: f.Client, N: 1}, nil
	}
	return e, err
}

// Facts notes what Restore needs to go on from here.
func (s *Server) Facts(note func(journal.Fact)) {
	if s.first != 0 {
		note(s.firstFact())
	}
	for p := range s.procs.All() {
		if s.pool.Has(pool.Client(p.ID)) {
			note(processFact(p))
		}
	}
	for fh, h := range s.polled {
		if s.pool.Polled(h) {
			note(journal.Fact{Kind: factPolled, A: fh, B: uint64(h)})
		}
	}
	if s.other != nil {
		s.other.Facts(note)
	}
}

func processFact(p proc.Process) journal.Fact {
	return journal.Fact{Kind: factProcess, A: uint64(p.ID), B: uint64(p.PID), C: p.Start}
}

func (s *Server) firstFact() journal.Fact {
	f := journal.Fact{Kind: factFirst, A: s.first}
	if !s.orphans {
		f.B = 1
	}
	return f
}

// How far back those that wait for another server are looked for, from the last request or open file, and how many open
// files are woken before there is one to go back from.
const (
	reach      = 1 << 18
	firstReach = 1 << 14
)

// Inherit makes s, which has served nothing yet and whose pool is new, serve a connection that another Server had of which
// nothing is known. Those who wait for an answer from that one, or for it to wake them, are made to ask again, as far as
// they are found, when somebody asks for something; what they return that the pool does not know of is accepted. Facts has
// more to say after it.
func (s *Server) Inherit() error {
	s.first, s.orphans = s.lastFh+1, true
	return s.wakeOrphans(firstReach)
}

// interruptOrphans fails the requests before unique, the first to be read. The kernel numbers requests by even numbers, as
// they come, and does not mind an answer to one that was answered.
func (s *Server) interruptOrphans(unique uint64) error {
	s.orphans, s.sleepers = false, true
	for u := unique &^ 1; u > 2 && unique-u < 2*reach; {
		u -= 2
		if s.pool.Pending(pool.Ticket(u)) {
			continue // another server was here, and could not finish this
		}
		if err := s.conn.Fail(u, syscall.EINTR); err != nil && !errors.Is(err, fuseconn.ErrGone) {
			return err
		}
	}
	s.note(s.firstFact())
	return nil
}

// wakeOrphans wakes the open files up to kh, which the kernel numbers from 1, as they are opened (fuse_file_alloc).
func (s *Server) wakeOrphans(kh uint64) error {
	s.sleepers = false
	for left := reach; kh > 0 && left > 0; left-- {
		if err := s.conn.WakePollers(kh); err != nil {
			return err
		}
		kh--
	}
	return nil
}
