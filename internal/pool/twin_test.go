package pool

import (
	"cmp"
	"slices"
	"time"
)

// A twin is the rules once more, the slow way: nothing is counted or kept in order, everything is looked for when it is
// needed. What it and a Pool disagree about is a fault of one of them.
type twin struct {
	state    State // Held and the clients' Left are not kept up to date by themselves: see snapshot
	effects  []Effect
	universe []*ClientState // by ID
}

func newTwin(l Limits) *twin { return &twin{state: State{Limits: l}} }

func (t *twin) step(now time.Duration, e Event) []Effect {
	t.state.Now, t.effects = now, nil
	t.expire()
	t.sweep()
	switch e.Kind {
	case Acquire, Watch, Relay, Nest:
		t.dispatch()
		t.tell()
		t.settle()
	}
	t.handle(e)
	t.sweep()
	t.settle()
	t.dispatch()
	t.tell()
	t.settle()
	t.sweep()
	return t.effects
}

func (t *twin) emit(e Effect) { t.effects = append(t.effects, e) }

func (t *twin) answerTo(ticket Ticket, kind EffectKind) {
	if ticket != 0 {
		t.emit(Effect{Kind: kind, Ticket: ticket})
	}
}

func (t *twin) find(id Client) *ClientState {
	for _, c := range t.universe {
		if c.ID == id {
			return c
		}
	}
	return nil
}

func (t *twin) get(id Client) *ClientState {
	c := t.find(id)
	if c == nil {
		c = &ClientState{ID: id, Left: -2 * retryWindow}
		t.universe = append(t.universe, c)
		slices.SortFunc(t.universe, func(a, b *ClientState) int { return cmp.Compare(a.ID, b.ID) })
	}
	return c
}

// sweep forgets the clients of which nothing is to be remembered.
func (t *twin) sweep() {
	t.universe = slices.DeleteFunc(t.universe, func(c *ClientState) bool {
		return !c.Taken && !c.Lender && !t.wants(c) && len(c.Watches) == 0 && t.reserved(c) == 0 &&
			t.asked(c) == nil && c.Host == 0 && t.guests(c) == 0
	})
}

func (t *twin) held() int {
	n := 0
	for _, c := range t.universe {
		n += len(c.Jobs)
	}
	return n
}

func (t *twin) free() int {
	if t.state.Stopped {
		return 0
	}
	return max(0, t.state.Limits.Jobs-t.held())
}

func (t *twin) reserved(c *ClientState) int {
	n := 0
	for _, r := range t.state.Reservations {
		if r.Client == c.ID {
			n++
		}
	}
	return n
}

func (t *twin) wants(c *ClientState) bool { return c.Waits() || c.Retries }

func (t *twin) heldBack(out int) bool {
	s, l := &t.state, t.state.Limits
	over := l.LoadAverage > 0 && (!s.Known || s.Load > l.LoadAverage) || l.MinMemory > 0 && (!s.Known || s.Memory < l.MinMemory)
	return over && out >= min(l.MinJobs, l.Jobs)
}

func (t *twin) mayTake(c *ClientState) bool {
	limit := t.state.Limits.PerProcess
	others := len(t.state.Reservations) - t.reserved(c)
	return !c.Refused && (limit == 0 || len(c.Jobs) < limit) && t.free()-others > 0 && !t.heldBack(t.held()+others)
}

// candidates are those who wait and might have one more, the next to be served first.
func (t *twin) candidates() []*ClientState {
	limit := t.state.Limits.PerProcess
	var all []*ClientState
	for _, c := range t.universe {
		if t.wants(c) && !c.Refused && (limit == 0 || len(c.Jobs)+t.reserved(c) < limit) {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *ClientState) int {
		return cmp.Or(cmp.Compare(len(a.Jobs)+t.reserved(a), len(b.Jobs)+t.reserved(b)),
			cmp.Compare(a.Since, b.Since), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// during changes what c waits for, and notes when a wait begins and when it is given up.
func (t *twin) during(c *ClientState, change func()) {
	before := t.wants(c)
	change()
	after, now := t.wants(c), t.state.Now
	switch {
	case after && !before && now-c.Left > retryWindow:
		c.Since = now
	case before && !after:
		c.Left = now
	}
}

func (t *twin) renew(c *ClientState) {
	c.Since, c.Left = t.state.Now, t.state.Now-2*retryWindow
}

func (t *twin) unreserve(c *ClientState) {
	r := &t.state.Reservations
	if i := slices.IndexFunc(*r, func(r Reservation) bool { return r.Client == c.ID }); i >= 0 {
		*r = slices.Delete(*r, i, i+1)
	}
}

// takeOver looks for a token that is kept for one that polls nothing and holds no less than c, and that c could take if it
// were kept for c.
func (t *twin) takeOver(c *ClientState) bool {
	for i := range t.state.Reservations {
		r := &t.state.Reservations[i]
		if o := t.find(r.Client); o != c && len(o.Watches) == 0 && len(o.Jobs) >= len(c.Jobs) {
			if r.Client = c.ID; t.mayTake(c) {
				if !t.wants(o) {
					t.renew(o)
				}
				return true
			}
			r.Client = o.ID
		}
	}
	return false
}

func (t *twin) reserve(c *ClientState) {
	t.during(c, func() { c.Retries = false })
	t.state.Reservations = append(t.state.Reservations, Reservation{c.ID, t.state.Now + reserveWindow})
}

func (t *twin) expire() {
	for r := t.state.Reservations; len(r) > 0 && r[0].Deadline <= t.state.Now; r = t.state.Reservations {
		c := t.find(r[0].Client)
		t.unreserve(c)
		t.wakeAll(c)
		if !t.wants(c) {
			t.renew(c)
		}
	}
	if t.state.Refused <= t.state.Now {
		t.state.Refused = 0
	}
	for _, c := range t.universe {
		c.Refused = c.Refused && t.state.Refused > 0
		if c.Retries && c.Denied+retryWindow < t.state.Now {
			c.Retries = false
			if !t.wants(c) {
				t.renew(c)
			}
		}
	}
}

func (t *twin) dispatch() {
	for {
		out := t.held() + len(t.state.Reservations)
		all := t.candidates()
		if len(all) == 0 || t.free() <= len(t.state.Reservations) || t.heldBack(out) {
			return
		}
		c := all[0]
		if len(c.Waiting) > 0 {
			t.serve(c, c.Waiting[0].Ticket)
			continue
		}
		armed := slices.IndexFunc(c.Watches, func(w Watching) bool { return !w.Told })
		t.reserve(c)
		if armed >= 0 {
			t.wake(c.ID, c.Watches[armed].Handle)
		}
	}
}

func (t *twin) unwait(c *ClientState, ticket Ticket) Ticket {
	t.during(c, func() {
		c.Waiting = slices.DeleteFunc(c.Waiting, func(w Waiting) bool { return w.Ticket == ticket })
	})
	t.state.Relays = slices.DeleteFunc(t.state.Relays, func(r RelayState) bool { return r.Ticket == ticket })
	t.state.Nests = slices.DeleteFunc(t.state.Nests, func(n NestState) bool { return n.Ticket == ticket })
	return ticket
}

func (t *twin) wake(forWhom Client, h Handle) {
	t.emit(Effect{Kind: Wake, Client: forWhom, Handle: h})
	for _, c := range t.universe {
		for i := range c.Watches {
			if c.Watches[i].Handle == h {
				t.during(c, func() { c.Watches[i].Told = true })
			}
		}
	}
}

func (t *twin) wakeAll(c *ClientState) {
	for i := range c.Watches {
		if !c.Watches[i].Told {
			t.wake(c.ID, c.Watches[i].Handle)
		}
	}
}

// serve gives a token to what waits under the ticket.
func (t *twin) serve(c *ClientState, ticket Ticket) {
	f := Effect{Kind: Grant, Client: c.ID, Ticket: ticket, Wait: true}
	switch {
	case t.isNest(ticket):
		f = Effect{Kind: Nested, Client: c.ID, Ticket: ticket, N: 1}
	case t.isRelay(ticket):
		f = Effect{Kind: Relayed, Client: c.ID, Ticket: ticket, N: 1, Less: t.asked(c).Less}
	}
	t.unwait(c, ticket)
	t.take(c)
	t.emit(f)
}

func (t *twin) take(c *ClientState) {
	t.unreserve(c)
	number := uint32(0)
	for slices.ContainsFunc(c.Jobs, func(j Job) bool { return j.Number == number }) {
		number++
	}
	c.Jobs = append(c.Jobs, Job{number, t.state.Now})
	c.Taken = true
	t.renew(c)
	if len(c.Waiting) > 0 {
		c.Since = c.Waiting[0].Since
	}
}

func (t *twin) deny(c *ClientState) {
	t.during(c, func() {
		for i := range c.Watches {
			c.Watches[i].Told = false
		}
		c.Retries, c.Denied = true, t.state.Now
	})
}

func (t *twin) handle(e Event) {
	s := &t.state
	if s.Stopped && slices.Contains([]EventKind{Acquire, Return, Watch, Set, Relay, Nest, Leave}, e.Kind) {
		t.answerTo(e.Ticket, Abort)
		return
	}
	switch e.Kind {
	case Acquire:
		c := t.get(e.Client)
		switch {
		case c.In:
			c.In = false
			t.emit(Effect{Kind: Grant, Client: c.ID, Ticket: e.Ticket, Wait: e.Wait, Private: true})
		case t.mayTake(c) || !e.Wait && t.takeOver(c):
			t.take(c)
			t.emit(Effect{Kind: Grant, Client: c.ID, Ticket: e.Ticket, Wait: e.Wait})
		case e.Wait:
			t.during(c, func() { c.Waiting = append(c.Waiting, Waiting{e.Ticket, s.Now}) })
		default:
			t.deny(c)
			t.emit(Effect{Kind: Deny, Ticket: e.Ticket})
		}
	case Return:
		t.takeBack(t.get(e.Client), e)
	case Cancel:
		for _, c := range t.universe {
			if slices.ContainsFunc(c.Waiting, func(w Waiting) bool { return w.Ticket == e.Ticket }) {
				t.emit(Effect{Kind: Interrupt, Ticket: t.unwait(c, e.Ticket)})
			} else if r := t.asked(c); r != nil && r.Ticket == e.Ticket {
				t.emit(Effect{Kind: Interrupt, Ticket: t.unwait(c, e.Ticket)})
			}
		}
	case Watch:
		t.poll(t.get(e.Client), e)
	case Close:
		for _, c := range t.universe {
			t.during(c, func() {
				c.Watches = slices.DeleteFunc(c.Watches, func(w Watching) bool { return w.Handle == e.Handle })
			})
		}
	case Exit:
		if c := t.find(e.Client); c != nil {
			for _, w := range slices.Clone(c.Waiting) {
				t.emit(Effect{Kind: Interrupt, Ticket: t.unwait(c, w.Ticket)})
			}
			if r := t.asked(c); r != nil {
				t.emit(Effect{Kind: Interrupt, Ticket: t.unwait(c, r.Ticket)})
			}
			for _, o := range t.universe {
				if o.Host == c.ID {
					o.Host = 0
				}
			}
			t.universe = slices.DeleteFunc(t.universe, func(o *ClientState) bool { return o == c })
			s.Reservations = slices.DeleteFunc(s.Reservations, func(r Reservation) bool { return r.Client == c.ID })
		}
	case Forget:
		if c := t.find(e.Client); c != nil && len(c.Jobs) == 0 && !c.Lender {
			c.Taken = false
		}
	case Refuse, Lost:
		if c := t.find(e.Client); c != nil {
			t.ungrant(c, e)
		}
	case Set:
		t.set(e)
	case Sample:
		s.Load, s.Memory, s.Sampled, s.Known = e.Load, e.Memory, s.Now, true
	case Stop:
		t.stop()
	case Relay:
		c := t.get(e.Client)
		if r := t.asked(c); r != nil {
			t.emit(Effect{Kind: Relayed, Client: c.ID, Ticket: r.Ticket, Less: r.Less})
			t.unwait(c, r.Ticket)
		}
		c.Passes = c.Passes || !e.Now
		s.Relays = append(s.Relays, RelayState{c.ID, e.Ticket, e.N, e.Wait, e.Idle, e.Less})
		if e.Wait {
			t.during(c, func() { c.Waiting = append(c.Waiting, Waiting{e.Ticket, s.Now}) })
		}
		t.answer(c, e.Now)
	case Nest:
		t.nest(t.get(e.Client), e)
	case Hold:
		c := t.get(e.Client)
		for range e.N {
			t.take(c)
		}
		t.trim()
	case Lodge:
		c, host := t.get(e.Client), t.find(e.Under[0])
		if host != nil && host != c && c.Host == 0 && !t.nests(c) {
			c.Host = host.ID
		}
	case Leave:
		c := t.find(e.Client)
		if c == nil || c.Host == 0 {
			t.answerTo(e.Ticket, Invalid)
			return
		}
		c.Host = 0
		t.answerTo(e.Ticket, Left)
	}
}

func (t *twin) poll(c *ClientState, e Event) {
	ready := c.In || t.mayTake(c) || !e.Wait && t.takeOver(c)
	t.emit(Effect{Kind: Readiness, Ticket: e.Ticket, Ready: ready})
	if !e.Wait {
		if !ready {
			t.deny(c)
		}
		return
	}
	t.during(c, func() {
		i := slices.IndexFunc(c.Watches, func(w Watching) bool { return w.Handle == e.Handle })
		if i < 0 {
			i = len(c.Watches)
			c.Watches = append(c.Watches, Watching{Handle: e.Handle})
		}
		c.Watches[i].Told = ready
	})
}

func (t *twin) set(e Event) {
	s := &t.state
	l := s.Limits.With(e.Mask, e.Limits)
	if l.Validate() != nil {
		t.answerTo(e.Ticket, Invalid)
		return
	}
	if e.Mask&(FieldLoadAverage|FieldMinMemory) != 0 {
		s.Known = false
	}
	s.Limits = l
	t.trim()
	t.answerTo(e.Ticket, Changed)
}

// trim drops the newest reservations of tokens that are not there.
func (t *twin) trim() {
	s := &t.state
	for len(s.Reservations) > t.free() {
		t.unreserve(t.find(s.Reservations[len(s.Reservations)-1].Client))
	}
}

func (t *twin) stop() {
	t.state.Stopped = true
	var tickets []Ticket
	var handles []Handle
	for _, c := range t.universe {
		for _, w := range c.Waiting {
			tickets = append(tickets, w.Ticket)
		}
		for _, w := range c.Watches {
			handles = append(handles, w.Handle)
		}
		t.during(c, func() { c.Waiting = nil })
	}
	for _, r := range t.state.Relays {
		if !r.Wait {
			tickets = append(tickets, r.Ticket)
		}
	}
	t.state.Relays, t.state.Nests = nil, nil
	slices.Sort(tickets)
	for _, ticket := range tickets {
		t.emit(Effect{Kind: Abort, Ticket: ticket})
	}
	slices.Sort(handles)
	for _, h := range slices.Compact(handles) {
		t.wake(0, h)
	}
}
