// Package embed is the pool of tokens that a user's stevies share where there is no steve. One of them serves the others
// over a socket; when it ends, another takes over.
//
// The rules are those of pool, stepped by broker, as in steve. What belongs here is the socket in place of a token file,
// and how the pool outlives its server: the tokens themselves are record locks (fcntl(2), F_SETLK) on one file. A client
// that is granted one locks a byte, and holds the token as long as the lock: whatever a server that was killed had
// counted, never more tokens are out than there are bytes, and those of a process that has died are back, by the kernel's
// doing. The server's ledger is only who gets the next one.
package embed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// Names of the files in the directory. Stevies that would not understand each other have other ones, by the number.
const (
	lockName   = "stevie-pool.1.lock"
	socketName = "stevie-pool.1.socket"
)

// ErrClosed is returned for a call to a pool that is closed.
var ErrClosed = errors.New("the pool is closed")

// A Pool is this process's membership in the pool that its user's processes share. Tokens taken are this process's.
//
// That the server ends is no concern of a caller: what it waits for is asked again of the next one, which may be
// this process.
type Pool struct {
	id    directory
	place place
	locks *locks
	want  int // jobs of a pool that has to be made

	welcomed chan struct{} // closed when a server has answered for the first time
	done     chan struct{} // closed when nothing runs any more

	mu      sync.Mutex // guards all below
	jobs    int        // tokens of the pool, 0 before the first server answered
	conn    *conn      // nil while there is no server
	served  *server    // here
	calls   map[uint32]*call
	last    uint32        // ticket given
	shares  bool          // the slot of an ancestor
	elected chan struct{} // not nil: it is being found out who serves, until it is closed
	resume  chan struct{} // not nil: serve nothing until it is closed
	paused  chan struct{} // closed when nothing is served because of resume
	err     error         // ends all calls
}

// A call is a request without an answer yet.
type call struct {
	request request
	answer  chan answer
}

// directory is what is the same for every path to a directory.
type directory struct{ dev, ino uint64 }

// memberships are the directories whose pool this process is a member of. To open the lock file a second time would do no harm,
// but to close it would drop all locks (fcntl(2)).
var memberships = struct {
	sync.Mutex
	dirs map[directory]bool
}{dirs: map[directory]bool{}}

// Join joins the pool that this user's processes share by way of the directory dir, which is made if need be and must be
// the user's alone. If nobody serves it, this process does. jobs is the number of tokens of a pool that has to be made,
// 1 to pool.MaxJobs: one that has a member already keeps its size, see Jobs.
//
// A process can be one member of a pool at a time, and must not open the files of the pool by other ways.
func Join(dir string, jobs int) (*Pool, error) {
	if err := pool.DefaultLimits(jobs).Validate(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := ctl.Private(dir); err != nil {
		return nil, err
	}
	p := &Pool{
		want: jobs, calls: map[uint32]*call{},
		welcomed: make(chan struct{}), done: make(chan struct{}),
	}
	if err := p.open(dir); err != nil {
		return nil, err
	}
	if err := p.attach(); err != nil {
		p.end(err)
		return nil, err
	}
	go p.run()
	select {
	case <-p.welcomed:
		return p, nil
	case <-p.done:
		return nil, p.err
	}
}

// open opens the files of the pool in dir.
func (p *Pool) open(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	p.id = directory{stat.Dev, stat.Ino}
	memberships.Lock()
	defer memberships.Unlock()
	if memberships.dirs[p.id] {
		return fmt.Errorf("this process is a member of the pool in %s already", dir)
	}
	if p.place, err = openPlace(dir); err != nil {
		return err
	}
	if p.locks, err = openLocks(filepath.Join(dir, lockName)); err != nil {
		p.place.close()
		return err
	}
	memberships.dirs[p.id] = true
	return nil
}

// end ends the pool because of err. It runs where attach and run do.
func (p *Pool) end(err error) {
	p.fail(err)
	p.stopServing()
	p.mu.Lock()
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
	p.mu.Unlock()
	p.place.close()
	// The locks are the tokens, and end with the file.
	if p.locks.held() == 0 {
		p.locks.close()
		memberships.Lock()
		delete(memberships.dirs, p.id)
		memberships.Unlock()
	}
	close(p.done)
}

// fail makes err the end of all calls, unless there was one before.
func (p *Pool) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed(err)
}

// failed is fail for a caller that holds mu.
func (p *Pool) failed(err error) {
	if p.err != nil {
		return
	}
	p.err = err
	for _, c := range p.calls {
		close(c.answer)
	}
	clear(p.calls)
}

// Close leaves the pool, and ends all calls with ErrClosed. If this process serves it, another will. Tokens taken stay with
// this process until it ends; without any, it may Join again.
func (p *Pool) Close() error {
	p.fail(ErrClosed)
	p.mu.Lock()
	if p.conn != nil {
		p.conn.Close()
	}
	if p.resume != nil {
		close(p.resume)
		p.resume = nil
	}
	electing := p.elected != nil
	p.mu.Unlock()
	if !electing { // that may take long, see elect
		<-p.done
	}
	return nil
}

// Pause makes sure that this process can be stopped (SIGSTOP) without stopping the rest: what it serves it hands over to
// another, and it serves nothing until Resume. Until then calls may wait. Tokens stay with this process.
func (p *Pool) Pause() {
	p.mu.Lock()
	if p.err != nil || p.resume != nil {
		p.mu.Unlock()
		return
	}
	paused := make(chan struct{})
	p.resume, p.paused = make(chan struct{}), paused
	if elected := p.elected; elected != nil {
		p.mu.Unlock()
		<-elected
		p.mu.Lock()
	}
	serves := p.served != nil && p.resume != nil // or it was resumed meanwhile
	if serves && p.conn != nil {
		p.conn.Close()
	}
	p.mu.Unlock()
	if serves {
		select {
		case <-paused:
		case <-p.done:
		}
	}
}

// Resume ends a Pause.
func (p *Pool) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resume != nil {
		close(p.resume)
		p.resume = nil
	}
}

// Jobs is the number of tokens of the pool.
func (p *Pool) Jobs() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.jobs
}

// Server is the process that serves the pool, or 0 while there is none or it is in another pid namespace.
func (p *Pool) Server() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return 0
	}
	return p.conn.peer
}

// Take takes one token, waiting for it.
func (p *Pool) Take() error {
	_, err := p.call(request{kind: take})
	return err
}

// Return gives n tokens back; ENOSPC where this process has not as many. It needs no server.
func (p *Pool) Return(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n < 0 || n > p.locks.held() {
		return fmt.Errorf("return %d tokens: %w", n, syscall.ENOSPC)
	}
	// First the lock: the server may give the token to somebody as soon as it hears of it.
	if err := p.locks.giveBack(n); err != nil {
		return err
	}
	p.send(request{kind: giveBack, n: uint64(n)})
	return nil
}

// Nest waits for a slot to run one command in: an ancestor's, which Leave gives up, or else a token, which Return does.
// An ancestor that holds tokens has as many slots. Only one slot can be shared, or waited for, at a time.
func (p *Pool) Nest() (shared bool, err error) {
	a, err := p.call(request{kind: nest})
	return err == nil && a.n == 0, err
}

// Leave gives up the slot of an ancestor process.
func (p *Pool) Leave() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shares {
		return fmt.Errorf("leave: %w", syscall.EINVAL)
	}
	p.shares = false
	p.send(request{kind: leave})
	return nil
}

// Relay asks what there is for a relay. A second call, from another goroutine, makes the first return.
func (p *Pool) Relay(ask ctl.RelayAsk) (ctl.RelayAnswer, error) {
	a, err := p.call(request{kind: relay, ask: ask})
	return a.relay, err
}

// Status asks for settings and counts, of one moment.
func (p *Pool) Status() (ctl.Status, error) {
	a, err := p.call(request{kind: status})
	return a.status, err
}

// call asks, and waits for the answer.
func (p *Pool) call(r request) (answer, error) {
	c := &call{request: r, answer: make(chan answer, 1)}
	p.mu.Lock()
	if p.err != nil {
		defer p.mu.Unlock()
		return answer{}, p.err
	}
	for c.request.ticket == 0 || p.calls[c.request.ticket] != nil {
		p.last++
		c.request.ticket = p.last
	}
	p.calls[c.request.ticket] = c
	p.send(c.request)
	p.mu.Unlock()
	a, ok := <-c.answer
	switch {
	case !ok:
		p.mu.Lock()
		defer p.mu.Unlock()
		return answer{}, p.err
	case a.kind == invalid:
		return answer{}, fmt.Errorf("%v: %w", r.kind, syscall.EINVAL)
	}
	return a, nil
}

// send sends r, if there is a server. If there is none, or it dies, whatever matters is said to the next: what this process
// holds, and the calls. The caller holds mu.
func (p *Pool) send(r request) {
	if p.conn != nil {
		p.conn.send(r)
	}
}

// tickets are those of the calls, oldest first. The caller holds mu.
func (p *Pool) tickets() []uint32 {
	all := make([]uint32, 0, len(p.calls))
	for t := range p.calls {
		all = append(all, t)
	}
	// By distance, so that a wrap around changes no order.
	slices.SortFunc(all, func(a, b uint32) int { return int(int64(p.last-b) - int64(p.last-a)) })
	return all
}

var _ ctl.Server = (*Pool)(nil)
