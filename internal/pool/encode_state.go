package pool

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"
)

// A state is encoded as a sequence of varints, of no more bytes than they need, in the order of State's fields. A time is
// written as how long it is before another, nearly always a small number; a list is its length and its items. All there is
// of a state has one encoding.

// The flags of an encoded state, client and relay.
const (
	stateKnown = 1 << iota
	stateStopped
	stateFlags = 1<<iota - 1
)

const (
	clientTaken = 1 << iota
	clientLender
	clientIn
	clientRetries
	clientRefused
	clientPasses
	clientDenied // denied follows, and is not 0
	clientHosted // host follows, and is not 0
	clientFlags  = 1<<iota - 1
)

const (
	relayWait = 1 << iota
	relayIdle
	relayLess
	relayFlags = 1<<iota - 1
)

// The fewest bytes that one item of each list takes.
const (
	minClient      = 7 // id, flags, since, left, no jobs, no waiting, no watches
	minJob         = 2 // number, since
	minWaiting     = 2 // ticket, since
	minWatching    = 2 // handle, told
	minReservation = 2 // client, deadline
	minRelay       = 4 // client, ticket, n, flags
	minNest        = 2 + MaxUnder
)

// AppendState appends the State of p to b, for DecodeState. It allocates nothing but what b needs to grow, and, when there
// are more clients than ever before, a list of them.
func (p *Pool) AppendState(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(p.limits.Jobs))
	b = binary.AppendUvarint(b, uint64(p.limits.MinJobs))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(p.limits.LoadAverage))
	b = appendTime(b, p.limits.RecheckTimeout, 0)
	b = binary.AppendVarint(b, p.limits.MinMemory)
	b = binary.AppendUvarint(b, uint64(p.limits.PerProcess))
	b = appendTime(b, p.now, 0)
	b = binary.AppendUvarint(b, uint64(p.held))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(p.load))
	b = binary.AppendVarint(b, p.memory)
	b = appendTime(b, p.now, p.sampled)
	b = append(b, bit(p.known, stateKnown)|bit(p.stopped, stateStopped))
	b = appendTime(b, p.now, p.refused)
	b = binary.AppendUvarint(b, uint64(p.forgiven))

	p.ids = p.ids[:0]
	for id := range p.clients {
		p.ids = append(p.ids, id)
	}
	slices.Sort(p.ids)
	b = binary.AppendUvarint(b, uint64(len(p.ids)))
	last := Client(0)
	for _, id := range p.ids {
		b = binary.AppendUvarint(b, uint64(id-last))
		b = p.clients[id].appendState(b, p.now)
		last = id
	}

	b = binary.AppendUvarint(b, uint64(len(p.reservations)))
	for _, r := range p.reservations {
		b = binary.AppendUvarint(b, uint64(r.client.id))
		b = appendTime(b, p.now, r.deadline)
	}
	b = binary.AppendUvarint(b, uint64(len(p.relays)))
	for _, c := range p.relays {
		r := c.relay
		b = binary.AppendUvarint(b, uint64(c.id))
		b = binary.AppendUvarint(b, uint64(r.waiter.ticket))
		b = binary.AppendUvarint(b, uint64(r.want))
		b = append(b, bit(r.wait, relayWait)|bit(r.idle, relayIdle)|bit(r.less, relayLess))
	}
	b = binary.AppendUvarint(b, uint64(len(p.nests)))
	for _, c := range p.nests {
		b = binary.AppendUvarint(b, uint64(c.id))
		b = binary.AppendUvarint(b, uint64(c.nest.waiter.ticket))
		for _, id := range c.nest.under {
			b = binary.AppendUvarint(b, uint64(id))
		}
	}
	return b
}

// appendState appends what ClientState has of c but its ID.
func (c *client) appendState(b []byte, now time.Duration) []byte {
	b = append(b, bit(c.taken, clientTaken)|bit(c.lender, clientLender)|bit(c.in, clientIn)|
		bit(c.retries, clientRetries)|bit(c.refused, clientRefused)|bit(c.passes, clientPasses)|
		bit(c.denied != 0, clientDenied)|bit(c.host != nil, clientHosted))
	b = appendTime(b, now, c.since)
	b = appendTime(b, c.since, c.left)
	if c.denied != 0 {
		b = appendTime(b, now, c.denied)
	}
	if c.host != nil {
		b = binary.AppendUvarint(b, uint64(c.host.id))
	}
	b = binary.AppendUvarint(b, uint64(len(c.jobs)))
	for _, j := range c.jobs {
		b = binary.AppendUvarint(b, uint64(j.number))
		b = appendTime(b, now, j.since)
	}
	n := 0
	for w := c.waiting.first; w != nil; w = w.next {
		n++
	}
	b = binary.AppendUvarint(b, uint64(n))
	for w := c.waiting.first; w != nil; w = w.next {
		b = binary.AppendUvarint(b, uint64(w.ticket))
		b = appendTime(b, w.since, c.since)
	}
	n = 0
	for w := c.watches; w != nil; w = w.nextOfClient {
		n++
	}
	b = binary.AppendUvarint(b, uint64(n))
	for w := c.watches; w != nil; w = w.nextOfClient {
		b = binary.AppendUvarint(b, uint64(w.handle))
		b = append(b, bit(w.told, 1))
	}
	return b
}

// appendTime appends how long t is after another time.
func appendTime(b []byte, t, other time.Duration) []byte {
	return binary.AppendVarint(b, int64(t-other))
}

func bit(set bool, mask byte) byte {
	if set {
		return mask
	}
	return 0
}

// DecodeState returns the State of which b is the encoding, all of it. It is an error if b is none. Whether the State makes
// sense only Restore knows.
func DecodeState(b []byte) (State, error) {
	r := stateReader{b: b}
	s := r.state()
	if r.err == nil && len(r.b) > 0 {
		r.fail("more bytes than it has")
	}
	if r.err != nil {
		return State{}, r.err
	}
	return s, nil
}

// A stateReader takes apart the bytes b. After its first error it reads nothing but zeros.
type stateReader struct {
	b   []byte
	err error
}

func (r *stateReader) state() State {
	var s State
	s.Limits.Jobs = r.number()
	s.Limits.MinJobs = r.number()
	s.Limits.LoadAverage = r.float()
	s.Limits.RecheckTimeout = time.Duration(r.varint())
	s.Limits.MinMemory = r.varint()
	s.Limits.PerProcess = r.number()
	s.Now = time.Duration(r.varint())
	s.Held = r.number()
	s.Load = r.float()
	s.Memory = r.varint()
	s.Sampled = r.before(s.Now)
	flags := r.flags(stateFlags)
	s.Known, s.Stopped = flags&stateKnown != 0, flags&stateStopped != 0
	s.Refused = r.before(s.Now)
	s.Forgiven = r.number()

	s.Clients = list[ClientState](r, minClient)
	last := Client(0)
	for i := range s.Clients {
		c := &s.Clients[i]
		c.ID = last + Client(r.uvarint())
		if i > 0 && c.ID <= last {
			r.fail("clients out of order")
		}
		last = c.ID
		r.client(c, s.Now)
	}
	s.Reservations = list[Reservation](r, minReservation)
	for i := range s.Reservations {
		s.Reservations[i] = Reservation{Client(r.uvarint()), r.before(s.Now)}
	}
	s.Relays = list[RelayState](r, minRelay)
	for i := range s.Relays {
		q := RelayState{Client: Client(r.uvarint()), Ticket: Ticket(r.uvarint()), N: r.number()}
		flags := r.flags(relayFlags)
		q.Wait, q.Idle, q.Less = flags&relayWait != 0, flags&relayIdle != 0, flags&relayLess != 0
		s.Relays[i] = q
	}
	s.Nests = list[NestState](r, minNest)
	for i := range s.Nests {
		n := NestState{Client: Client(r.uvarint()), Ticket: Ticket(r.uvarint())}
		for j := range n.Under {
			n.Under[j] = Client(r.uvarint())
		}
		s.Nests[i] = n
	}
	return s
}

// client sets all of c but its ID.
func (r *stateReader) client(c *ClientState, now time.Duration) {
	flags := r.flags(clientFlags)
	c.Taken, c.Lender, c.In = flags&clientTaken != 0, flags&clientLender != 0, flags&clientIn != 0
	c.Retries, c.Refused, c.Passes = flags&clientRetries != 0, flags&clientRefused != 0, flags&clientPasses != 0
	c.Since = r.before(now)
	c.Left = r.before(c.Since)
	if flags&clientDenied != 0 {
		if c.Denied = r.before(now); c.Denied == 0 {
			r.fail("a client denied at no time")
		}
	}
	if flags&clientHosted != 0 {
		if c.Host = Client(r.uvarint()); c.Host == 0 {
			r.fail("a client in the slot of nobody")
		}
	}
	c.Jobs = list[Job](r, minJob)
	for i := range c.Jobs {
		number := r.uvarint()
		if number > math.MaxUint32 {
			r.fail("a job number out of range")
		}
		c.Jobs[i] = Job{uint32(number), r.before(now)}
	}
	c.Waiting = list[Waiting](r, minWaiting)
	for i := range c.Waiting {
		c.Waiting[i] = Waiting{Ticket(r.uvarint()), c.Since + time.Duration(r.varint())}
	}
	c.Watches = list[Watching](r, minWatching)
	for i := range c.Watches {
		c.Watches[i] = Watching{Handle(r.uvarint()), r.flags(1) != 0}
	}
}

// list returns as many items as r says there are, or none if fewer than that can follow, of at least size bytes each.
func list[T any](r *stateReader, size int) []T {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail("truncated list")
	}
	if n == 0 || r.err != nil {
		return nil
	}
	return make([]T, n)
}

func (r *stateReader) fail(what string) {
	if r.err == nil {
		r.b, r.err = nil, errors.New("encoded pool state: "+what)
	}
}

func (r *stateReader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 { // more than 64 bits, or none, or with zeros in front
		r.fail("truncated, or no number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *stateReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// before reads a time that is written as how long it is before t.
func (r *stateReader) before(t time.Duration) time.Duration { return t - time.Duration(r.varint()) }

// number reads what is never negative.
func (r *stateReader) number() int {
	v := r.uvarint()
	if v > math.MaxInt {
		r.fail("a number out of range")
		return 0
	}
	return int(v)
}

func (r *stateReader) float() float64 {
	if len(r.b) < 8 {
		r.fail("truncated")
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return math.Float64frombits(v)
}

// flags reads one byte of no other flags than those of mask.
func (r *stateReader) flags(mask byte) byte {
	if len(r.b) == 0 || r.b[0]&^mask != 0 {
		r.fail("truncated, or an unknown flag")
		return 0
	}
	f := r.b[0]
	r.b = r.b[1:]
	return f
}
