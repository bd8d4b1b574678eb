// Package broker is the one thread that owns a pool.Pool: it reads events from a front, steps the pool, and has the front
// carry out the effects. Exits of processes, timers and calls from other goroutines reach it between two requests.
//
// It decides nothing, and knows no errno and no process id.
package broker

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/journal"
	"steve/internal/pool"
)

// A Front is where events come from and effects go. Its methods are called on the broker's thread only, and none blocks.
type Front interface {
	// FDs are descriptors to poll: one that is readable when Next has something, one when Exited has, or -1 if it never has.
	FDs() (requests, exits int)
	// Next returns the next event, of kind 0 if that request needed no decision, and false when none waits.
	// An error ends the broker.
	Next() (e pool.Event, more bool, err error)
	// Exited appends the clients that have ended since it was last called.
	Exited(dst []pool.Client) []pool.Client
	// Do carries out one effect and returns the event that follows if it could not, else one of kind 0.
	Do(pool.Effect) (pool.Event, error)
}

// batch is how many requests are served before exits, timers and calls get their turn, so that a client that asks without
// pause delays them by some hundred microseconds at most.
const batch = 64

// Config is what a Broker is made of.
type Config struct {
	Pool  *pool.Pool
	Front Front
	// Sample reads the load average and MemAvailable in MiB. It is called on the broker's thread, at most once in each
	// Limits.RecheckTimeout, and only while a limit needs it.
	Sample func() (load float64, memory int64)
	// Observe is told each event and its effects, before they are carried out; nil for nobody. It must not block.
	Observe func(now time.Duration, e pool.Event, effects []pool.Effect)
	// Journal has each event before it is acted upon; nil where the pool is to end with the process.
	Journal *Journal
	// First are events to step before anything else, which follow from the last one in the Journal.
	First []pool.Event
}

// A Broker serves one pool to one front.
type Broker struct {
	pool    *pool.Pool
	front   Front
	sample  func() (float64, int64)
	observe func(time.Duration, pool.Event, []pool.Effect)
	journal *Journal

	start  time.Time     // a reading of the clock,
	offset time.Duration // and the machine's monotonic clock at that time
	floor  time.Duration // the pool's time at the beginning

	exited []pool.Client
	follow []pool.Event // an event, and those of its effects that could not be carried out
	events [sources]unix.EpollEvent
	quit   bool
	err    error // ends Run

	wakeup int // eventfd: calls is not empty
	epoll  int // of everything to wait for, while it runs

	mu    sync.Mutex // guards calls and ended
	calls []func()
	ended bool // no call will be made any more
}

// New returns a Broker that has yet to Run.
func New(c Config) (*Broker, error) {
	wakeup, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	var clock unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &clock); err != nil {
		return nil, fmt.Errorf("clock_gettime: %w", err)
	}
	return &Broker{
		pool: c.Pool, front: c.Front, sample: c.Sample, observe: c.Observe, journal: c.Journal, wakeup: wakeup,
		start: time.Now(), offset: time.Duration(clock.Nano()), floor: c.Pool.Now(), follow: c.First,
	}, nil
}

// ErrEnded is returned for a call to a broker whose Run has returned.
var ErrEnded = errors.New("the broker has ended")

// Inspect calls f with the pool as it is now, on the broker's thread, and returns when it has. f must not keep the pool,
// nor step it.
func (b *Broker) Inspect(f func(*pool.Pool)) error {
	return b.call(func() {
		b.step(pool.Event{Kind: pool.Tick}, false)
		f(b.pool)
	})
}

// Stop ends every wait and gives nothing any more. Run goes on, and tells so to whoever asks.
func (b *Broker) Stop() error { return b.call(func() { b.step(pool.Event{Kind: pool.Stop}, false) }) }

// Quit makes Run return, between two events: all that was asked and is answered has its answer, and nothing is begun.
func (b *Broker) Quit() error { return b.call(func() { b.quit = true }) }

// call runs f on the broker's thread.
func (b *Broker) call(f func()) error {
	done := make(chan struct{})
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return ErrEnded
	}
	b.calls = append(b.calls, func() { f(); close(done) })
	// EAGAIN would mean that 2^64 - 2 wake-ups are pending: it is awake.
	unix.Write(b.wakeup, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	b.mu.Unlock()
	<-done
	return nil
}

func (b *Broker) runCalls() {
	var count [8]byte
	unix.Read(b.wakeup, count[:])
	b.mu.Lock()
	calls := b.calls
	b.calls = nil
	b.mu.Unlock()
	for _, f := range calls {
		f()
	}
}

// Run serves until Quit, or until the front ends with an error, which it returns. It must be called once.
func (b *Broker) Run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.serve()
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	b.runCalls()
	unix.Close(b.wakeup) // nobody writes to it: ended is set
	return b.err
}

func (b *Broker) serve() {
	if b.err = b.watch(); b.err != nil {
		return
	}
	defer unix.Close(b.epoll)
	b.followUp()
	b.exits() // some may have ended before there was a descriptor to poll
	for !b.quit && b.err == nil {
		more := b.requests()
		if b.err != nil {
			return
		}
		b.journal.trim(b.pool)
		b.wait(more)
	}
}

// What a descriptor of the epoll is readable for, as its event says.
const (
	forRequests = iota
	forExits
	forCalls
	sources
)

// watch opens the epoll: unlike ppoll(2), it is woken without having gone to each descriptor before and after.
func (b *Broker) watch() error {
	var err error
	if b.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	requests, exits := b.front.FDs()
	for source, fd := range [sources]int{forRequests: requests, forExits: exits, forCalls: b.wakeup} {
		if fd < 0 {
			continue
		}
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(source)}
		if err := unix.EpollCtl(b.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			unix.Close(b.epoll)
			return os.NewSyscallError("epoll_ctl", err)
		}
	}
	return nil
}

func (b *Broker) exits() {
	b.exited = b.front.Exited(b.exited[:0])
	for _, c := range b.exited {
		b.step(pool.Event{Kind: pool.Exit, Client: c}, false)
	}
}

// requests serves a batch of them and returns whether there may be more.
func (b *Broker) requests() bool {
	for range batch {
		e, more, err := b.front.Next()
		if err != nil {
			b.err = err
		}
		if !more || b.err != nil {
			return false
		}
		if e.Kind == 0 {
			b.journal.received()
			continue
		}
		b.step(e, true)
	}
	return true
}

// wait returns when a descriptor was readable, or the pool's time has come, and that is dealt with, but for requests. If busy
// it does not wait, but looks.
func (b *Broker) wait(busy bool) {
	at, timed := b.pool.Next()
	timeout := -1
	switch {
	case busy:
		timeout = 0
	case timed:
		timeout = int((max(0, at-b.now()) + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(b.epoll, b.events[:], timeout)
	if err != nil && err != unix.EINTR {
		b.err = os.NewSyscallError("epoll_wait", err)
		return
	}
	if timed && b.now() >= at {
		b.step(pool.Event{Kind: pool.Tick}, false)
	}
	for i := range max(0, n) {
		switch b.events[i].Fd {
		case forExits:
			b.exits()
		case forCalls:
			b.runCalls()
		}
	}
}

// step has the pool take e, and what follows from it, and carries out all that is asked. Requested says that e is what a
// request means.
func (b *Broker) step(e pool.Event, requested bool) {
	now := b.now()
	if b.pool.Stale(now) {
		load, memory := b.sample()
		b.follow = b.follow[:0]
		b.apply(journal.KindEvent, now, pool.Event{Kind: pool.Sample, Load: load, Memory: memory}, false)
		b.followUp()
		now = b.now()
	}
	b.follow = b.follow[:0]
	b.apply(journal.KindEvent, now, e, requested)
	b.followUp()
}

// followUp steps what follows from the effects of the last event, and what follows from that.
func (b *Broker) followUp() {
	for i := 0; i < len(b.follow); i++ {
		b.apply(journal.KindFollow, b.now(), b.follow[i], false)
	}
}

func (b *Broker) apply(k journal.Kind, now time.Duration, e pool.Event, requested bool) {
	if b.err != nil {
		return
	}
	b.journal.event(k, now, e)
	if requested {
		b.journal.received()
	}
	effects := b.pool.Step(now, e)
	if b.observe != nil {
		b.observe(now, e, effects)
	}
	for _, f := range effects {
		next, err := b.front.Do(f)
		if err != nil {
			b.err = err
			return
		}
		if next.Kind != 0 {
			b.follow = append(b.follow, next)
		}
	}
}

// now is the monotonic clock of the machine, so that the times of a pool mean the same to another process. Between the two
// readings that it is made of this process may have slept, and the pool's time must not go back.
func (b *Broker) now() time.Duration { return max(b.floor, b.offset+time.Since(b.start)) }
