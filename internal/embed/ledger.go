package embed

import (
	"fmt"
	"slices"

	"steve/internal/pool"
)

// recount books what the locks say. The client c holds that many tokens, at the latest when the pool has taken the events
// that wait; what else is out, and on no client's ledger, the others hold.
//
// A token that changes hands may count for none. Then one too many is granted: whoever is granted it finds that none is
// left, says so, and this is done again. It is on the others' ledger before it leaves any other one's, so that in between
// it is nobody's to be granted.
func (s *server) recount(c pool.Client, holds int) error {
	known := s.pool.Held() - s.pool.Holds(others)
	if c != 0 {
		known += holds - s.pool.Holds(c)
	}
	rest := max(0, s.locks.out()-known)
	more := map[pool.Client]int{}
	if holds > s.pool.Holds(c) {
		more[c] = holds
	}
	switch had := s.pool.Holds(others); {
	case rest > had:
		more[others] = rest
	case rest < had:
		s.events = append(s.events, pool.Event{Kind: pool.Return, Client: others, N: had - rest})
	}
	if len(more) == 0 {
		return nil
	}
	return s.edit(func(state *pool.State) {
		for c, n := range more {
			book(state, c, n)
		}
	})
}

// house puts p into the slot of the nearest ancestor it can share one with. It runs in one already, so that there is no
// asking whether one is free.
func (s *server) house(p *peer) error {
	under := s.ancestors(p)
	if under[0] == 0 {
		return nil
	}
	p.homeless = false
	return s.edit(func(state *pool.State) { clientOf(state, p.client).Host = under[0] })
}

// edit changes the pool by other ways than events: these are for what a client does, not for what it did while another
// server counted.
func (s *server) edit(change func(*pool.State)) error {
	state := s.pool.State()
	change(&state)
	state.Held = 0
	for i := range state.Clients {
		state.Held += len(state.Clients[i].Jobs)
	}
	p, err := pool.Restore(state)
	if err != nil {
		return fmt.Errorf("the pool of the last server: %w", err)
	}
	*s.pool = *p
	return nil
}

// book puts tokens on the ledger of c until there are n.
func book(state *pool.State, c pool.Client, n int) {
	s := clientOf(state, c)
	s.Taken = true
	for number := uint32(0); len(s.Jobs) < n; number++ {
		if !slices.ContainsFunc(s.Jobs, func(j pool.Job) bool { return j.Number == number }) {
			s.Jobs = append(s.Jobs, pool.Job{Number: number, Since: state.Now})
		}
	}
}

// clientOf returns the state of c, making it if there is none. It is good until the next call.
func clientOf(state *pool.State, c pool.Client) *pool.ClientState {
	for i := range state.Clients {
		if state.Clients[i].ID == c {
			return &state.Clients[i]
		}
	}
	state.Clients = append(state.Clients, pool.ClientState{ID: c})
	return &state.Clients[len(state.Clients)-1]
}
