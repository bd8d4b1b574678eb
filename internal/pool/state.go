package pool

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// State is a Pool copied out: everything that decides its next step, and what a report shows. Times are those given to Step.
type State struct {
	Limits  Limits
	Now     time.Duration // of the last Step
	Held    int
	Load    float64
	Memory  int64
	Sampled time.Duration
	Known   bool          // a sample counts
	Refused time.Duration // when the clients that are Refused may be given something again, or 0
	Stopped bool
	// Forgiven is how many tokens came back that were never given.
	Forgiven int
	Clients  []ClientState // by ID
	// Reservations are by deadline, and the first of a client's own first.
	Reservations []Reservation
	Relays       []RelayState // in the order in which they asked
	Nests        []NestState  // in the order in which they began to wait
}

// A ClientState is one process.
type ClientState struct {
	ID      Client
	Jobs    []Job // held, oldest first
	Taken   bool  // has had a token
	Lender  bool  // lent a private token
	In      bool  // which is there to be read
	Waiting []Waiting
	Watches []Watching
	Denied  time.Duration // last told no, if Retries
	Retries bool
	Refused bool          // its last Grant could not be made safe
	Since   time.Duration // when the present wait began
	Left    time.Duration // when the last one was given up
	Host    Client        // the ancestor whose slot it shares, or 0
	Passes  bool          // has passed tokens on
}

// A Job is one token out.
type Job struct {
	Number uint32
	Since  time.Duration
}

// Waiting is one request that waits for a token: a blocked read, or what Relays and Nests have under the same ticket.
type Waiting struct {
	Ticket Ticket
	Since  time.Duration
}

// Watching is one poll. One that was told has been answered or woken and waits for nothing.
type Watching struct {
	Handle Handle
	Told   bool
}

// A RelayState is the question of a relay that has no answer yet, as in an Event. If Wait, its client is waiting by Ticket.
type RelayState struct {
	Client           Client
	Ticket           Ticket
	N                int
	Wait, Idle, Less bool
}

// A NestState is a client waiting, by Ticket, for the slot of an ancestor or a token.
type NestState struct {
	Client Client
	Ticket Ticket
	Under  [MaxUnder]Client
}

// A Reservation is one token kept for a client.
type Reservation struct {
	Client   Client
	Deadline time.Duration
}

// Waits says whether c waits for a token, since c.Since.
func (c *ClientState) Waits() bool {
	return len(c.Waiting) > 0 || slices.ContainsFunc(c.Watches, func(w Watching) bool { return !w.Told })
}

// State copies the pool out.
func (p *Pool) State() State {
	s := State{
		Limits: p.limits, Now: p.now, Held: p.held,
		Load: p.load, Memory: p.memory, Sampled: p.sampled, Known: p.known, Refused: p.refused, Stopped: p.stopped,
		Forgiven: p.forgiven,
	}
	for _, id := range slices.Sorted(maps.Keys(p.clients)) {
		s.Clients = append(s.Clients, p.clients[id].state())
	}
	for _, r := range p.reservations {
		s.Reservations = append(s.Reservations, Reservation{r.client.id, r.deadline})
	}
	for _, c := range p.relays {
		r := c.relay
		s.Relays = append(s.Relays, RelayState{c.id, r.waiter.ticket, r.want, r.wait, r.idle, r.less})
	}
	for _, c := range p.nests {
		s.Nests = append(s.Nests, NestState{c.id, c.nest.waiter.ticket, c.nest.under})
	}
	return s
}

func (c *client) state() ClientState {
	s := ClientState{
		ID: c.id, Taken: c.taken, Lender: c.lender, In: c.in,
		Denied: c.denied, Retries: c.retries, Refused: c.refused, Since: c.since, Left: c.left,
	}
	if c.host != nil {
		s.Host = c.host.id
	}
	s.Passes = c.passes
	for _, j := range c.jobs {
		s.Jobs = append(s.Jobs, Job{j.number, j.since})
	}
	for w := c.waiting.first; w != nil; w = w.next {
		s.Waiting = append(s.Waiting, Waiting{w.ticket, w.since})
	}
	for w := c.watches; w != nil; w = w.nextOfClient {
		s.Watches = append(s.Watches, Watching{w.handle, w.told})
	}
	return s
}

// Restore returns a pool that goes on from s as the one did that s was copied from, or an error where s contradicts itself.
func Restore(s State) (*Pool, error) {
	if err := s.Limits.Validate(); err != nil {
		return nil, fmt.Errorf("pool state: %w", err)
	}
	p := New(s.Limits)
	p.now, p.load, p.memory, p.sampled, p.known = s.Now, s.Load, s.Memory, s.Sampled, s.Known
	p.refused, p.stopped, p.forgiven = s.Refused, s.Stopped, s.Forgiven
	if s.Refused > s.Now+refuseWindow {
		return nil, errors.New("pool state: clients refused for longer than any is")
	}
	if s.Forgiven < 0 {
		return nil, errors.New("pool state: fewer tokens forgiven than none")
	}
	for i := range s.Clients {
		if err := p.restoreClient(&s.Clients[i]); err != nil {
			return nil, err
		}
	}
	if p.held != s.Held {
		return nil, errors.New("pool state: the clients' tokens do not add up to those held")
	}
	if err := p.restoreRequests(s); err != nil {
		return nil, err
	}
	if err := p.restoreHosts(s.Clients); err != nil {
		return nil, err
	}
	p.restoreRetriers(s.Clients)
	if p.stopped && len(p.tickets) > 0 {
		return nil, errors.New("pool state: stopped, and yet somebody waits")
	}
	for i, r := range s.Reservations {
		c := p.clients[r.Client]
		if c == nil {
			return nil, errors.New("pool state: a reservation for an unknown client")
		}
		if i > 0 && r.Deadline < s.Reservations[i-1].Deadline || r.Deadline > s.Now+reserveWindow {
			return nil, errors.New("pool state: reservations out of order, or for longer than any is made")
		}
		c.reserved++
		p.reservations = append(p.reservations, reservation{c, r.Deadline})
	}
	if len(p.reservations) > max(0, p.limits.Jobs-p.held) {
		return nil, errors.New("pool state: more tokens reserved than free")
	}
	// In the order of their waits: so do those without tokens come in line.
	for _, c := range slices.SortedFunc(maps.Values(p.clients), func(a, b *client) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.id, b.id))
	}) {
		p.vacate(c)
		p.update(c)
	}
	return p, nil
}

func (p *Pool) restoreClient(s *ClientState) error {
	if p.clients[s.ID] != nil {
		return errors.New("pool state: a client twice")
	}
	c := p.clientOf(s.ID)
	c.taken, c.lender, c.in, c.refused, c.passes = s.Taken, s.Lender, s.In, s.Refused, s.Passes
	c.since, c.left, c.denied = s.Since, s.Left, s.Denied
	if s.In && !s.Lender {
		return errors.New("pool state: a private token nobody lent")
	}
	if max(s.Denied, s.Since, s.Left) > p.now {
		return errors.New("pool state: a client denied, or waiting, later than now")
	}
	if len(s.Jobs) > 0 && !s.Taken {
		return errors.New("pool state: a client holds what it never took")
	}
	for i, j := range s.Jobs {
		if j.Number >= MaxJobs || c.uses(j.Number) {
			return errors.New("pool state: a job number out of range or twice")
		}
		if j.Since > p.now || i > 0 && j.Since < s.Jobs[i-1].Since {
			return errors.New("pool state: jobs out of order, or later than now")
		}
		c.use(j.Number)
		c.jobs = append(c.jobs, job{j.Since, j.Number})
	}
	p.held += len(c.jobs)
	for _, w := range s.Waiting {
		if p.tickets[w.Ticket] != nil || w.Since > p.now {
			return errors.New("pool state: a ticket twice, or later than now")
		}
		waiting := p.newWaiter(c, w.Ticket, reads)
		waiting.since, waiting.listed = w.Since, true
		c.waiting.pushBack(waiting)
	}
	for i, w := range s.Watches {
		if slices.ContainsFunc(s.Watches[:i], func(o Watching) bool { return o.Handle == w.Handle }) {
			return errors.New("pool state: a client polls one open file twice")
		}
		watch := p.watchOf(w.Handle, c)
		if watch.told = w.Told; !w.Told {
			c.armed++
		}
	}
	return nil
}

// restoreRequests makes relays and nests of the waiters that are no reads.
func (p *Pool) restoreRequests(s State) error {
	for _, r := range s.Relays {
		c, w := p.clients[r.Client], p.tickets[r.Ticket]
		if c == nil || c.relay != nil || r.N < 0 || r.N > MaxJobs || (w != nil) != r.Wait || w != nil && w.client != c {
			return errors.New("pool state: a relay twice, or one that is nobody's")
		}
		if w == nil {
			w = p.newWaiter(c, r.Ticket, relays)
		}
		w.purpose = relays
		c.relay = &relay{waiter: w, want: r.N, wait: r.Wait, idle: r.Idle, less: r.Less}
		p.relays = append(p.relays, c)
	}
	for _, n := range s.Nests {
		c, w := p.clients[n.Client], p.tickets[n.Ticket]
		if c == nil || c.nest != nil || w == nil || w.client != c || w.purpose != reads {
			return errors.New("pool state: a nest twice, or one that is nobody's")
		}
		w.purpose = nests
		c.nest = &nest{waiter: w, under: n.Under}
		p.nests = append(p.nests, c)
	}
	for _, c := range p.clients {
		for w := c.waiting.first; w != nil; w = w.next {
			if c.in && w.purpose == reads {
				return errors.New("pool state: a private token beside its own reader")
			}
		}
	}
	return nil
}

func (p *Pool) restoreHosts(clients []ClientState) error {
	for i := range clients {
		s := &clients[i]
		if s.Host == 0 {
			continue
		}
		c, host := p.clients[s.ID], p.clients[s.Host]
		if host == nil || host == c || c.nest != nil {
			return errors.New("pool state: a client in the slot of nobody, or of itself, or that waits for one")
		}
		p.lodge(c, host)
	}
	return nil
}

// restoreRetriers links those that were denied, in the order in which they were.
func (p *Pool) restoreRetriers(clients []ClientState) {
	denied := slices.Clone(clients)
	denied = slices.DeleteFunc(denied, func(s ClientState) bool { return !s.Retries })
	slices.SortStableFunc(denied, func(a, b ClientState) int { return cmp.Compare(a.Denied, b.Denied) })
	for _, s := range denied {
		p.listRetrier(p.clients[s.ID])
	}
}
