package pool

import "slices"

// A relay is what a client has asked that passes its tokens on to others, and has no answer to yet.
type relay struct {
	waiter           *waiter // on its client's list if wait
	want             int
	wait, idle, less bool
	now              bool // it is answered in the step that brought it
}

// relay takes the question of a client, which withdraws the one it asked before.
func (p *Pool) relay(e *Event) {
	p.share()
	c := p.clientOf(e.Client)
	c.passes = c.passes || !e.Now
	if r := c.relay; r != nil {
		p.emit(Effect{Kind: Relayed, Client: c.id, Ticket: p.dequeue(r.waiter), Less: r.less})
	}
	c.relay = &relay{waiter: p.newWaiter(c, e.Ticket, relays), want: e.N, wait: e.Wait, idle: e.Idle, less: e.Less, now: e.Now}
	p.relays = append(p.relays, c)
	if e.Wait {
		p.enqueue(c.relay.waiter, false)
	}
	p.update(c)
	p.answer(c)
}

// tell answers the relays to which there is something to say.
func (p *Pool) tell() {
	for i := 0; i < len(p.relays); {
		if !p.answer(p.relays[i]) {
			i++
		}
	}
}

// answer answers the question of c, if there is something to say: tokens that nobody else waits for, somebody who waits
// while c has one idle, or that those who hold less than c have begun or ceased to wait; or that there is nothing, to one
// who does not wait for that.
func (p *Pool) answer(c *client) bool {
	r := c.relay
	f := Effect{Kind: Relayed, Client: c.id}
	most := r.want
	if r.wait {
		most = max(1, most)
	}
	for f.N < most && p.mayTake(c) {
		p.take(c)
		f.N++
	}
	if rival := p.candidates.firstBut(c); rival != nil {
		f.Wanted = r.idle
		// One more and one less, and the two are no further apart than before: less than that is no use to anybody.
		f.Less = rival.held()+rival.reserved+1 < c.held() && !p.heldBack(p.held-1+len(p.reservations))
	}
	if f.N == 0 && !f.Wanted && f.Less == r.less && !r.now {
		return false
	}
	f.Ticket = p.dequeue(r.waiter)
	p.emit(f)
	p.update(c)
	return true
}

// without returns list without c.
func without(list []*client, c *client) []*client {
	if i := slices.Index(list, c); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}
