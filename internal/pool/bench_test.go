package pool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A rig is a pool with a crowd before it, and a clock that moves a microsecond at each step.
type rig struct {
	pool   *Pool
	now    time.Duration
	ticket Ticket
}

func newRig(jobs int) *rig { return &rig{pool: New(DefaultLimits(jobs))} }

func (r *rig) step(e Event) []Effect {
	r.now += time.Microsecond
	r.ticket++
	e.Ticket = r.ticket
	return r.pool.Step(r.now, e)
}

func (r *rig) acquire(c Client, wait bool) []Effect {
	return r.step(Event{Kind: Acquire, Client: c, Wait: wait})
}

func (r *rig) giveBack(c Client) []Effect { return r.step(Event{Kind: Return, Client: c, N: 1}) }

func (r *rig) poll(c Client) []Effect {
	return r.step(Event{Kind: Watch, Client: c, Handle: Handle(c), Wait: true})
}

// A turn is what happens to one token, again and again: c gives it back, the next in line gets it, and c queues up anew. It
// returns who has the token then.
type turn func(r *rig, c Client) Client

// readers are blocked in their reads.
func readers(r *rig, c Client) Client {
	next := r.giveBack(c)[1].Client
	r.acquire(c, true)
	return next
}

// pollers are woken, read, and poll again.
func pollers(r *rig, c Client) Client {
	next := Client(r.giveBack(c)[1].Handle)
	r.poll(c)
	return r.acquire(next, false)[0].Client
}

// retriers try, are denied, and have the token when they try again.
func retriers(r *rig, c Client) Client {
	r.giveBack(c)
	next := r.pool.reservations[0].client.id
	r.acquire(next, false)
	r.acquire(c, false)
	return next
}

// crowd makes n clients queue up for one token, of which client 1 has it.
func (r *rig) crowd(n int, join func(c Client)) {
	r.acquire(1, false)
	for c := range Client(n) {
		join(c + 2)
	}
}

type crowd struct {
	name string
	turn turn
	join func(r *rig, c Client)
}

var crowds = []crowd{
	{"readers", readers, func(r *rig, c Client) { r.acquire(c, true) }},
	{"pollers", pollers, func(r *rig, c Client) { r.poll(c) }},
	{"retriers", retriers, func(r *rig, c Client) { r.acquire(c, false) }},
}

// TestAllocations: nothing is allocated for a token that goes round.
func TestAllocations(t *testing.T) {
	t.Run("alone", func(t *testing.T) {
		r := newRig(4)
		pair := func() {
			r.acquire(1, false)
			r.giveBack(1)
		}
		pair()
		if n := testing.AllocsPerRun(1000, pair); n != 0 {
			t.Errorf("%v allocations for a token taken and given back", n)
		}
	})
	for _, crowd := range crowds {
		t.Run(crowd.name, func(t *testing.T) {
			const n = 50
			r := newRig(1)
			r.crowd(n, func(c Client) { crowd.join(r, c) })
			holder := Client(1)
			turn := func() { holder = crowd.turn(r, holder) }
			for range 4 * n { // each has had a token, and the maps have grown
				turn()
			}
			if n := testing.AllocsPerRun(1000, turn); n != 0 {
				t.Errorf("%v allocations for a token that goes round", n)
			}
		})
	}
}

func BenchmarkPair(b *testing.B) {
	r := newRig(4)
	b.ReportAllocs()
	for b.Loop() {
		r.acquire(1, false)
		r.giveBack(1)
	}
}

// BenchmarkTurn is the cost of one token given back, handed on and queued up for again, before crowds of all sizes.
func BenchmarkTurn(b *testing.B) {
	for _, crowd := range append(crowds, askers...) {
		for _, n := range []int{1, 10, 64, 4096, 10000} {
			b.Run(fmt.Sprintf("%s=%d", crowd.name, n), func(b *testing.B) {
				r := newRig(1)
				r.crowd(n, func(c Client) { crowd.join(r, c) })
				holder := Client(1)
				b.ReportAllocs()
				for b.Loop() {
					holder = crowd.turn(r, holder)
				}
			})
		}
	}
}

// BenchmarkHerd is the cost of a poll where all poll one open file: each token wakes them all, and those who do not get it
// poll again, in any order.
func BenchmarkHerd(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("pollers=%d", n), func(b *testing.B) {
			r := newRig(1)
			poll := func(c Client) { r.step(Event{Kind: Watch, Client: c, Handle: 1, Wait: true}) }
			r.crowd(n, poll)
			holder := Client(1)
			order := rand.New(rand.NewPCG(0, 0)).Perm(n + 1)
			b.ReportAllocs()
			for b.Loop() {
				next := r.giveBack(holder)[1].Client
				for _, i := range order {
					if c := Client(i + 1); c != next {
						poll(c)
					}
				}
				holder = r.acquire(next, false)[0].Client
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/poll")
		})
	}
}

// nesters wait for a token, or for a slot of ancestors that have none left.
func nesters(r *rig, c Client) Client {
	next := r.giveBack(c)[1].Client
	nestBelow(r, c)
	return next
}

func nestBelow(r *rig, c Client) {
	r.step(Event{Kind: Nest, Client: c, Under: [MaxUnder]Client{1 << 32, 1<<32 + 1, 1<<32 + 2, 1<<32 + 3}})
}

// relayers wait for a token, and would hear of one that nobody else wants.
func relayers(r *rig, c Client) Client {
	next := r.giveBack(c)[1].Client
	askToRelay(r, c)
	return next
}

func askToRelay(r *rig, c Client) {
	r.step(Event{Kind: Relay, Client: c, N: 1, Wait: true})
}

// askers have a record allocated for what they ask.
var askers = []crowd{
	{"nesters", nesters, nestBelow},
	{"relayers", relayers, askToRelay},
}
