// Package pool is the rules: who gets the next token, who owes what, what a dead process leaves behind.
//
// It is pure. Step takes what happened and the time, and returns what is to be done; the same events give the same effects,
// always. It does no I/O, reads no clock, starts no goroutine and knows no process id, file descriptor or errno.
//
// A Pool has one owner and no lock. Use it so: before an event, where Stale says so, step a Sample; step the event; carry
// out the effects in order, then step Refuse or Lost for each Grant that could not be carried out; step a Tick at Next.
package pool

import (
	"maps"
	"slices"
	"time"
)

// Rules is the number of the rules: a log of events means the same state only to a pool of the same Rules.
const Rules = 2

const (
	// retryWindow is how long a process that was denied counts as a candidate without being heard of again.
	retryWindow = 50 * time.Millisecond
	// reserveWindow is how long a token is kept for a process that was woken, or that is expected to try again.
	reserveWindow = 20 * time.Millisecond
	// refuseWindow is how long those are given nothing whose Grant was refused for want of a descriptor.
	refuseWindow = 100 * time.Millisecond
)

// A Pool is a number of tokens, who has them and who waits for them.
//
// INVARIANT: held is the sum of the clients' held, and held + free = Limits.Jobs, or free = 0 after a shrink, a Hold or a stop
// INVARIANT: reservations is the sum of the clients' reserved, and no more than free before a stop
// INVARIANT: a client is in candidates if and only if it wants a token and its own limit allows one more
// INVARIANT: after Step, no token is free and unreserved beside a candidate, unless load or memory holds it back
// INVARIANT: a private token is in no count of the pool's
// INVARIANT: after Step, nobody waits for a slot beside an ancestor that has more slots than guests
type Pool struct {
	limits Limits
	now    time.Duration
	held   int

	clients       map[Client]*client
	tickets       map[Ticket]*waiter
	handles       map[Handle]*watch
	candidates    candidates
	oldestRetrier *client
	newestRetrier *client
	reservations  []reservation // by deadline
	relays        []*client     // those that have asked and have no answer, in that order
	nests         []*client     // those that wait for a slot or a token, in that order
	vacated       []Client      // have more slots, or fewer guests, since nests were last looked at

	load    float64
	memory  int64
	sampled time.Duration
	known   bool          // a sample was taken since a limit on it was set
	refused time.Duration // when those whose Grant was refused are candidates again; 0 if there are none
	stopped bool
	// forgiven is how many tokens came back that were never given. They are in no other count.
	forgiven int

	holders, waiters int

	effects     []Effect
	ids         []Client // of AppendState
	freeWaiters *waiter
	freeWatches *watch
}

// A reservation keeps one free token for one client, as long as it may still come for it. That of a client without watches
// is for all that try again, while it holds no less than they do (see Pool.takeOver).
type reservation struct {
	client   *client
	deadline time.Duration
}

// New returns a pool of l.Jobs tokens, all free. The limits must be valid.
func New(l Limits) *Pool {
	if err := l.Validate(); err != nil {
		panic("pool: " + err.Error())
	}
	return &Pool{
		limits:  l,
		clients: map[Client]*client{},
		tickets: map[Ticket]*waiter{},
		handles: map[Handle]*watch{},
	}
}

// Step takes one event at the moment now, which never goes back, and returns what is to be done about it.
// The slice is the pool's and good until the next Step.
func (p *Pool) Step(now time.Duration, e Event) []Effect {
	p.now = now
	p.effects = p.effects[:0]
	p.expire()
	if p.stopped && e.Kind.asks() {
		p.answerTo(e.Ticket, Abort)
		return p.effects
	}
	switch e.Kind {
	case Acquire:
		p.acquire(&e)
	case Return:
		p.giveBack(&e)
	case Cancel:
		if w := p.tickets[e.Ticket]; w != nil {
			c := w.client
			p.emit(Effect{Kind: Interrupt, Ticket: p.dequeue(w)})
			p.update(c)
		}
	case Watch:
		p.watch(&e)
	case Close:
		p.closeHandle(e.Handle)
	case Exit:
		p.exit(e.Client)
	case Forget:
		if c := p.clients[e.Client]; c != nil && c.held() == 0 && !c.lender {
			c.taken = false
			p.update(c)
		}
	case Refuse:
		p.refuse(&e)
	case Lost:
		p.lost(&e)
	case Set:
		p.set(&e)
	case Sample:
		p.load, p.memory, p.sampled, p.known = e.Load, e.Memory, now, true
	case Tick:
	case Stop:
		p.stop()
	case Relay:
		p.relay(&e)
	case Nest:
		p.nest(&e)
	case Leave:
		p.leave(&e)
	case Hold:
		p.hold(&e)
	case Lodge:
		p.lodgeIn(&e)
	}
	p.settle() // before tokens are given to those who can do without
	p.share()
	return p.effects
}

func (p *Pool) emit(e Effect) { p.effects = append(p.effects, e) }

// answerTo answers t, if that is a request: Leave and Set come without one, too.
func (p *Pool) answerTo(t Ticket, kind EffectKind) {
	if t != 0 {
		p.emit(Effect{Kind: kind, Ticket: t})
	}
}

// clientOf returns the record of id, making it if there is none.
func (p *Pool) clientOf(id Client) *client {
	c := p.clients[id]
	if c == nil {
		c = newClient(id)
		p.clients[id] = c
	}
	return c
}

func (p *Pool) acquire(e *Event) {
	p.share()
	c := p.clientOf(e.Client)
	switch {
	case c.in:
		c.in = false
		p.emit(Effect{Kind: Grant, Client: c.id, Ticket: e.Ticket, Wait: e.Wait, Private: true})
	case p.mayTake(c), !e.Wait && p.takeOver(c):
		p.take(c)
		p.emit(Effect{Kind: Grant, Client: c.id, Ticket: e.Ticket, Wait: e.Wait})
	case e.Wait:
		p.enqueue(p.newWaiter(c, e.Ticket, reads), false)
	default:
		p.deny(c)
		p.emit(Effect{Kind: Deny, Ticket: e.Ticket})
	}
	p.update(c)
}

// mayTake says whether a read by c would be given a token of the pool now. It answers READ and POLL alike.
func (p *Pool) mayTake(c *client) bool { return p.mayTakeBeside(c, len(p.reservations)-c.reserved) }

// mayTakeBeside is mayTake with so many tokens kept for others.
func (p *Pool) mayTakeBeside(c *client, others int) bool {
	if c.refused || p.limits.PerProcess != 0 && c.held() >= p.limits.PerProcess {
		return false
	}
	return p.Free() > others && !p.heldBack(p.held+others)
}

// heldBack says whether load or memory forbids one more token when out are out.
func (p *Pool) heldBack(out int) bool { return p.over() && out >= p.limits.sustained() }

// over says whether the machine is over a limit of load or memory. Not knowing is being over.
func (p *Pool) over() bool {
	l := &p.limits
	return p.limited() && (!p.known || l.LoadAverage > 0 && p.load > l.LoadAverage || l.MinMemory > 0 && p.memory < l.MinMemory)
}

func (p *Pool) limited() bool { return p.limits.LoadAverage > 0 || p.limits.MinMemory > 0 }

// take puts one token on the ledger of c, the one reserved for it if there is one. The caller updates c.
func (p *Pool) take(c *client) {
	p.unreserve(c)
	c.take(p.now)
	p.held++
	p.vacate(c)
	p.renew(c)
	if c.waiting.first != nil {
		c.since = c.waiting.first.since
	}
}

// serve gives a token to w, which waits. The caller updates its client.
func (p *Pool) serve(w *waiter) {
	c := w.client
	f := Effect{Kind: Grant, Client: c.id, Wait: true}
	switch w.purpose {
	case relays:
		f = Effect{Kind: Relayed, Client: c.id, N: 1, Less: c.relay.less}
	case nests:
		f = Effect{Kind: Nested, Client: c.id, N: 1}
	}
	f.Ticket = p.dequeue(w)
	p.take(c)
	p.emit(f)
}

func (p *Pool) giveBack(e *Event) {
	c := p.clientOf(e.Client)
	tokens, private, forgiven := c.repay(e.N, e.Forgive)
	p.held -= tokens
	p.forgiven += forgiven
	if n := tokens + private + forgiven; n > 0 || e.N == 0 {
		p.emit(Effect{Kind: Accept, Ticket: e.Ticket, N: n})
	} else {
		p.emit(Effect{Kind: Excess, Ticket: e.Ticket})
	}
	p.update(c)
	if c.in {
		p.offerPrivate(c)
	}
}

// offerPrivate hands a private token that came in to a read or poll of its own process.
func (p *Pool) offerPrivate(c *client) {
	w := c.waiting.first
	for w != nil && w.purpose != reads {
		w = w.next
	}
	if w == nil {
		p.wakeAll(c)
		return
	}
	c.in = false
	p.emit(Effect{Kind: Grant, Client: c.id, Ticket: p.dequeue(w), Wait: true, Private: true})
	p.update(c)
}

func (p *Pool) watch(e *Event) {
	p.share()
	c := p.clientOf(e.Client)
	ready := c.in || p.mayTake(c) || !e.Wait && p.takeOver(c)
	p.emit(Effect{Kind: Readiness, Ticket: e.Ticket, Ready: ready})
	switch {
	case e.Wait:
		p.arm(p.watchOf(e.Handle, c), !ready)
	case !ready:
		p.deny(c)
	}
	p.update(c)
}

func (p *Pool) exit(id Client) {
	c := p.clients[id]
	if c == nil {
		return
	}
	for c.waiting.first != nil {
		p.emit(Effect{Kind: Interrupt, Ticket: p.dequeue(c.waiting.first)})
	}
	if c.relay != nil {
		p.emit(Effect{Kind: Interrupt, Ticket: p.dequeue(c.relay.waiter)})
	}
	p.unshare(c)
	p.dropWatches(c)
	p.unlistRetrier(c)
	for c.reserved > 0 {
		p.unreserve(c)
	}
	p.held -= c.held()
	c.giveBack(c.held())
	c.taken, c.lender, c.in, c.passes = false, false, false, false
	p.update(c)
}

// refuse takes back a Grant of the pool's that could not be made safe, and gives its client nothing for a while.
func (p *Pool) refuse(e *Event) {
	c := p.clients[e.Client]
	if c == nil || c.held() == 0 {
		return
	}
	c.undo()
	p.held--
	c.taken = c.held() > 0
	c.refused = true
	if p.refused == 0 {
		p.refused = p.now + refuseWindow
	}
	if e.Wait {
		p.enqueue(p.newWaiter(c, e.Ticket, reads), true)
	} else {
		p.deny(c)
		p.emit(Effect{Kind: Deny, Ticket: e.Ticket})
	}
	p.update(c)
}

func (p *Pool) lost(e *Event) {
	c := p.clients[e.Client]
	if c == nil {
		return
	}
	if e.Private {
		c.in = c.lender
		if c.in {
			p.offerPrivate(c)
		}
		return
	}
	for range min(e.N, c.held()) {
		c.undo()
		p.held--
	}
	p.update(c)
}

// hold books tokens on a client that did not have them from this pool.
func (p *Pool) hold(e *Event) {
	c := p.clientOf(e.Client)
	for range e.N {
		p.take(c)
	}
	p.update(c)
	p.trim()
}

// trim drops the newest reservations until there are no more of them than tokens free.
func (p *Pool) trim() {
	for len(p.reservations) > p.Free() {
		c := p.reservations[len(p.reservations)-1].client
		p.unreserve(c)
		p.update(c)
	}
}

func (p *Pool) set(e *Event) {
	l := p.limits.With(e.Mask, e.Limits)
	if l.Validate() != nil {
		p.answerTo(e.Ticket, Invalid)
		return
	}
	if e.Mask&(FieldLoadAverage|FieldMinMemory) != 0 {
		p.known = false
	}
	p.limits = l
	p.trim()
	for _, c := range p.clients {
		p.update(c)
	}
	p.answerTo(e.Ticket, Changed)
}

// stop ends every wait, in the order of the tickets, and wakes every poll to find out.
func (p *Pool) stop() {
	p.stopped = true
	for _, t := range slices.Sorted(maps.Keys(p.tickets)) {
		w := p.tickets[t]
		c := w.client
		p.emit(Effect{Kind: Abort, Ticket: p.dequeue(w)})
		p.update(c)
	}
	for _, h := range slices.Sorted(maps.Keys(p.handles)) {
		p.wake(nil, h)
	}
}
