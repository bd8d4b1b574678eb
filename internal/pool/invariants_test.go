package pool

import (
	"fmt"
	"maps"
	"slices"
)

// CheckInvariants returns what is wrong inside p, if anything is. It counts everything anew.
func (p *Pool) CheckInvariants() error {
	held, reserved, holders, waiters, armed, retriers, candidates := 0, 0, 0, 0, 0, 0, 0
	for id, c := range p.clients {
		if c.id != id {
			return fmt.Errorf("client %d is filed under %d", c.id, id)
		}
		if err := p.checkClient(c); err != nil {
			return fmt.Errorf("client %d: %w", id, err)
		}
		held += len(c.jobs)
		reserved += c.reserved
		armed += c.armed
		holders += btoi(len(c.jobs) > 0)
		waiters += btoi(c.waiting.first != nil || c.armed > 0)
		retriers += btoi(c.retries)
		candidates += btoi(c.candidate())
	}
	free := max(0, p.limits.Jobs-held)
	switch {
	case held != p.held:
		return fmt.Errorf("%d tokens on the ledgers, %d counted", held, p.held)
	case !p.stopped && p.Free() != free:
		return fmt.Errorf("free is %d, with %d of %d held", p.Free(), held, p.limits.Jobs)
	case reserved != len(p.reservations):
		return fmt.Errorf("%d reservations, %d counted by the clients", len(p.reservations), reserved)
	case !p.stopped && reserved > free:
		return fmt.Errorf("%d reserved, %d free", reserved, free)
	case holders != p.holders || waiters != p.waiters:
		return fmt.Errorf("%d holders counted as %d, %d waiters as %d", holders, p.holders, waiters, p.waiters)
	case candidates != p.candidates.len():
		return fmt.Errorf("%d candidates, %d in line and on the heap", candidates, p.candidates.len())
	case p.stopped && (len(p.tickets) > 0 || armed > 0):
		return fmt.Errorf("stopped, with %d reads and %d polls waiting", len(p.tickets), armed)
	}
	if err := p.candidates.check(); err != nil {
		return err
	}
	if err := p.checkLists(retriers); err != nil {
		return err
	}
	return p.checkIdle()
}

func (p *Pool) checkClient(c *client) error {
	used, waiting, armed := map[uint32]bool{}, 0, 0
	for i, j := range c.jobs {
		if used[j.number] || !c.uses(j.number) {
			return fmt.Errorf("job number %d twice, or not marked", j.number)
		}
		if i > 0 && j.since < c.jobs[i-1].since {
			return fmt.Errorf("job %d is older than the one before", j.number)
		}
		used[j.number] = true
	}
	for n := range uint32(64 * len(c.numbers)) {
		if c.uses(n) && !used[n] {
			return fmt.Errorf("job number %d is marked and not held", n)
		}
	}
	guests, plain := 0, 0
	for _, o := range p.clients {
		guests += btoi(o.host == c)
	}
	var last *waiter
	for w := c.waiting.first; w != nil; last, w = w, w.next {
		if w.client != c || w.prev != last || p.tickets[w.ticket] != w || !w.listed {
			return fmt.Errorf("read %d is not linked", w.ticket)
		}
		waiting++
		plain += btoi(w.purpose == reads)
	}
	if c.waiting.last != last {
		return fmt.Errorf("the list of reads ends elsewhere")
	}
	for w := c.watches; w != nil; w = w.nextOfClient {
		armed += btoi(!w.told)
		if w.client != c || !p.watchedBy(w) {
			return fmt.Errorf("watch of %d is not linked", w.handle)
		}
	}
	reserved := 0
	for _, r := range p.reservations {
		reserved += btoi(r.client == c)
	}
	limit := p.limits.PerProcess
	candidate := (waiting > 0 || armed > 0 || c.retries) && !c.refused && (limit == 0 || len(c.jobs)+reserved < limit)
	switch {
	case armed != c.armed || reserved != c.reserved:
		return fmt.Errorf("%d armed counted as %d, %d reserved as %d", armed, c.armed, reserved, c.reserved)
	case candidate != c.candidate() || candidate && c.rank != (rank{len(c.jobs) + reserved, c.since}):
		return fmt.Errorf("is to be a candidate: %t, is one: %t, of rank %v", candidate, c.candidate(), c.rank)
	case c.in && (!c.lender || plain > 0):
		return fmt.Errorf("a private token is in, lender %t, %d reads wait", c.lender, plain)
	case guests != c.guests:
		return fmt.Errorf("%d guests, %d counted", guests, c.guests)
	case c.relay != nil && (c.relay.waiter.client != c || c.relay.waiter.purpose != relays || c.relay.waiter.listed != c.relay.wait):
		return fmt.Errorf("its relay is another's")
	case c.nest != nil && (c.nest.waiter.client != c || c.nest.waiter.purpose != nests || c.host != nil):
		return fmt.Errorf("its nest is another's, or it has a slot already")
	case len(c.jobs) > 0 && !c.taken:
		return fmt.Errorf("holds what it never took")
	case !c.taken && !c.lender && c.watches == nil && waiting == 0 && !c.retries && reserved == 0 &&
		c.relay == nil && c.host == nil && c.guests == 0:
		return fmt.Errorf("is remembered for nothing")
	}
	return nil
}

func (p *Pool) watchedBy(w *watch) bool {
	for o := p.handles[w.handle]; o != nil; o = o.nextOfHandle {
		if o == w {
			return true
		}
	}
	return false
}

func (p *Pool) checkLists(retriers int) error {
	for h, w := range p.handles {
		if w == nil {
			return fmt.Errorf("handle %d is watched by nobody", h)
		}
		clients := map[*client]bool{}
		for ; w != nil; w = w.nextOfHandle {
			if w.handle != h || clients[w.client] || p.clients[w.client.id] != w.client {
				return fmt.Errorf("handle %d: a wrong watch, or two of client %d", h, w.client.id)
			}
			clients[w.client] = true
		}
	}
	for t, w := range p.tickets {
		if w.ticket != t || p.clients[w.client.id] != w.client {
			return fmt.Errorf("read %d is filed wrong", t)
		}
	}
	relaying, nesting := 0, 0
	for _, c := range p.clients {
		relaying += btoi(c.relay != nil)
		nesting += btoi(c.nest != nil)
	}
	if relaying != len(p.relays) || nesting != len(p.nests) {
		return fmt.Errorf("%d relays and %d nests, %d and %d in the lists", relaying, nesting, len(p.relays), len(p.nests))
	}
	for _, c := range p.nests {
		if host := p.hostOf(c, c.nest.under); host != nil {
			return fmt.Errorf("client %d waits for a slot, and %d has one", c.id, host.id)
		}
	}
	n := 0
	var last *client
	for c := p.oldestRetrier; c != nil; last, c = c, c.newer {
		if c.older != last || !c.retries || last != nil && c.denied < last.denied || p.now-c.denied > retryWindow {
			return fmt.Errorf("client %d is wrong among the retriers", c.id)
		}
		n++
	}
	if last != p.newestRetrier || n != retriers {
		return fmt.Errorf("%d retriers in the list, %d by themselves", n, retriers)
	}
	for i, r := range p.reservations {
		if r.deadline <= p.now || r.deadline > p.now+reserveWindow || i > 0 && r.deadline < p.reservations[i-1].deadline {
			return fmt.Errorf("reservation %d ends at %v", i, r.deadline)
		}
	}
	return nil
}

// checkIdle looks for a token that is kept from a candidate without a reason.
func (p *Pool) checkIdle() error {
	first := p.candidates.first()
	if p.stopped || first == nil || p.limits.Jobs-p.held <= len(p.reservations) {
		return nil
	}
	l, out := p.limits, p.held+len(p.reservations)
	limited := l.LoadAverage > 0 && (!p.known || p.load > l.LoadAverage) || l.MinMemory > 0 && (!p.known || p.memory < l.MinMemory)
	switch {
	case !limited:
		return fmt.Errorf("%d of %d tokens are out, and client %d waits", out, l.Jobs, first.id)
	case out < min(l.MinJobs, l.Jobs):
		return fmt.Errorf("%d tokens are out, fewer than the minimum, and client %d waits", out, first.id)
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// An auditor keeps the books from outside: what went in and what came out, and nothing about why.
type auditor struct {
	open     map[Ticket]Client // requests without an answer
	held     map[Client]int
	lenders  map[Client]bool // the private token is in
	taken    map[Client]bool // has had a token of the pool
	forgiven int             // returned and never taken
}

func newAuditor() *auditor {
	return &auditor{open: map[Ticket]Client{}, held: map[Client]int{}, lenders: map[Client]bool{}, taken: map[Client]bool{}}
}

// book books what p answered to e, and returns what can't be.
func (a *auditor) book(p *Pool, e Event, effects []Effect) error {
	switch e.Kind {
	case Acquire, Return, Watch, Set, Relay, Nest, Leave:
		if e.Ticket == 0 {
			break
		}
		a.open[e.Ticket] = e.Client
	case Refuse:
		a.open[e.Ticket] = e.Client
		a.give(e.Client, 1)
		a.taken[e.Client] = a.held[e.Client] > 0
	case Lost:
		if e.Private {
			a.lenders[e.Client] = true
		} else {
			a.give(e.Client, e.N)
		}
	case Hold:
		a.held[e.Client] += e.N
		a.taken[e.Client] = true
	case Forget:
		if _, lends := a.lenders[e.Client]; !lends && a.held[e.Client] == 0 {
			delete(a.taken, e.Client)
		}
	}
	for _, f := range effects {
		if f.Kind != Wake {
			c, ok := a.open[f.Ticket]
			if !ok || f.Client != 0 && f.Client != c {
				return fmt.Errorf("%v answers nothing", f)
			}
			delete(a.open, f.Ticket)
		}
		if err := a.move(e, f); err != nil {
			return err
		}
	}
	if e.Kind == Exit {
		delete(a.held, e.Client)
		delete(a.lenders, e.Client)
		delete(a.taken, e.Client)
	}
	return a.compare(p)
}

func (a *auditor) give(c Client, n int) {
	if a.held[c] -= n; a.held[c] == 0 {
		delete(a.held, c)
	}
}

func (a *auditor) move(e Event, f Effect) error {
	switch {
	case f.Kind == Grant && f.Private:
		if !a.lenders[f.Client] {
			return fmt.Errorf("%v of a private token that is not in", f)
		}
		a.lenders[f.Client] = false
	case f.Kind == Grant:
		if a.lenders[f.Client] && f.Ticket == e.Ticket {
			return fmt.Errorf("%v of the pool's, with the private token in", f)
		}
		a.held[f.Client]++
		a.taken[f.Client] = true
	case f.Kind == Relayed || f.Kind == Nested:
		if f.N > 0 {
			a.held[f.Client] += f.N
			a.taken[f.Client] = true
		}
	case f.Kind == Accept || f.Kind == Excess:
		n := min(e.N, a.held[e.Client])
		a.give(e.Client, n)
		in, lender := a.lenders[e.Client]
		if e.N > n && (lender && !in || !lender && !a.taken[e.Client] && !e.Forgive) {
			a.lenders[e.Client] = true
			n++
		}
		if e.Forgive {
			a.forgiven += e.N - n
			n = e.N
		}
		if f.N != n || (f.Kind == Excess) != (n == 0 && e.N > 0) {
			return fmt.Errorf("%v for %v, where %d are due", f, e, n)
		}
	}
	return nil
}

func (a *auditor) compare(p *Pool) error {
	total := 0
	for c, n := range a.held {
		if held := p.Holds(c); held != n {
			return fmt.Errorf("client %d took %d more than it gave, and holds %d", c, n, held)
		}
		total += n
	}
	for c := range a.lenders {
		if !p.clients[c].lender {
			return fmt.Errorf("client %d is no lender any more", c)
		}
	}
	if total != p.Held() {
		return fmt.Errorf("%d tokens were taken and not given back, %d are held", total, p.Held())
	}
	if p.Forgiven() != a.forgiven {
		return fmt.Errorf("%d tokens were forgiven, %d are counted", a.forgiven, p.Forgiven())
	}
	if len(a.open) != len(p.tickets) {
		return fmt.Errorf("reads %v wait for an answer, the pool knows of %v",
			slices.Sorted(maps.Keys(a.open)), slices.Sorted(maps.Keys(p.tickets)))
	}
	return nil
}
