package pool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A shape is a kind of machine: what is on it, and what tends to happen. Weights are relative.
type shape struct {
	name    string
	clients int // alive at a time
	jobs    int
	handles int // open files that several clients share, 0: each has its own
	weights [Lodge + 1]int
	rude    int // of 100 returns and tickets, so many are made up
}

var usual = [Lodge + 1]int{
	Acquire: 30, Return: 24, Cancel: 6, Watch: 16, Close: 1, Exit: 1, Forget: 1, Refuse: 1, Lost: 1, Set: 1, Sample: 1, Tick: 10, Relay: 2, Nest: 1, Leave: 1,
	Hold: 1, Lodge: 1,
}

func usually(change func(w *[Lodge + 1]int)) [Lodge + 1]int {
	w := usual
	change(&w)
	return w
}

var shapes = []shape{
	{name: "few clients, many tokens", clients: 3, jobs: 40, weights: usual},
	{name: "many clients, one token", clients: 24, jobs: 1, weights: usual, rude: 2},
	{name: "ordinary", clients: 8, jobs: 4, weights: usual, rude: 2},
	{name: "lenders", clients: 8, jobs: 4, handles: 3, rude: 40, weights: usually(func(w *[Lodge + 1]int) {
		w[Exit], w[Forget], w[Lost] = 6, 4, 6
	})},
	{name: "limits flapping", clients: 12, jobs: 8, weights: usually(func(w *[Lodge + 1]int) {
		w[Set], w[Sample], w[Refuse] = 10, 14, 3
	})},
	{name: "shared handles", clients: 10, jobs: 2, handles: 3, weights: usually(func(w *[Lodge + 1]int) {
		w[Watch], w[Acquire], w[Close] = 40, 20, 3
	})},
	{name: "rude", clients: 8, jobs: 3, handles: 5, rude: 30, weights: usually(func(w *[Lodge + 1]int) {
		w[Close], w[Exit], w[Cancel] = 8, 6, 20
	})},
	{name: "retriers", clients: 10, jobs: 3, weights: usually(func(w *[Lodge + 1]int) {
		w[Acquire], w[Watch], w[Close] = 50, 4, 8
	})},
	{name: "relays", clients: 6, jobs: 6, weights: usually(func(w *[Lodge + 1]int) {
		w[Relay], w[Watch], w[Cancel], w[Lost] = 30, 6, 6, 4
	})},
	{name: "nests", clients: 10, jobs: 3, weights: usually(func(w *[Lodge + 1]int) {
		w[Nest], w[Leave], w[Exit], w[Hold], w[Lodge] = 30, 14, 4, 3, 4
	})},
}

// A world makes up what happens, so that it could have happened: tickets are new, time goes on, a Grant is refused or lost
// before anything else is done.
type world struct {
	shape
	rand    *rand.Rand
	now     time.Duration
	alive   []Client
	ids     Client
	tickets Ticket
	grants  []Effect // of the last step, not yet found to have worked
}

func newWorld(s shape, r *rand.Rand) *world {
	w := &world{shape: s, rand: r}
	for range s.clients {
		w.ids++
		w.alive = append(w.alive, w.ids)
	}
	return w
}

func (w *world) percent(n int) bool { return w.rand.IntN(100) < n }

func (w *world) ticket() Ticket {
	w.tickets++
	return w.tickets
}

func (w *world) handle(c Client) Handle {
	if w.handles > 0 {
		return Handle(1 + w.rand.IntN(w.handles))
	}
	return Handle(uint64(c)<<8 + uint64(w.rand.IntN(2)))
}

// pass lets time go by: none, a little, until p wants a Tick, or long.
func (w *world) pass(p *Pool) {
	switch n := w.rand.IntN(100); {
	case n < 50:
	case n < 80:
		w.now += time.Duration(w.rand.IntN(5)) * time.Millisecond
	case n < 95:
		if at, ok := p.Next(); ok {
			w.now = max(w.now, at)
		}
	default:
		w.now += time.Duration(w.rand.IntN(200)) * time.Millisecond
	}
}

func (w *world) kind() EventKind {
	total := 0
	for _, n := range w.weights {
		total += n
	}
	n := w.rand.IntN(total)
	for k, weight := range w.weights {
		if n < weight {
			return EventKind(k)
		}
		n -= weight
	}
	panic("unreachable")
}

func (w *world) event(p *Pool) Event {
	kind := w.kind()
	if len(w.grants) > 0 && w.percent(4*(w.weights[Refuse]+w.weights[Lost])) {
		return w.fail(p)
	}
	w.grants = nil
	w.pass(p)
	slot := w.rand.IntN(len(w.alive))
	c := w.alive[slot]
	switch kind {
	case Acquire:
		return Event{Kind: kind, Client: c, Ticket: w.ticket(), Wait: w.percent(60)}
	case Return:
		n := min(1, p.Holds(c))
		if w.percent(w.rude) {
			n = w.rand.IntN(4)
		} else if n == 0 {
			return Event{Kind: Tick}
		}
		return Event{Kind: kind, Client: c, Ticket: w.ticket(), N: n, Forgive: w.percent(w.rude)}
	case Cancel:
		return Event{Kind: kind, Ticket: w.oldTicket(p)}
	case Watch:
		return Event{Kind: kind, Client: c, Ticket: w.ticket(), Handle: w.handle(c), Wait: w.percent(85)}
	case Close:
		return Event{Kind: kind, Handle: w.handle(c)}
	case Exit:
		w.ids++
		w.alive[slot] = w.ids
		return Event{Kind: kind, Client: c}
	case Forget:
		return Event{Kind: kind, Client: c}
	case Set:
		return w.setting()
	case Relay:
		return Event{
			Kind: kind, Client: c, Ticket: w.ticket(), N: w.rand.IntN(4),
			Wait: w.percent(40), Idle: w.percent(40), Less: w.percent(20), Now: w.percent(10),
		}
	case Nest:
		e := Event{Kind: kind, Client: c, Ticket: w.ticket()}
		for i := range w.rand.IntN(MaxUnder + 1) {
			e.Under[i] = w.alive[w.rand.IntN(len(w.alive))]
		}
		return e
	case Leave:
		return Event{Kind: kind, Client: c, Ticket: w.ticket()}
	case Hold:
		return Event{Kind: kind, Client: c, N: 1 + w.rand.IntN(3)}
	case Lodge:
		return Event{Kind: kind, Client: c, Under: [MaxUnder]Client{w.alive[w.rand.IntN(len(w.alive))]}}
	case Sample:
		return Event{Kind: kind, Load: float64(w.rand.IntN(8)), Memory: int64(w.rand.IntN(8))}
	}
	return Event{Kind: Tick}
}

// fail says that a Grant did not arrive. None to a lender is refused: its end is observed already.
func (w *world) fail(p *Pool) Event {
	w.now += time.Duration(w.rand.IntN(2)) * time.Millisecond
	i := w.rand.IntN(len(w.grants))
	g := w.grants[i]
	w.grants = slices.Delete(w.grants, i, i+1)
	kind := Lost
	if g.Kind == Nested && g.N == 0 {
		return Event{Kind: Leave, Client: g.Client}
	}
	if g.Kind != Grant {
		return Event{Kind: Lost, Client: g.Client, N: g.N}
	}
	if c := p.clients[g.Client]; c != nil && !c.lender && w.rand.IntN(w.weights[Refuse]+w.weights[Lost]) < w.weights[Refuse] {
		kind = Refuse
	}
	if kind == Lost {
		return Event{Kind: Lost, Client: g.Client, N: 1, Private: g.Private}
	}
	return Event{Kind: Refuse, Client: g.Client, Ticket: g.Ticket, Wait: g.Wait}
}

// hear notes what was given in a step.
func (w *world) hear(effects []Effect) {
	for _, f := range effects {
		if f.Kind == Grant || f.Kind == Relayed && f.N > 0 || f.Kind == Nested {
			w.grants = append(w.grants, f)
		}
	}
}

func (w *world) oldTicket(p *Pool) Ticket {
	if len(p.tickets) == 0 || w.percent(10) {
		return Ticket(w.rand.Uint64N(uint64(w.tickets) + 2)) // answered long ago, or never seen
	}
	c := p.clients[w.alive[w.rand.IntN(len(w.alive))]]
	if c == nil || c.waiting.first == nil {
		return 0
	}
	return c.waiting.first.ticket
}

func (w *world) setting() Event {
	e := Event{Kind: Set, Mask: Field(w.rand.IntN(int(AllFields) + 1))}
	if w.percent(80) {
		e.Ticket = w.ticket()
	}
	e.Limits = Limits{
		Jobs: 1 + w.rand.IntN(2*w.jobs), MinJobs: w.rand.IntN(w.jobs + 2),
		LoadAverage: float64(w.rand.IntN(8)), MinMemory: int64(w.rand.IntN(8)),
		RecheckTimeout: time.Duration(10+w.rand.IntN(100)) * time.Millisecond,
		PerProcess:     w.rand.IntN(4),
	}
	if w.percent(10) {
		e.Limits.Jobs = 0
	}
	return e
}

// A trial drives a Pool, its twin, a Pool restored from the first and an auditor through one schedule.
type trial struct {
	world    *world
	pool     *Pool
	twin     *twin
	restored *Pool
	auditor  *auditor
	story    []string // the last events
}

func newTrial(s shape, r *rand.Rand) *trial {
	l := DefaultLimits(s.jobs)
	return &trial{world: newWorld(s, r), pool: New(l), twin: newTwin(l), restored: New(l), auditor: newAuditor()}
}

func (t *trial) step(e Event) error {
	now := t.world.now
	t.story = append(t.story, fmt.Sprintf("at %v %v", now, e))
	got := t.pool.Step(now, e)
	want := t.twin.step(now, e)
	again := t.restored.Step(now, e)
	if !slices.Equal(got, want) {
		return fmt.Errorf("effects are %v, the twin's %v", got, want)
	}
	if !slices.Equal(got, again) {
		return fmt.Errorf("effects are %v, those of the restored pool %v", got, again)
	}
	if err := t.pool.CheckInvariants(); err != nil {
		return err
	}
	if err := t.auditor.book(t.pool, e, got); err != nil {
		return err
	}
	t.world.hear(got)
	return t.compare()
}

// compare looks at what can be seen from outside.
func (t *trial) compare() error {
	p := t.pool
	next, ok := p.Next()
	if at, any := t.twin.next(); at != next || any != ok {
		return fmt.Errorf("next is %v %t, the twin's %v %t", next, ok, at, any)
	}
	if at, any := t.restored.Next(); at != next || any != ok {
		return fmt.Errorf("next is %v %t, that of the restored pool %v %t", next, ok, at, any)
	}
	if p.Free() != t.twin.free() || p.Held() != t.twin.held() {
		return fmt.Errorf("free and held are %d and %d, the twin's %d and %d", p.Free(), p.Held(), t.twin.free(), t.twin.held())
	}
	if got, want := p.Armed(nil), t.twin.armed(); !slices.Equal(got, want) {
		return fmt.Errorf("polls of %v wait, of the twin's %v", got, want)
	}
	for _, c := range t.world.alive {
		h := t.world.handle(c)
		if p.Has(c) != (t.twin.find(c) != nil) || p.Polled(h) != t.twin.polled(h) {
			return fmt.Errorf("has client %d: %t, polls handle %d: %t, the twin the contrary of one", c, p.Has(c), h, p.Polled(h))
		}
	}
	if t.world.rand.IntN(8) > 0 {
		return nil
	}
	s := p.State()
	if got, want := plain(s), t.twin.snapshot(); !reflect.DeepEqual(got, want) {
		return fmt.Errorf("state is\n%+v, the twin's\n%+v", got, want)
	}
	if again := t.restored.State(); !reflect.DeepEqual(again, s) {
		return fmt.Errorf("state is\n%+v, that of the restored pool\n%+v", s, again)
	}
	if t.world.rand.IntN(64) == 0 {
		restored, err := Restore(s)
		if err != nil {
			return err
		}
		t.restored = restored
		return restored.CheckInvariants()
	}
	return nil
}

func (t *trial) run(steps int) error {
	for range steps {
		if err := t.step(t.world.event(t.pool)); err != nil {
			return err
		}
	}
	t.world.grants = nil
	if err := t.step(Event{Kind: Stop}); err != nil {
		return err
	}
	for range 10 {
		if err := t.step(t.world.event(t.pool)); err != nil {
			return fmt.Errorf("stopped: %w", err)
		}
	}
	return nil
}

// seed returns the number that the random schedules of a test start from, and logs it. TEST_SEED sets it.
func seed(t testing.TB) uint64 {
	t.Helper()
	n := rand.Uint64()
	if s := os.Getenv("TEST_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("TEST_SEED: %v", err)
		}
	}
	t.Logf("TEST_SEED=%d", n)
	return n
}

func TestTwin(t *testing.T) { runTwins(t, 50_000) }

func TestIntegrationTwin(t *testing.T) { runTwins(t, 1_050_000) }

// runTwins drives pool and twin through so many random steps.
func runTwins(t *testing.T, steps int) {
	const life = 1000 // steps of one schedule
	start := seed(t)
	for i, s := range shapes {
		t.Run(strings.ReplaceAll(s.name, " ", "_"), func(t *testing.T) {
			for n := range steps / len(shapes) / life {
				trial := newTrial(s, rand.New(rand.NewPCG(start, uint64(i)<<32+uint64(n))))
				if err := trial.run(life); err != nil {
					last := trial.story[max(0, len(trial.story)-20):]
					t.Fatalf("schedule %d, step %d: %v\nafter\n%s", n, len(trial.story), err, strings.Join(last, "\n"))
				}
			}
		})
	}
}

// TestTicksChangeNothing: a Tick that comes late makes no difference to what the next request brings about.
func TestTicksChangeNothing(t *testing.T) {
	start := seed(t)
	for i, s := range shapes {
		w := newWorld(s, rand.New(rand.NewPCG(start, uint64(i))))
		p, ticked := New(DefaultLimits(s.jobs)), New(DefaultLimits(s.jobs))
		for range 5000 {
			e := w.event(p)
			got := slices.Clone(p.Step(w.now, e))
			var want []Effect
			if slices.Contains([]EventKind{Acquire, Watch, Relay, Nest, Tick}, e.Kind) {
				want = slices.Clone(ticked.Step(w.now, Event{Kind: Tick}))
			}
			want = append(want, ticked.Step(w.now, e)...)
			if !slices.Equal(got, want) {
				t.Fatalf("%s: %v brings %v, after a tick %v", s.name, e, got, want)
			}
		}
	}
}
