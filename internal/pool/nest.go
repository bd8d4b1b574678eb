package pool

import "slices"

// A process that a client starts for one of its jobs runs in that job's slot, and needs no token of its own to start one
// command. How many do is bounded by the slots of their ancestors: which slot is whose cannot be told from here, but more
// commands than slots are too many. A process that shares a slot has that one to share with its own descendants.

// A nest is a client that waits for a slot or a token.
type nest struct {
	waiter *waiter
	under  [MaxUnder]Client
}

// nest takes the wish of a client for a slot to run one command in.
func (p *Pool) nest(e *Event) {
	p.share()
	c := p.clientOf(e.Client)
	switch host := p.hostOf(c, e.Under); {
	case c.nest != nil || c.host != nil:
		p.emit(Effect{Kind: Invalid, Ticket: e.Ticket}) // it waits for one, or has one
	case host != nil:
		p.lodge(c, host)
		p.emit(Effect{Kind: Nested, Client: c.id, Ticket: e.Ticket})
	case p.mayTake(c):
		p.take(c)
		p.emit(Effect{Kind: Nested, Client: c.id, Ticket: e.Ticket, N: 1})
	default:
		c.nest = &nest{waiter: p.newWaiter(c, e.Ticket, nests), under: e.Under}
		p.nests = append(p.nests, c)
		p.enqueue(c.nest.waiter, false)
	}
	p.update(c)
}

// settle gives those who wait for a slot the ones that have become free.
func (p *Pool) settle() {
	for i := 0; len(p.vacated) > 0 && i < len(p.nests); {
		c := p.nests[i]
		var host *client
		if c.nest.concerns(p.vacated) {
			host = p.hostOf(c, c.nest.under)
		}
		if host == nil {
			i++
			continue
		}
		p.emit(Effect{Kind: Nested, Client: c.id, Ticket: p.dequeue(c.nest.waiter)})
		p.lodge(c, host)
		p.update(c)
		i = 0 // it has a slot to share now
	}
	p.vacated = p.vacated[:0]
}

// concerns says whether one of hosts is an ancestor. Thousands may wait below a few: it costs no look-up of a client.
func (n *nest) concerns(hosts []Client) bool {
	for _, id := range n.under {
		if id != 0 && slices.Contains(hosts, id) {
			return true
		}
	}
	return false
}

// vacate notes that c has one slot more, or one guest less.
func (p *Pool) vacate(c *client) {
	if n := len(p.vacated); n == 0 || p.vacated[n-1] != c.id {
		p.vacated = append(p.vacated, c.id)
	}
}

// hostOf returns the first of the clients under that has a slot without a guest, or nil.
func (p *Pool) hostOf(c *client, under [MaxUnder]Client) *client {
	for _, id := range under {
		if h := p.clients[id]; h != nil && h != c && h.guests < h.slots() {
			return h
		}
	}
	return nil
}

// slots is the number of slots that c has to share. The tokens that a relay passes on are those of other processes' slots:
// it has its own.
func (c *client) slots() int {
	switch {
	case c.passes && c.host != nil:
		return 1
	case c.passes:
		return min(1, c.held())
	case c.host != nil:
		return c.held() + 1
	}
	return c.held()
}

func (p *Pool) lodge(c, host *client) {
	c.host = host
	host.guests++
	p.vacate(c)
}

// unlodge takes c out of its host's slot. The caller updates c.
func (p *Pool) unlodge(c *client) {
	host := c.host
	c.host = nil
	host.guests--
	p.vacate(host)
	p.update(host)
}

// lodgeIn books a guest that has its slot from another pool. Whether it is free is not asked: it runs already.
func (p *Pool) lodgeIn(e *Event) {
	c, host := p.clientOf(e.Client), p.clients[e.Under[0]]
	if host != nil && host != c && c.host == nil && c.nest == nil {
		p.lodge(c, host)
	}
	p.update(c)
}

func (p *Pool) leave(e *Event) {
	answer := Invalid
	if c := p.clients[e.Client]; c != nil && c.host != nil {
		p.unlodge(c)
		p.update(c)
		answer = Left
	}
	p.answerTo(e.Ticket, answer)
}

// unshare ends all that c, which has ended, shares with others. Its guests run on, as do the children of any process that
// is killed. The caller updates c.
func (p *Pool) unshare(c *client) {
	if c.host != nil {
		p.unlodge(c)
	}
	if c.guests == 0 {
		return
	}
	c.guests = 0
	for _, guest := range p.clients {
		if guest.host == c {
			guest.host = nil
			p.update(guest)
		}
	}
}
