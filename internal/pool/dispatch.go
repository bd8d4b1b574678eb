package pool

import (
	"slices"
	"time"
)

// share gives what is free to those who wait, what nobody waits for to the relays, and slots to those who may have them.
// An event does so before it asks for something itself: what time has freed does not belong to the one who happens to come
// now.
func (p *Pool) share() {
	p.dispatch()
	p.tell()
	p.settle()
}

// dispatch gives what is free to the candidates, first to the one that holds least and has waited longest. A blocked read
// is answered; a poll is woken, one for each token, and a process that tries again and again is waited for: for these two
// the token is kept a moment, for the latter on behalf of all of its kind.
func (p *Pool) dispatch() {
	for {
		c := p.candidates.first()
		if c == nil || p.Free() <= len(p.reservations) || p.heldBack(p.held+len(p.reservations)) {
			return
		}
		switch {
		case c.waiting.first != nil:
			p.serve(c.waiting.first)
		case c.armed > 0:
			w := c.watches
			for w.told {
				w = w.nextOfClient
			}
			p.unlistRetrier(c)
			p.reserve(c)
			p.wake(c, w.handle)
		default:
			p.unlistRetrier(c)
			p.reserve(c)
		}
		p.update(c)
	}
}

// wake tells h that it is readable, for c's sake, or, with nil, for everybody's. The kernel wakes every process that polls
// that open file, and each that still cares polls again, so none of them waits any more.
func (p *Pool) wake(c *client, h Handle) {
	f := Effect{Kind: Wake, Handle: h}
	if c != nil {
		f.Client = c.id
	}
	p.emit(f)
	for w := p.handles[h]; w != nil; w = w.nextOfHandle {
		p.arm(w, false)
		p.update(w.client)
	}
}

// wakeAll wakes every poll of c that waits.
func (p *Pool) wakeAll(c *client) {
	for w := c.watches; w != nil; w = w.nextOfClient {
		if !w.told {
			p.wake(c, w.handle)
		}
	}
}

// reserve keeps one free token for c. The caller updates c.
func (p *Pool) reserve(c *client) {
	c.reserved++
	p.reservations = append(p.reservations, reservation{c, p.now + reserveWindow})
}

// unreserve drops the oldest reservation of c, if it has one. The caller updates c.
func (p *Pool) unreserve(c *client) {
	if c.reserved == 0 {
		return
	}
	c.reserved--
	i := 0
	for p.reservations[i].client != c {
		i++
	}
	p.reservations = p.reservations[:i+copy(p.reservations[i:], p.reservations[i+1:])]
}

// takeOver makes the oldest reservation that c may have of another's its own, and says whether there is one: c tries again,
// as its owner does, and holds no more.
//
// Few of those that try again do so within reserveWindow. If a token were kept for just the one of them that was chosen, the
// others would be denied beside it, be chosen for that, and be too late as well, for ever. The owner's next wait is a new
// one: with its old place it would be chosen before those that block, and passed over, again and again.
func (p *Pool) takeOver(c *client) bool {
	if !p.mayTakeBeside(c, len(p.reservations)-c.reserved-1) {
		return false
	}
	for i := range p.reservations {
		r := &p.reservations[i]
		if owner := r.client; owner != c && owner.watches == nil && owner.held() >= c.held() {
			r.client = c
			c.reserved++
			owner.reserved--
			if !owner.wants() {
				p.renew(owner)
			}
			p.update(owner)
			return true
		}
	}
	return false
}

// expire ends what time ends: reservations nobody came for, and the standing of those that stopped trying.
func (p *Pool) expire() {
	n := 0
	for n < len(p.reservations) && p.reservations[n].deadline <= p.now {
		n++
	}
	for ; n > 0; n-- {
		c := p.reservations[0].client
		p.unreserve(c)
		p.update(c)
		// It missed its turn. Its other polls are told at once: one by one, a client that polled 10,000 open files and
		// went to sleep would keep a token from the rest for as many times reserveWindow.
		p.wakeAll(c)
		if !c.wants() {
			p.renew(c)
		}
	}
	if p.refused != 0 && p.refused <= p.now {
		p.refused = 0
		for _, c := range p.clients {
			c.refused = false
			p.update(c)
		}
	}
	for c := p.oldestRetrier; c != nil && p.now-c.denied > retryWindow; c = p.oldestRetrier {
		p.unlistRetrier(c)
		if !c.wants() {
			p.renew(c)
		}
		p.update(c)
	}
}

// Next is when the pool wants a Tick, if nothing else happens before. It asks for none while nobody waits.
func (p *Pool) Next() (time.Duration, bool) {
	var at time.Duration
	var any bool
	earliest := func(t time.Duration) {
		if !any || t < at {
			at, any = t, true
		}
	}
	spare := slices.ContainsFunc(p.relays, func(c *client) bool { return c.relay.want > 0 })
	if p.refused != 0 && (p.waiters > 0 || spare) {
		earliest(p.refused)
	}
	if p.candidates.first() == nil && !spare {
		return at, any
	}
	if len(p.reservations) > 0 {
		earliest(p.reservations[0].deadline)
	}
	// Beside a limit per process, too, tokens are free. No time ends that.
	if p.Free() > len(p.reservations) && p.limited() {
		if p.known {
			earliest(p.sampled + p.limits.RecheckTimeout)
		} else {
			earliest(p.now)
		}
	}
	return at, any
}

// Stale says whether the next event should be preceded by a Sample.
func (p *Pool) Stale(now time.Duration) bool {
	return p.limited() && (!p.known || now-p.sampled >= p.limits.RecheckTimeout)
}

// Now is the time of the last Step, or 0.
func (p *Pool) Now() time.Duration { return p.now }

// Stopped says whether Stop was stepped.
func (p *Pool) Stopped() bool { return p.stopped }

// Limits are the settings in force.
func (p *Pool) Limits() Limits { return p.limits }

// Free is the number of tokens that are not out, those kept for somebody included.
func (p *Pool) Free() int {
	if p.stopped {
		return 0
	}
	return max(0, p.limits.Jobs-p.held)
}

// Held is the number of tokens that are out.
func (p *Pool) Held() int { return p.held }

// Forgiven is the number of tokens that were returned and never given, by a Return with Forgive.
func (p *Pool) Forgiven() int { return p.forgiven }

// Holders is the number of processes that hold a token.
func (p *Pool) Holders() int { return p.holders }

// Waiters is the number of processes in a blocked read or a poll that waits.
func (p *Pool) Waiters() int { return p.waiters }

// Holds is the number of tokens that id has out.
func (p *Pool) Holds(id Client) int {
	if c := p.clients[id]; c != nil {
		return c.held()
	}
	return 0
}

// Slots is the number of slots that id has for its descendants: one for each token, and the one it shares itself.
func (p *Pool) Slots(id Client) int {
	if c := p.clients[id]; c != nil {
		return c.slots()
	}
	return 0
}

// Knows says whether anything would be lost if id were forgotten: tokens, a loan, a wait, a watch or a slot.
func (p *Pool) Knows(id Client) bool {
	c := p.clients[id]
	return c != nil && (c.held() > 0 || c.lender || c.wants() || c.watches != nil || c.reserved > 0 ||
		c.relay != nil || c.host != nil || c.guests > 0)
}

// Has says whether anything is remembered of id, be it only that it has had a token.
func (p *Pool) Has(id Client) bool { return p.clients[id] != nil }

// Polled says whether somebody polls h, or did and was told.
func (p *Pool) Polled(h Handle) bool { return p.handles[h] != nil }

// Armed appends to dst, in order, the handles that somebody polls who was not told since.
func (p *Pool) Armed(dst []Handle) []Handle {
	old := len(dst)
	for h, w := range p.handles {
		for w != nil && w.told {
			w = w.nextOfHandle
		}
		if w != nil {
			dst = append(dst, h)
		}
	}
	slices.Sort(dst[old:])
	return dst
}

// Pending says whether t is a request that waits.
func (p *Pool) Pending(t Ticket) bool { return p.tickets[t] != nil }
