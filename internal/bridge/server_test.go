package bridge

import (
	"errors"
	"sync"
	"testing"
	"time"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// A machine is a pool with its clients in this process: what a steve is, without its token file.
type machine struct {
	mu      sync.Mutex
	pool    *pool.Pool
	began   time.Time
	timer   *time.Timer
	waiting map[pool.Ticket]chan pool.Effect
	ticket  pool.Ticket
	clients pool.Client
	dead    bool
}

func newMachine(t testing.TB, jobs int) *machine {
	m := &machine{
		began: time.Now(), waiting: map[pool.Ticket]chan pool.Effect{},
		pool: pool.New(pool.Limits{Jobs: jobs, MinJobs: 1, RecheckTimeout: time.Second}),
	}
	m.timer = time.AfterFunc(time.Hour, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.step(pool.Event{Kind: pool.Tick})
	})
	if t != nil {
		t.Cleanup(m.stop)
	}
	return m
}

// step is called with mu held.
func (m *machine) step(e pool.Event) {
	for _, f := range m.pool.Step(time.Since(m.began), e) {
		if f.Ticket == 0 {
			continue
		}
		m.waiting[f.Ticket] <- f
		delete(m.waiting, f.Ticket)
	}
	if at, ok := m.pool.Next(); ok {
		m.timer.Reset(time.Until(m.began.Add(at)))
	} else {
		m.timer.Stop()
	}
}

var errStopped = errors.New("the server has stopped")

func (m *machine) ask(e pool.Event) (pool.Effect, error) {
	answer := make(chan pool.Effect, 1)
	m.mu.Lock()
	if m.dead {
		m.mu.Unlock()
		return pool.Effect{}, errStopped
	}
	m.ticket++
	e.Ticket = m.ticket
	m.waiting[e.Ticket] = answer
	m.step(e)
	m.mu.Unlock()
	f := <-answer
	if f.Kind == pool.Abort || f.Kind == pool.Excess || f.Kind == pool.Interrupt {
		return f, errStopped
	}
	return f, nil
}

// stop ends all waits, and the service.
func (m *machine) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dead {
		m.dead = true
		m.step(pool.Event{Kind: pool.Stop})
	}
}

// free is the number of tokens that nobody holds.
func (m *machine) free() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pool.Free()
}

// A member is one client of a machine.
type member struct {
	*machine
	id pool.Client
}

var _ ctl.Server = (*member)(nil)

func (m *machine) join() *member {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients++
	return &member{m, m.clients}
}

func (c *member) Take() error {
	_, err := c.ask(pool.Event{Kind: pool.Acquire, Client: c.id, Wait: true})
	return err
}

func (c *member) Return(n int) error {
	_, err := c.ask(pool.Event{Kind: pool.Return, Client: c.id, N: n})
	return err
}

func (c *member) Relay(q ctl.RelayAsk) (ctl.RelayAnswer, error) {
	f, err := c.ask(pool.Event{Kind: pool.Relay, Client: c.id, N: q.Want, Wait: q.Wait, Idle: q.Idle, Less: q.Less, Now: q.Now})
	return ctl.RelayAnswer{Tokens: f.N, Wanted: f.Wanted, Less: f.Less}, err
}

func (c *member) Nest() (bool, error)         { panic("a bridge needs no slot") }
func (c *member) Leave() error                { panic("a bridge has no slot") }
func (c *member) Status() (ctl.Status, error) { panic("a bridge does not ask for the status") }
func (c *member) Close() error                { return nil }

// held is the number of tokens on the ledger of c.
func (c *member) held() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pool.Holds(c.id)
}

// waiters is the number of clients that wait.
func (m *machine) waiters() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pool.Waiters()
}

// hung is a server that answers once, and then never.
type hung struct{ ctl.Server }

func (hung) Relay(q ctl.RelayAsk) (ctl.RelayAnswer, error) {
	if q.Now {
		return ctl.RelayAnswer{}, nil
	}
	select {}
}
