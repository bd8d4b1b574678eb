package pool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A room is where processes sit before a pool, each of which does one thing after another, in simulated time.
type room struct {
	pool  *Pool
	now   time.Duration
	t     Ticket
	seats []*sitter
	woken func(c Client) // hears of every wake-up
}

// A sitter is one of them. At next it does what comes next, which says when to do so again.
type sitter struct {
	client Client
	next   time.Duration
	does   func(s *sitter) (pause time.Duration)
	takes  int
}

const never = time.Duration(1 << 62)

func (b *room) sit(first time.Duration, does func(s *sitter) time.Duration) *sitter {
	s := &sitter{client: Client(len(b.seats) + 1), next: first, does: does}
	b.seats = append(b.seats, s)
	return s
}

// step steps e of s, or a Tick of nobody, and returns the answer to it.
func (b *room) step(s *sitter, e Event) Effect {
	var answer Effect
	if s != nil {
		b.t++
		e.Client, e.Ticket = s.client, b.t
	}
	for _, f := range b.pool.Step(b.now, e) {
		switch {
		case f.Kind == Wake:
			b.woken(f.Client)
		case f.Ticket == e.Ticket:
			answer = f
		}
	}
	return answer
}

func (b *room) try(s *sitter) bool {
	if b.step(s, Event{Kind: Acquire}).Kind != Grant {
		return false
	}
	s.takes++
	return true
}

func (b *room) giveBack(s *sitter) { b.step(s, Event{Kind: Return, N: 1}) }

func (b *room) run(until time.Duration) {
	for {
		first := b.seats[0]
		for _, s := range b.seats {
			if s.next < first.next {
				first = s
			}
		}
		if at, ok := b.pool.Next(); ok && at <= min(first.next, until) {
			b.now = max(b.now, at)
			b.step(nil, Event{Kind: Tick})
			continue
		}
		if first.next > until {
			return
		}
		b.now = first.next
		first.next = never
		if pause := first.does(first); pause != never {
			first.next = b.now + pause
		}
	}
}

// takesOf returns how many tokens k retriers got, of the one there is, in 5 s from when it came back. If look, they poll
// before they read, without waiting.
func takesOf(k int, pause, hold time.Duration, look bool) int {
	const back, end = 500 * time.Millisecond, 5500 * time.Millisecond
	b := &room{pool: New(DefaultLimits(1)), woken: func(Client) {}}
	b.sit(0, func(s *sitter) time.Duration {
		if b.pool.Holds(s.client) > 0 {
			b.giveBack(s)
			return never
		}
		b.try(s)
		return back
	})
	for i := range k {
		b.sit(pause*time.Duration(i)/time.Duration(k), func(s *sitter) time.Duration {
			switch {
			case b.pool.Holds(s.client) > 0:
				b.giveBack(s)
			case look && !b.step(s, Event{Kind: Watch, Handle: Handle(s.client)}).Ready:
			case b.try(s):
				return hold
			}
			return pause
		})
	}
	b.run(end)
	takes := 0
	for _, s := range b.seats[1:] {
		takes += s.takes
	}
	return takes
}

// TestManyRetriers: many that try again get no fewer tokens than one, however much longer than reserveWindow they pause.
func TestManyRetriers(t *testing.T) {
	for _, look := range []bool{false, true} {
		for _, pause := range []time.Duration{30 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
			for _, hold := range []time.Duration{0, 30 * time.Millisecond} {
				alone := takesOf(1, pause, hold, look)
				for _, k := range []int{2, 5, 20, 100} {
					t.Run(fmt.Sprintf("%d_of_pause=%v_hold=%v_look=%t", k, pause, hold, look), func(t *testing.T) {
						if takes := takesOf(k, pause, hold, look); takes < alone {
							t.Errorf("%d takes, alone %d", takes, alone)
						}
					})
				}
			}
		}
	}
}

// TestRetriersAreServed: one that tries again is not denied beside a free token, unless the token is kept for a poll that
// was woken a moment ago, or for one that holds less and was denied, too.
func TestRetriersAreServed(t *testing.T) {
	for _, pollers := range []int{0, 1, 6} {
		for _, more := range []int{0, 30} { // percent that go for a second token
			t.Run(fmt.Sprintf("pollers=%d_second=%d", pollers, more), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed(t), 0))
				for range 20 {
					serveRetriers(t, r, 2+r.IntN(40), pollers, more)
				}
			})
		}
	}
}

func serveRetriers(t *testing.T, r *rand.Rand, retriers, pollers, more int) {
	between := func(from, to int) time.Duration { return time.Duration(from+r.IntN(to-from+1)) * time.Millisecond }
	b := &room{pool: New(DefaultLimits(1 + r.IntN(4)))}
	woken := map[Client]time.Duration{}  // pollers that have not read since, and when
	denied := map[Client]time.Duration{} // retriers, and when: within retryWindow they count, be they served since
	b.woken = func(c Client) {
		woken[c] = b.now
		b.seats[c-1].next = b.now + between(0, 25)
	}
	excused := func(s *sitter) bool {
		for _, at := range woken {
			if b.now-at < reserveWindow {
				return true
			}
		}
		for c, at := range denied {
			if b.pool.Holds(c) < b.pool.Holds(s.client) && b.now-at <= retryWindow+reserveWindow {
				return true
			}
		}
		return false
	}
	for range retriers {
		b.sit(between(0, 300), func(s *sitter) time.Duration {
			held, free := b.pool.Holds(s.client), b.pool.Free()
			if held > 0 && r.IntN(100) >= more {
				b.giveBack(s)
				return between(5, 300)
			}
			if b.try(s) {
				return between(0, 50)
			}
			if free > 0 && !excused(s) {
				t.Fatalf("at %v, client %d, with %d tokens, is denied beside %d free ones", b.now, s.client, held, free)
			}
			denied[s.client] = b.now
			return between(5, 300)
		})
	}
	for range pollers {
		b.sit(between(0, 300), func(s *sitter) time.Duration {
			delete(woken, s.client)
			if b.pool.Holds(s.client) > 0 {
				b.giveBack(s)
				return between(0, 50)
			}
			if b.try(s) {
				return between(0, 50)
			}
			b.step(s, Event{Kind: Watch, Handle: Handle(s.client), Wait: true})
			return never
		})
	}
	b.run(20 * time.Second)
}
