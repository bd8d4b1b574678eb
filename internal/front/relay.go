package front

import (
	"syscall"

	"steve/internal/ctl"
	"steve/internal/fusewire"
	"steve/internal/pool"
	"steve/internal/proc"
)

// maxAncestors bounds the walk up from a nested stevie: /proc is read on the thread that serves, some 20 µs a step.
const maxAncestors = 64

func (s *Server) nest(req fusewire.Request, in fusewire.IoctlIn) (pool.Event, error) {
	op, err := ctl.ParseNest(in.Data)
	if err != nil || in.OutSize != ctl.NestSize || op > ctl.NestEnter {
		return pool.Event{}, s.conn.Fail(req.Unique, syscall.EINVAL)
	}
	c, ok, err := s.watched(req, syscall.EAGAIN)
	if !ok {
		return pool.Event{}, err
	}
	if op == ctl.NestLeave {
		return pool.Event{Kind: pool.Leave, Client: c, Ticket: pool.Ticket(req.Unique)}, nil
	}
	return pool.Event{Kind: pool.Nest, Client: c, Ticket: pool.Ticket(req.Unique), Under: s.ancestors(c)}, nil
}

func (s *Server) relay(req fusewire.Request, in fusewire.IoctlIn) (pool.Event, error) {
	ask, err := ctl.ParseRelayAsk(in.Data)
	if err != nil || in.OutSize != ctl.RelaySize {
		return pool.Event{}, s.conn.Fail(req.Unique, syscall.EINVAL)
	}
	c, ok, err := s.watched(req, syscall.EAGAIN)
	if !ok {
		return pool.Event{}, err
	}
	return pool.Event{
		Kind: pool.Relay, Client: c, Ticket: pool.Ticket(req.Unique),
		N: ask.Want, Wait: ask.Wait, Idle: ask.Idle, Less: ask.Less, Now: ask.Now,
	}, nil
}

// ancestors are those processes above c that have slots, the nearest first.
func (s *Server) ancestors(c pool.Client) (under [pool.MaxUnder]pool.Client) {
	pid, ok := s.PID(c)
	if !ok {
		return under
	}
	n := 0
	for _, ancestor := range proc.Root.Ancestors(pid, maxAncestors) {
		id, ok := s.procs.Watched(ancestor)
		if !ok || s.pool.Slots(pool.Client(id)) == 0 {
			continue
		}
		under[n] = pool.Client(id)
		if n++; n == len(under) {
			break
		}
	}
	return under
}

// relayed answers a relay, or returns the event that says that its tokens found nobody.
func (s *Server) relayed(f pool.Effect) (pool.Event, error) {
	var b [ctl.RelaySize]byte
	answer := ctl.AppendRelayAnswer(b[:0], ctl.RelayAnswer{Tokens: f.N, Wanted: f.Wanted, Less: f.Less})
	return pool.Event{Kind: pool.Lost, Client: f.Client, N: f.N}, s.give(f, answer)
}

// nested answers one who wanted a slot, or returns the event that says that what it got found nobody.
func (s *Server) nested(f pool.Effect) (pool.Event, error) {
	var b [ctl.NestSize]byte
	if f.N > 0 {
		return pool.Event{Kind: pool.Lost, Client: f.Client, N: f.N}, s.give(f, ctl.AppendNest(b[:0], ctl.NestTaken))
	}
	return pool.Event{Kind: pool.Leave, Client: f.Client}, s.give(f, ctl.AppendNest(b[:0], ctl.NestShared))
}

func (s *Server) give(f pool.Effect, answer []byte) error {
	s.body = fusewire.AppendIoctl(s.body[:0], 0, answer)
	return s.conn.Reply(uint64(f.Ticket), s.body)
}
