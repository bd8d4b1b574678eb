package embed

import "steve/internal/pool"

// recount has booked what the locks say. The client c, if not 0, holds that many tokens when the pool has taken the events
// that wait; what else is out, and on no client's ledger, the others hold.
//
// A token that changes hands may count for none. Then one too many is granted: whoever is granted it finds that none is
// left, says so, and this is done again. What the others hold is booked before the event that takes it off another's
// ledger, which the caller adds: in between it is nobody's to be granted.
func (s *server) recount(c pool.Client, holds int) {
	known := s.pool.Held() - s.pool.Holds(others)
	if c != 0 {
		known += holds - s.pool.Holds(c)
		s.book(c, holds-s.pool.Holds(c))
	}
	rest := max(0, s.locks.out()-known)
	more := rest - s.pool.Holds(others)
	s.book(others, more)
	if more < 0 {
		s.events = append(s.events, pool.Event{Kind: pool.Return, Client: others, N: -more})
	}
}

// book has n more tokens booked on c, if n is more than 0.
func (s *server) book(c pool.Client, n int) {
	if n > 0 {
		s.events = append(s.events, pool.Event{Kind: pool.Hold, Client: c, N: n})
	}
}

// house puts those into the slot of an ancestor who have said that they are in one, as soon as that ancestor is known. The
// pool must have taken all events.
func (s *server) house() {
	s.rehouse = false
	for _, p := range s.peers {
		if !p.homeless {
			continue
		}
		if under := s.ancestors(p); under[0] != 0 {
			p.homeless, s.rehouse = false, true // it has a slot to share now
			s.events = append(s.events, pool.Event{Kind: pool.Lodge, Client: p.client, Under: under})
		}
	}
}
