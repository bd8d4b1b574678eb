package pool

import "slices"

// Here is what the twin knows of relays and nests.

func (t *twin) isNest(ticket Ticket) bool {
	return slices.ContainsFunc(t.state.Nests, func(n NestState) bool { return n.Ticket == ticket })
}

func (t *twin) isRelay(ticket Ticket) bool {
	return slices.ContainsFunc(t.state.Relays, func(r RelayState) bool { return r.Ticket == ticket })
}

// asked is the question of c that has no answer, or nil.
func (t *twin) asked(c *ClientState) *RelayState {
	for i := range t.state.Relays {
		if t.state.Relays[i].Client == c.ID {
			return &t.state.Relays[i]
		}
	}
	return nil
}

// nests says whether c waits for a slot.
func (t *twin) nests(c *ClientState) bool {
	return slices.ContainsFunc(t.state.Nests, func(n NestState) bool { return n.Client == c.ID })
}

func (t *twin) guests(host *ClientState) int {
	n := 0
	for _, c := range t.universe {
		if c.Host == host.ID {
			n++
		}
	}
	return n
}

// tell answers the relays that there is something to tell.
func (t *twin) tell() {
	for _, r := range slices.Clone(t.state.Relays) {
		t.answer(t.find(r.Client), false)
	}
}

func (t *twin) answer(c *ClientState, now bool) {
	r := t.asked(c)
	f := Effect{Kind: Relayed, Client: c.ID, Ticket: r.Ticket}
	for (f.N < r.N || r.Wait && f.N < 1) && t.mayTake(c) {
		t.take(c)
		f.N++
	}
	for _, o := range t.candidates() {
		if o.ID == c.ID {
			continue
		}
		f.Wanted = r.Idle
		f.Less = len(o.Jobs)+t.reserved(o) <= len(c.Jobs)-2 && !t.heldBack(t.held()-1+len(t.state.Reservations))
		break
	}
	if f.N > 0 || f.Wanted || f.Less != r.Less || now {
		t.unwait(c, r.Ticket)
		t.emit(f)
	}
}

// settle gives those who wait for a slot the ones there are.
func (t *twin) settle() {
	for _, n := range slices.Clone(t.state.Nests) {
		c := t.find(n.Client)
		if host := t.host(c, n.Under); host != nil {
			t.unwait(c, n.Ticket)
			t.emit(Effect{Kind: Nested, Client: c.ID, Ticket: n.Ticket})
			c.Host = host.ID
			t.settle()
			return
		}
	}
}

func (t *twin) host(c *ClientState, under [MaxUnder]Client) *ClientState {
	for _, id := range under {
		h := t.find(id)
		if h == nil || h == c {
			continue
		}
		slots := len(h.Jobs)
		if h.Passes && (slots > 1 || h.Host != 0) {
			slots = 1
			if h.Host != 0 {
				slots = 0
			}
		}
		if h.Host != 0 {
			slots++
		}
		if t.guests(h) < slots {
			return h
		}
	}
	return nil
}

func (t *twin) nest(c *ClientState, e Event) {
	s := &t.state
	host := t.host(c, e.Under)
	switch {
	case t.nests(c) || c.Host != 0:
		t.emit(Effect{Kind: Invalid, Ticket: e.Ticket})
	case host != nil:
		c.Host = host.ID
		t.emit(Effect{Kind: Nested, Client: c.ID, Ticket: e.Ticket})
	case t.mayTake(c):
		t.take(c)
		t.emit(Effect{Kind: Nested, Client: c.ID, Ticket: e.Ticket, N: 1})
	default:
		s.Nests = append(s.Nests, NestState{c.ID, e.Ticket, e.Under})
		t.during(c, func() { c.Waiting = append(c.Waiting, Waiting{e.Ticket, s.Now}) })
	}
}
