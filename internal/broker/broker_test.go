package broker

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/pool"
)

// patience is how long a test waits for what must come soon, on a machine as busy as may be.
const patience = 20 * time.Second

// fakeFront gives the events that a test sends it, and tells the test each effect.
type fakeFront struct {
	t        *testing.T
	requests int // eventfd
	exits    int // eventfd
	events   chan pool.Event
	exited   chan pool.Client
	effects  chan pool.Effect
	busy     atomic.Bool // there is always one more request, which needs no decision
	fail     error       // of Next, once set by ends
	ends     atomic.Bool
	// follow is what Do returns for a Grant.
	follow func(pool.Effect) pool.Event
}

func newFakeFront(t *testing.T) *fakeFront {
	t.Helper()
	f := &fakeFront{
		t: t, events: make(chan pool.Event, 100), exited: make(chan pool.Client, 100), effects: make(chan pool.Effect, 100),
	}
	for _, fd := range []*int{&f.requests, &f.exits} {
		n, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(n) })
		*fd = n
	}
	return f
}

func (f *fakeFront) FDs() (requests, exits int) { return f.requests, f.exits }

func (f *fakeFront) Next() (pool.Event, bool, error) {
	if f.ends.Load() {
		return pool.Event{}, false, f.fail
	}
	drain(f.requests)
	select {
	case e := <-f.events:
		return e, true, nil
	default:
		return pool.Event{}, f.busy.Load(), nil
	}
}

func (f *fakeFront) Exited(dst []pool.Client) []pool.Client {
	drain(f.exits)
	for {
		select {
		case c := <-f.exited:
			dst = append(dst, c)
		default:
			return dst
		}
	}
}

func (f *fakeFront) Do(e pool.Effect) (pool.Event, error) {
	f.effects <- e
	if f.follow != nil && e.Kind == pool.Grant {
		return f.follow(e), nil
	}
	return pool.Event{}, nil
}

func drain(fd int) {
	var b [8]byte
	unix.Read(fd, b[:]) // EAGAIN if there was nothing
}

func signal(fd int) { unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// send makes the front have a request.
func (f *fakeFront) send(events ...pool.Event) {
	for _, e := range events {
		f.events <- e
	}
	signal(f.requests)
}

// wants fails the test unless these are the next effects.
func (f *fakeFront) wants(effects ...pool.Effect) {
	f.t.Helper()
	for _, want := range effects {
		select {
		case got := <-f.effects:
			if got != want {
				f.t.Fatalf("effect %v, want %v", got, want)
			}
		case <-time.After(patience):
			f.t.Fatalf("no effect, want %v", want)
		}
	}
}

// run starts a broker on the front; its Run has ended when the test has.
func run(t *testing.T, f *fakeFront, l pool.Limits, sample func() (float64, int64)) (b *Broker, ended <-chan error) {
	t.Helper()
	b, err := New(Config{Pool: pool.New(l), Front: f, Sample: sample})
	if err != nil {
		t.Fatal(err)
	}
	c := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		c <- b.Run()
		close(done)
	}()
	t.Cleanup(func() {
		b.Quit() // ErrEnded where the test was about that
		<-done
	})
	return b, c
}

func acquire(c pool.Client, t pool.Ticket, wait bool) pool.Event {
	return pool.Event{Kind: pool.Acquire, Client: c, Ticket: t, Wait: wait}
}

func TestExitFeedsWaiter(t *testing.T) {
	f := newFakeFront(t)
	b, _ := run(t, f, pool.DefaultLimits(1), nil)
	f.send(acquire(1, 1, false))
	f.wants(pool.Effect{Kind: pool.Grant, Client: 1, Ticket: 1})
	f.send(acquire(2, 2, true))
	if err := b.Inspect(func(p *pool.Pool) {
		if p.Held() != 1 {
			t.Errorf("%d held", p.Held())
		}
	}); err != nil {
		t.Fatal(err)
	}
	f.exited <- 1
	signal(f.exits)
	f.wants(pool.Effect{Kind: pool.Grant, Client: 2, Ticket: 2, Wait: true})
}

// TestTime: what only time brings comes without a request: the end of a moment for which a token was kept.
func TestTime(t *testing.T) {
	f := newFakeFront(t)
	run(t, f, pool.DefaultLimits(1), nil)
	f.send(
		acquire(1, 1, false),
		pool.Event{Kind: pool.Watch, Client: 2, Ticket: 2, Handle: 20, Wait: true},
		acquire(3, 3, true),
		pool.Event{Kind: pool.Return, Client: 1, Ticket: 4, N: 1},
	)
	f.wants(
		pool.Effect{Kind: pool.Grant, Client: 1, Ticket: 1},
		pool.Effect{Kind: pool.Readiness, Ticket: 2},
		pool.Effect{Kind: pool.Accept, Ticket: 4, N: 1},
		pool.Effect{Kind: pool.Wake, Client: 2, Handle: 20},
		pool.Effect{Kind: pool.Grant, Client: 3, Ticket: 3, Wait: true},
	)
}

// TestSample: the load is read while a limit needs it, again and again while it holds something back, and else not.
func TestSample(t *testing.T) {
	f := newFakeFront(t)
	var samples atomic.Int64
	var memory atomic.Int64
	sample := func() (float64, int64) {
		samples.Add(1)
		return 0, memory.Load()
	}
	limits := pool.DefaultLimits(1)
	limits.RecheckTimeout = pool.MinRecheckTimeout
	run(t, f, limits, sample)
	f.send(acquire(1, 1, false), pool.Event{Kind: pool.Return, Client: 1, Ticket: 2, N: 1})
	f.wants(pool.Effect{Kind: pool.Grant, Client: 1, Ticket: 1}, pool.Effect{Kind: pool.Accept, Ticket: 2, N: 1})
	if n := samples.Load(); n != 0 {
		t.Errorf("%d samples without a limit", n)
	}
	f.send(
		pool.Event{Kind: pool.Set, Ticket: 3, Mask: pool.FieldMinMemory | pool.FieldMinJobs, Limits: pool.Limits{MinMemory: 100}},
		acquire(1, 4, true),
	)
	f.wants(pool.Effect{Kind: pool.Changed, Ticket: 3})
	for end := time.Now().Add(patience); samples.Load() < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the limit is not looked at again")
		}
	}
	memory.Store(100)
	f.wants(pool.Effect{Kind: pool.Grant, Client: 1, Ticket: 4, Wait: true})
}

// TestFollow: an effect that could not be carried out is an event at once.
func TestFollow(t *testing.T) {
	f := newFakeFront(t)
	f.follow = func(e pool.Effect) pool.Event {
		if e.Ticket == 2 {
			return pool.Event{Kind: pool.Lost, Client: e.Client, N: 1}
		}
		return pool.Event{}
	}
	run(t, f, pool.DefaultLimits(1), nil)
	f.send(acquire(1, 1, false), acquire(2, 2, true), acquire(3, 3, true), pool.Event{Kind: pool.Return, Client: 1, Ticket: 4, N: 1})
	f.wants(
		pool.Effect{Kind: pool.Grant, Client: 1, Ticket: 1},
		pool.Effect{Kind: pool.Accept, Ticket: 4, N: 1},
		pool.Effect{Kind: pool.Grant, Client: 2, Ticket: 2, Wait: true},
		pool.Effect{Kind: pool.Grant, Client: 3, Ticket: 3, Wait: true},
	)
}

// TestBusy: requests without end keep neither exits nor calls nor timers waiting.
func TestBusy(t *testing.T) {
	f := newFakeFront(t)
	b, _ := run(t, f, pool.DefaultLimits(1), nil)
	f.busy.Store(true)
	f.send(acquire(1, 1, false), acquire(2, 2, true))
	f.wants(pool.Effect{Kind: pool.Grant, Client: 1, Ticket: 1})
	f.exited <- 1
	signal(f.exits)
	f.wants(pool.Effect{Kind: pool.Grant, Client: 2, Ticket: 2, Wait: true})
	if err := b.Inspect(func(*pool.Pool) {}); err != nil {
		t.Fatal(err)
	}
	f.send(
		pool.Event{Kind: pool.Watch, Client: 3, Ticket: 3, Handle: 30, Wait: true}, acquire(4, 4, true),
		pool.Event{Kind: pool.Return, Client: 2, Ticket: 5, N: 1},
	)
	f.wants(
		pool.Effect{Kind: pool.Readiness, Ticket: 3},
		pool.Effect{Kind: pool.Accept, Ticket: 5, N: 1},
		pool.Effect{Kind: pool.Wake, Client: 3, Handle: 30},
		pool.Effect{Kind: pool.Grant, Client: 4, Ticket: 4, Wait: true},
	)
}

func TestStopAndQuit(t *testing.T) {
	f := newFakeFront(t)
	b, ended := run(t, f, pool.DefaultLimits(1), nil)
	f.send(acquire(1, 1, false), acquire(2, 2, true))
	f.wants(pool.Effect{Kind: pool.Grant, Client: 1, Ticket: 1})
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	f.wants(pool.Effect{Kind: pool.Abort, Ticket: 2})
	f.send(acquire(2, 3, true)) // it still tells so
	f.wants(pool.Effect{Kind: pool.Abort, Ticket: 3})
	if err := b.Quit(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	for name, call := range map[string]func() error{
		"Stop": b.Stop, "Quit": b.Quit, "Inspect": func() error { return b.Inspect(func(*pool.Pool) {}) },
	} {
		if err := call(); !errors.Is(err, ErrEnded) {
			t.Errorf("%s of a broker that has ended: %v", name, err)
		}
	}
}

func TestFrontEnds(t *testing.T) {
	f := newFakeFront(t)
	f.fail = errors.New("the end")
	b, ended := run(t, f, pool.DefaultLimits(1), nil)
	f.ends.Store(true)
	signal(f.requests)
	if err := <-ended; !errors.Is(err, f.fail) {
		t.Errorf("Run: %v", err)
	}
	if err := b.Stop(); !errors.Is(err, ErrEnded) {
		t.Errorf("Stop: %v", err)
	}
}
