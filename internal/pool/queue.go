package pool

import "time"

// A waiter is one request that has no answer yet. It is in Pool.tickets, and on its client's list if it waits for a token.
type waiter struct {
	ticket     Ticket
	client     *client
	since      time.Duration
	next, prev *waiter
	purpose    purpose
	listed     bool
}

// A purpose is what a waiter will do with its token.
type purpose uint8

const (
	reads  purpose = iota // Acquire
	relays                // Relay
	nests                 // Nest
)

// waiterList is the requests of one client that wait for a token, oldest first.
type waiterList struct {
	first, last *waiter
}

func (l *waiterList) pushBack(w *waiter) {
	w.prev, w.next = l.last, nil
	if l.last != nil {
		l.last.next = w
	} else {
		l.first = w
	}
	l.last = w
}

func (l *waiterList) pushFront(w *waiter) {
	w.prev, w.next = nil, l.first
	if l.first != nil {
		l.first.prev = w
	} else {
		l.last = w
	}
	l.first = w
}

func (l *waiterList) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.last = w.prev
	}
}

// A watch is one process polling one open file. An open file that several processes inherited has several.
type watch struct {
	handle Handle
	client *client
	// told: it was answered "readable", or woken, and has not been disappointed since. It waits for nothing.
	told         bool
	nextOfHandle *watch
	nextOfClient *watch
}

// wants says whether c waits for a token in any of the three ways.
func (c *client) wants() bool { return c.waiting.first != nil || c.armed > 0 || c.retries }

// claim notes that c waits from now on, unless it waited already. One that left a moment ago, woken for nothing, takes up
// its old place: its poll comes again while the token it was woken for is gone.
func (p *Pool) claim(c *client) {
	if !c.wants() && p.now-c.left > retryWindow {
		c.since = p.now
	}
}

// renew makes the next wait of c begin when it begins: the last one was served, or nobody came for what it waited for.
func (p *Pool) renew(c *client) {
	c.since, c.left = p.now, p.now-2*retryWindow
}

// update puts c where its state says: among the candidates and into the counts. A client nothing is known of is dropped.
func (p *Pool) update(c *client) {
	if c.wants() && !c.refused && (p.limits.PerProcess == 0 || c.held()+c.reserved < p.limits.PerProcess) {
		p.candidates.put(c)
	} else if c.candidate() {
		p.candidates.remove(c)
	}
	if holds := c.held() > 0; holds != c.isHolder {
		c.isHolder = holds
		p.holders += sign(holds)
	}
	if waits := c.waiting.first != nil || c.armed > 0; waits != c.waits {
		c.waits = waits
		p.waiters += sign(waits)
	}
	if !c.taken && !c.lender && !c.wants() && c.watches == nil && c.reserved == 0 &&
		c.relay == nil && c.host == nil && c.guests == 0 {
		delete(p.clients, c.id)
	}
}

func sign(up bool) int {
	if up {
		return 1
	}
	return -1
}

// newWaiter files the request t of c.
func (p *Pool) newWaiter(c *client, t Ticket, what purpose) *waiter {
	w := p.freeWaiters
	if w == nil {
		w = new(waiter)
	} else {
		p.freeWaiters = w.next
	}
	*w = waiter{ticket: t, client: c, since: p.now, purpose: what}
	p.tickets[t] = w
	return w
}

// enqueue makes w wait for a token. The caller updates its client.
func (p *Pool) enqueue(w *waiter, front bool) {
	c := w.client
	p.claim(c)
	w.listed = true
	if front {
		c.waiting.pushFront(w)
	} else {
		c.waiting.pushBack(w)
	}
}

// dequeue ends the wait of w and returns its ticket. The caller updates its client.
func (p *Pool) dequeue(w *waiter) Ticket {
	c, t := w.client, w.ticket
	delete(p.tickets, t)
	switch w.purpose {
	case relays:
		c.relay, p.relays = nil, without(p.relays, c)
	case nests:
		c.nest, p.nests = nil, without(p.nests, c)
	}
	if w.listed {
		c.waiting.remove(w)
	}
	if w.listed && !c.wants() {
		c.left = p.now
	}
	*w = waiter{next: p.freeWaiters}
	p.freeWaiters = w
	return t
}

// deny notes that c was told no: for a moment it is a candidate by its retry, and the polls that were told "readable"
// have been disappointed. The caller updates c.
func (p *Pool) deny(c *client) {
	p.claim(c)
	for w := c.watches; w != nil; w = w.nextOfClient {
		if w.told {
			w.told = false
			c.armed++
		}
	}
	p.unlistRetrier(c)
	c.denied = p.now
	p.listRetrier(c)
}

// listRetrier puts c at the end of the retriers.
func (p *Pool) listRetrier(c *client) {
	c.retries = true
	c.older = p.newestRetrier
	if c.older != nil {
		c.older.newer = c
	} else {
		p.oldestRetrier = c
	}
	p.newestRetrier = c
}

// unlistRetrier ends c's time as a retrier. The caller updates c.
func (p *Pool) unlistRetrier(c *client) {
	if !c.retries {
		return
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		p.oldestRetrier = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		p.newestRetrier = c.older
	}
	c.older, c.newer, c.retries = nil, nil, false
	if !c.wants() {
		c.left = p.now
	}
}

// watchOf returns the watch of c on h, making it if there is none. It would be on two lists, either of which may be of
// thousands: the shorter one says whether it is.
func (p *Pool) watchOf(h Handle, c *client) *watch {
	if w := c.watches; w != nil && w.handle == h {
		return w // most poll one open file
	}
	ofHandle, ofClient := p.handles[h], c.watches
	for ofHandle != nil && ofClient != nil {
		switch {
		case ofHandle.client == c:
			return ofHandle
		case ofClient.handle == h:
			return ofClient
		}
		ofHandle, ofClient = ofHandle.nextOfHandle, ofClient.nextOfClient
	}
	w := p.freeWatches
	if w == nil {
		w = new(watch)
	} else {
		p.freeWatches = w.nextOfHandle
	}
	*w = watch{handle: h, client: c, told: true, nextOfHandle: p.handles[h]}
	p.handles[h] = w
	// At the end: the watch that was armed first is woken first.
	at := &c.watches
	for *at != nil {
		at = &(*at).nextOfClient
	}
	*at = w
	return w
}

// arm sets whether w waits to be woken. The caller updates its client.
func (p *Pool) arm(w *watch, armed bool) {
	if w.told == !armed {
		return
	}
	c := w.client
	if armed {
		p.claim(c)
		c.armed++
	} else {
		c.armed--
	}
	w.told = !armed
	if !c.wants() {
		c.left = p.now
	}
}

// closeHandle drops all watches on h.
func (p *Pool) closeHandle(h Handle) {
	w := p.handles[h]
	delete(p.handles, h)
	for w != nil {
		next, c := w.nextOfHandle, w.client
		p.arm(w, false)
		at := &c.watches
		for *at != w {
			at = &(*at).nextOfClient
		}
		*at = w.nextOfClient
		p.recycle(w)
		p.update(c)
		w = next
	}
}

// dropWatches drops all watches of c. The caller updates c.
func (p *Pool) dropWatches(c *client) {
	for w := c.watches; w != nil; {
		next := w.nextOfClient
		p.arm(w, false)
		if first := p.handles[w.handle]; first == w && w.nextOfHandle == nil {
			delete(p.handles, w.handle)
		} else if first == w {
			p.handles[w.handle] = w.nextOfHandle
		} else {
			for first.nextOfHandle != w {
				first = first.nextOfHandle
			}
			first.nextOfHandle = w.nextOfHandle
		}
		p.recycle(w)
		w = next
	}
	c.watches = nil
}

func (p *Pool) recycle(w *watch) {
	*w = watch{nextOfHandle: p.freeWatches}
	p.freeWatches = w
}
