package pool

import "slices"

// Here is what the twin knows of tokens that come back, the lenders' own among them.

func (t *twin) takeBack(c *ClientState, e Event) {
	n := 0
	for n < e.N && len(c.Jobs) > 0 {
		c.Jobs = slices.Delete(c.Jobs, 0, 1)
		n++
	}
	if n < e.N && !c.In && (c.Lender || !c.Taken && !e.Forgive) {
		c.Lender, c.In = true, true
		n++
	}
	for n < e.N && e.Forgive {
		t.state.Forgiven++
		n++
	}
	if e.N > 0 && n == 0 {
		t.emit(Effect{Kind: Excess, Ticket: e.Ticket})
	} else {
		t.emit(Effect{Kind: Accept, Ticket: e.Ticket, N: n})
	}
	if c.In {
		t.offerPrivate(c)
	}
}

func (t *twin) ungrant(c *ClientState, e Event) {
	if e.Private {
		if c.Lender {
			c.In = true
			t.offerPrivate(c)
		}
		return
	}
	if len(c.Jobs) == 0 {
		return
	}
	if e.Kind == Lost {
		c.Jobs = c.Jobs[:max(0, len(c.Jobs)-e.N)]
		return
	}
	c.Jobs = c.Jobs[:len(c.Jobs)-1]
	c.Taken = len(c.Jobs) > 0
	c.Refused = true
	if t.state.Refused == 0 {
		t.state.Refused = t.state.Now + refuseWindow
	}
	if e.Wait {
		t.during(c, func() { c.Waiting = slices.Insert(c.Waiting, 0, Waiting{e.Ticket, t.state.Now}) })
	} else {
		t.deny(c)
		t.emit(Effect{Kind: Deny, Ticket: e.Ticket})
	}
}

func (t *twin) offerPrivate(c *ClientState) {
	for _, w := range c.Waiting {
		if !t.isRelay(w.Ticket) && !t.isNest(w.Ticket) {
			c.In = false
			t.unwait(c, w.Ticket)
			t.emit(Effect{Kind: Grant, Client: c.ID, Ticket: w.Ticket, Wait: true, Private: true})
			return
		}
	}
	t.wakeAll(c)
}
