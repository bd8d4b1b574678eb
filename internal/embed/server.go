package embed

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/broker"
	"steve/internal/ctl"
	"steve/internal/pool"
	"steve/internal/proc"
)

const (
	// others is a client of the pool's that is no connection. It holds what is out in processes that have not said hello:
	// those that have not yet noticed that the last server died, and those that are stopped.
	others pool.Client = 1
	// recheck is how often somebody is looked for among the others who has died, while somebody else waits. It is also how
	// long a new server gives no slot of an ancestor to share: those who share one already may have yet to say so.
	recheck = 50 * time.Millisecond
	// maxAsked is how many requests of one client may be without an answer. Ours has one for each of its threads.
	maxAsked = 4096
	// maxAncestors bounds the walk up from a nested stevie: /proc is read on the thread that serves, some 20 µs a step.
	maxAncestors = 64
)

// A peer is one connection, and a client of the pool's.
type peer struct {
	client pool.Client
	fd     int
	pid    int  // 0 if it is in another pid namespace
	known  bool // has said hello
	// homeless: it shares the slot of an ancestor that has not said hello.
	homeless bool
	// dropped: nothing it sends counts any more.
	dropped bool
	asked   map[uint32]bool
	report  *ctl.Snapshot // of which it reads one page after the other
}

// A server is the broker's front: connections in place of a token file. It is used by the broker's thread.
type server struct {
	pool   *pool.Pool
	broker *broker.Broker
	locks  *locks
	jobs   int
	done   chan struct{} // closed when the broker has ended

	epoll, listener, timer int
	deaf                   bool         // out of descriptors: nobody new is listened to
	timed                  bool         // timer runs
	early                  bool         // the first recheck is to come
	rehouse                bool         // somebody homeless may have an ancestor now
	nests                  []pool.Event // that wait for it
	ready                  []unix.EpollEvent
	buffer                 []unix.EpollEvent
	events                 []pool.Event // that the pool must take before anything else
	peers                  map[pool.Client]*peer
	byFD                   map[int]*peer
	last                   pool.Client
	asked                  int // requests without an answer
	body                   []byte
	in                     [requestSize + 1]byte
}

// startServer starts a server of a pool of that many tokens. The caller must be the only one who starts.
func startServer(at place, l *locks, jobs int) (*server, error) {
	s := &server{
		pool: pool.New(pool.DefaultLimits(jobs)), locks: l, jobs: jobs, done: make(chan struct{}),
		epoll: -1, listener: -1, timer: -1, buffer: make([]unix.EpollEvent, 64),
		peers: map[pool.Client]*peer{}, byFD: map[int]*peer{}, last: others,
		early: l.out() > 0, // who has a slot to share holds a token
	}
	err := s.open(at)
	if err == nil {
		s.broker, err = broker.New(broker.Config{
			Pool: s.pool, Front: s,
			Sample: func() (float64, int64) { return 0, 0 }, // no limit needs it
		})
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.recount(0, 0)
	go func() {
		defer close(s.done)
		s.broker.Run() // an error ends the server, which its clients notice
		s.close()
	}()
	return s, nil
}

func (s *server) open(at place) (err error) {
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	if s.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return fmt.Errorf("timerfd_create: %w", err)
	}
	if err := s.watch(s.timer); err != nil {
		return err
	}
	if s.listener, err = at.listen(); err != nil {
		return err
	}
	return s.watch(s.listener)
}

func (s *server) watch(fd int) error {
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// stop ends the server. The socket stays.
func (s *server) stop() {
	s.broker.Quit()
	<-s.done
}

func (s *server) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// close closes the listener first: who notices the end of a connection must not find a server.
func (s *server) close() {
	for _, fd := range []int{s.listener, s.timer, s.epoll} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	for fd := range s.byFD {
		unix.Close(fd)
	}
}

// FDs are the descriptors to poll. A client that has ended is a request like others, and no descriptor tells it apart.
func (s *server) FDs() (requests, exits int) { return s.epoll, -1 }

// Exited appends nothing.
func (s *server) Exited(dst []pool.Client) []pool.Client { return dst }

// Next returns the next event, of kind 0 if there was none in what came, and false when nothing waits.
func (s *server) Next() (pool.Event, bool, error) {
	if len(s.events) == 0 && s.rehouse {
		s.house()
	}
	if len(s.events) == 0 {
		if len(s.ready) == 0 {
			n, err := unix.EpollWait(s.epoll, s.buffer, 0)
			if err != nil && err != unix.EINTR {
				return pool.Event{}, false, fmt.Errorf("epoll_wait: %w", err)
			}
			s.ready = s.buffer[:max(0, n)]
		}
		if len(s.ready) == 0 {
			return pool.Event{}, false, s.setTimer()
		}
		fd := int(s.ready[0].Fd)
		s.ready = s.ready[1:]
		if err := s.input(fd); err != nil {
			return pool.Event{}, false, err
		}
	}
	if len(s.events) == 0 {
		return pool.Event{}, true, nil
	}
	e := s.events[0]
	s.events = s.events[:copy(s.events, s.events[1:])]
	return e, true, nil
}

// setTimer has the others looked at again while they may keep something from somebody, and the listener if it failed.
func (s *server) setTimer() error {
	if s.timed || !s.early && !s.deaf && (s.asked == 0 || s.pool.Holds(others) == 0) {
		return nil
	}
	s.timed = true
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(recheck))}
	if err := unix.TimerfdSettime(s.timer, 0, &at, nil); err != nil {
		return fmt.Errorf("timerfd_settime: %w", err)
	}
	return nil
}

// input takes one message, connection, hang-up or expiry.
func (s *server) input(fd int) error {
	switch fd {
	case s.listener:
		return s.accept()
	case s.timer:
		var count [8]byte
		unix.Read(s.timer, count[:])
		s.timed = false
		s.recount(0, 0)
		s.admit()
		if s.deaf {
			s.deaf = false
			return s.watch(s.listener)
		}
		return nil
	}
	p := s.byFD[fd]
	n, err := unix.Read(fd, s.in[:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil || n == 0:
		return s.hangUp(p)
	case p.dropped:
		return nil
	}
	r, err := parseRequest(s.in[:n])
	if err == nil {
		err = s.request(p, r)
	}
	if err == errFormat {
		s.drop(p)
		return nil
	}
	return err
}

// admit lets those wait for a slot who came too early for one.
func (s *server) admit() {
	s.early = false
	for _, e := range s.nests {
		if p := s.peers[e.Client]; p != nil {
			e.Under = s.ancestors(p) // which may have said hello meanwhile
			s.events = append(s.events, e)
		}
	}
	s.nests = nil
}

func (s *server) accept() error {
	fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch err {
	case nil:
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		// It would be readable for ever. Those who come wait for the next recheck.
		s.deaf = true
		return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_DEL, s.listener, nil)
	default:
		return nil // the client is gone
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err == nil {
		err = s.watch(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil
	}
	s.last++
	p := &peer{client: s.last, fd: fd, pid: int(cred.Pid), asked: map[uint32]bool{}}
	s.peers[p.client], s.byFD[fd] = p, p
	if int(cred.Uid) != os.Geteuid() {
		s.send(p, answer{kind: refused})
		s.drop(p)
	}
	return nil
}

// drop makes p hang up. It is not done at once, as the pool may be in the middle of a step.
func (s *server) drop(p *peer) {
	p.dropped = true
	unix.Shutdown(p.fd, unix.SHUT_RDWR)
}

// hangUp takes the end of a connection. Its process has ended, or not: then the tokens go to the others.
func (s *server) hangUp(p *peer) error {
	// To close it is not enough: while this process starts another one that has a copy, until it executes its program, and
	// the connection would be heard of once more.
	unix.EpollCtl(s.epoll, unix.EPOLL_CTL_DEL, p.fd, nil)
	unix.Close(p.fd)
	delete(s.byFD, p.fd)
	delete(s.peers, p.client)
	s.asked -= len(p.asked)
	s.recount(p.client, 0)
	s.events = append(s.events, pool.Event{Kind: pool.Exit, Client: p.client})
	return nil
}

// request takes one message.
func (s *server) request(p *peer, r request) error {
	if r.kind == report {
		return s.report(p, int(r.n))
	}
	if p.known == (r.kind == hello) {
		return errFormat
	}
	if r.kind.asks() {
		if p.asked[r.ticket] || r.ticket == 0 || len(p.asked) == maxAsked {
			return errFormat
		}
		p.asked[r.ticket] = true
		s.asked++
	}
	e := pool.Event{Client: p.client, Ticket: pool.Ticket(p.client)<<32 | pool.Ticket(r.ticket)}
	switch r.kind {
	case hello:
		s.hello(p, r)
		return nil
	case take:
		e.Kind, e.Wait = pool.Acquire, true
	case nest:
		if p.homeless {
			return errFormat // it has said that it has one
		}
		e.Kind = pool.Nest
		if s.early {
			s.nests = append(s.nests, e)
			return nil
		}
		e.Under = s.ancestors(p)
	case relay:
		e.Kind, e.N, e.Wait, e.Idle, e.Less, e.Now = pool.Relay, r.ask.Want, r.ask.Wait, r.ask.Idle, r.ask.Less, r.ask.Now
	case status:
		s.answer(p, answer{kind: told, ticket: r.ticket, status: s.status()})
		return nil
	case leave:
		p.homeless = false
		e.Kind, e.Ticket = pool.Leave, 0
	case giveBack, lost:
		holds := s.pool.Holds(p.client)
		if int(r.n) > holds {
			return errFormat
		}
		e.Kind, e.Ticket, e.N = pool.Return, 0, int(r.n)
		if r.kind == lost {
			s.recount(p.client, holds-int(r.n))
		}
	}
	s.events = append(s.events, e)
	return nil
}

// hello takes what a client brings along from the last server.
func (s *server) hello(p *peer, r request) {
	p.known, p.homeless, s.rehouse = true, r.ticket != 0, true
	s.send(p, answer{kind: welcome, n: uint64(s.jobs)})
	if r.n > 0 {
		// What is beyond the pool's size stays with the others.
		s.recount(p.client, min(int(r.n), s.jobs))
	}
}

// ancestors are the nearest ancestors of p that have slots here.
func (s *server) ancestors(p *peer) (under [pool.MaxUnder]pool.Client) {
	pids := proc.Root.Ancestors(p.pid, maxAncestors)
	found := make([]pool.Client, len(pids))
	for _, o := range s.peers {
		if i := slices.Index(pids, o.pid); i >= 0 && s.pool.Slots(o.client) > 0 {
			found[i] = o.client
		}
	}
	copy(under[:], slices.DeleteFunc(found, func(c pool.Client) bool { return c == 0 }))
	return under
}

func (s *server) status() ctl.Status {
	return ctl.Status{
		Limits: s.pool.Limits(), Free: s.pool.Free(), Held: s.pool.Held(),
		Holders: s.pool.Holders(), Waiters: s.pool.Waiters(),
	}
}

// Do carries out one effect.
func (s *server) Do(f pool.Effect) (pool.Event, error) {
	p, a := s.peers[pool.Client(f.Ticket>>32)], answer{ticket: uint32(f.Ticket)}
	if p == nil || !p.asked[a.ticket] {
		return pool.Event{}, nil // it has hung up, or wanted no answer
	}
	switch f.Kind {
	case pool.Grant:
		a.kind = taken
	case pool.Nested:
		a.kind, a.n = nested, uint64(f.N)
	case pool.Relayed:
		a.kind, a.relay = relayed, ctl.RelayAnswer{Tokens: f.N, Wanted: f.Wanted, Less: f.Less}
	default:
		a.kind = invalid
	}
	s.answer(p, a)
	return pool.Event{}, nil
}

func (s *server) answer(p *peer, a answer) {
	delete(p.asked, a.ticket)
	s.asked--
	s.send(p, a)
}

// send sends a. A client that does not read what it has asked for is dropped; what was granted to it is back then.
func (s *server) send(p *peer, a answer) {
	s.body = appendAnswer(s.body[:0], a)
	s.sendBody(p)
}

func (s *server) sendBody(p *peer) {
	if err := unix.Sendto(p.fd, s.body, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil); err != nil {
		s.drop(p)
	}
}
