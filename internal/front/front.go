// Package front is what the transports share: it turns requests on a token file into events for the pool, and the pool's
// effects into replies. How a token file comes to be is for front/cuse and front/file.
//
// A Server answers by itself what needs no decision: opens, the questions of stevie, what a file system is asked besides.
// Every READ, WRITE and POLL is the pool's to decide. All of it runs on one thread.
package front

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"

	"steve/internal/ctl"
	"steve/internal/fuseconn"
	"steve/internal/fusewire"
	"steve/internal/journal"
	"steve/internal/pool"
	"steve/internal/proc"
)

// An Other answers the requests that only one transport knows.
type Other interface {
	// Answer returns false for a request that it does not know either.
	Answer(*fuseconn.Conn, fusewire.Request) (known bool, err error)
	// Facts and Restore are its part of those of the Server. Restore ignores facts that are not its own.
	Facts(note func(journal.Fact))
	Restore(journal.Fact)
}

// Config is what a Server is made of.
type Config struct {
	Conn *fuseconn.Conn
	// FD is the descriptor under Conn, to be polled.
	FD int
	// OpenFlags are for the answer to every OPEN.
	OpenFlags fusewire.OpenReplyFlags
	// Other may be nil.
	Other Other
	// Pool is only looked at: events reach it through the Server's owner.
	Pool *pool.Pool
	// Note is told what Restore will need, before the event that relies on it; nil for nobody.
	Note func(journal.Fact)
	// About is answered to who asks what serves; it may be nil.
	About func() ctl.About
	// Log must not block: it is called on the thread that serves.
	Log *slog.Logger
}

// A Server serves one token file. It is used by one thread.
type Server struct {
	conn      *fuseconn.Conn
	fd        int
	openFlags fusewire.OpenReplyFlags
	other     Other
	pool      *pool.Pool
	procs     *proc.Table
	note      func(journal.Fact)
	about     func() ctl.About
	log       *slog.Logger

	lastFh    uint64
	first     uint64                   // open files before it are older than the pool
	polled    map[uint64]pool.Handle   // by fh, the open files that were ever polled
	reports   map[uint64]*ctl.Snapshot // by fh, those not yet read to their end
	forgotten []pool.Client            // by procs, not yet told to the pool
	exited    []proc.Exit
	body      []byte

	unfinished *fusewire.Request // was read by another server, and is to be served next
	orphans    bool              // requests that another server read are to be failed
	sleepers   bool              // open files that another server was to wake are to be woken
	// What was logged, so that a client that asks again and again fills no log: unseen for good, short until a process
	// could be watched again.
	unseen, short bool
}

// New returns a Server on an established connection.
func New(c Config) (*Server, error) {
	s := &Server{
		conn: c.Conn, fd: c.FD, openFlags: c.OpenFlags, other: c.Other, pool: c.Pool, note: c.Note, about: c.About, log: c.Log,
		// The numbers of open files go on from the clock: they stay unique over all servers of a connection, as none opens
		// one in a nanosecond.
		lastFh: uint64(monotonic()),
		polled: map[uint64]pool.Handle{}, reports: map[uint64]*ctl.Snapshot{},
		body: make([]byte, 0, 256),
	}
	options := proc.Options{
		InUse:  func(id proc.ID) bool { return s.pool.Knows(pool.Client(id)) },
		Forget: func(id proc.ID) { s.forgotten = append(s.forgotten, pool.Client(id)) },
	}
	if s.note == nil {
		s.note = func(journal.Fact) {}
	} else {
		options.Note = func(p proc.Process) { s.note(processFact(p)) }
	}
	procs, err := proc.NewTable(options)
	if err != nil {
		return nil, err
	}
	s.procs = procs
	return s, nil
}

// Close closes what New opened, not the connection.
func (s *Server) Close() error { return s.procs.Close() }

// FDs are the descriptors that poll readable when Next, and when Exited, has something.
func (s *Server) FDs() (requests, exits int) { return s.fd, s.procs.FD() }

// PID is the process id of a client, while it is known.
func (s *Server) PID(c pool.Client) (int, bool) { return s.procs.PID(proc.ID(c)) }

// Exited appends to dst the clients that have ended since it was last called.
func (s *Server) Exited(dst []pool.Client) []pool.Client {
	s.exited = s.procs.Exited(s.exited[:0])
	for _, e := range s.exited {
		c := pool.Client(e.ID)
		if held := s.pool.Holds(c); held > 0 {
			s.log.Info("a process ended without returning its tokens, they are back in the pool", "pid", e.PID, "tokens", held)
		}
		dst = append(dst, c)
	}
	return dst
}

// Next reads one request. It returns the event it means, of kind 0 where it was answered here, and false when no request
// waits. The error fuseconn.ErrEnd says that the file is gone; others are not expected to get better.
func (s *Server) Next() (e pool.Event, more bool, err error) {
	var req fusewire.Request
	if s.unfinished != nil { // first, as long as it is written down nowhere but where it was read to
		req, s.unfinished = *s.unfinished, nil
	} else if n := len(s.forgotten); n > 0 {
		e = pool.Event{Kind: pool.Forget, Client: s.forgotten[n-1]}
		s.forgotten = s.forgotten[:n-1]
		return e, true, nil
	} else if req, err = s.conn.Next(); errors.Is(err, fuseconn.ErrEmpty) {
		return pool.Event{}, false, nil
	} else if err != nil {
		return pool.Event{}, false, err
	}
	if s.orphans && req.Opcode != fusewire.OpInterrupt { // which has the number of the request that it is about
		if err := s.interruptOrphans(req.Unique); err != nil {
			return pool.Event{}, false, err
		}
	}
	e, err = s.event(req)
	if err != nil && !errors.Is(err, fuseconn.ErrGone) {
		return pool.Event{}, false, err
	}
	return e, true, nil
}

// event answers req or says what it means to the pool.
func (s *Server) event(req fusewire.Request) (pool.Event, error) {
	none := pool.Event{}
	switch req.Opcode {
	case fusewire.OpRead:
		return s.read(req)
	case fusewire.OpWrite:
		return s.write(req)
	case fusewire.OpPoll:
		return s.poll(req)
	case fusewire.OpIoctl:
		return s.ioctl(req)
	case fusewire.OpInterrupt:
		in, err := fusewire.ParseInterrupt(req.Body)
		if err != nil {
			return none, s.conn.Refuse(req)
		}
		if s.pool.Pending(pool.Ticket(in.Unique)) {
			return pool.Event{Kind: pool.Cancel, Ticket: pool.Ticket(in.Unique)}, nil
		}
		if s.first != 0 && s.conn.Fail(in.Unique, syscall.EINTR) == nil {
			return none, nil // another server had read it
		}
		return none, s.conn.Again(req.Unique)
	case fusewire.OpOpen:
		return none, s.open(req)
	case fusewire.OpRelease:
		in, err := fusewire.ParseRelease(req.Body)
		if err != nil {
			return none, s.conn.Refuse(req)
		}
		delete(s.reports, in.Fh)
		if h, ok := s.polled[in.Fh]; ok {
			delete(s.polled, in.Fh)
			return pool.Event{Kind: pool.Close, Handle: h}, s.conn.Reply(req.Unique, nil)
		}
		return none, s.conn.Reply(req.Unique, nil)
	case fusewire.OpFlush, fusewire.OpFsync, fusewire.OpDestroy:
		return none, s.conn.Reply(req.Unique, nil)
	}
	if s.other != nil {
		if known, err := s.other.Answer(s.conn, req); known {
			return none, err
		}
	}
	if !req.Opcode.HasReply() {
		return none, nil
	}
	return none, s.conn.Fail(req.Unique, syscall.ENOSYS)
}

func (s *Server) open(req fusewire.Request) error {
	if _, err := fusewire.ParseOpen(req.Body); err != nil {
		return s.conn.Refuse(req)
	}
	if req.PID == 0 {
		s.logUnseen(req)
		return s.conn.Fail(req.Unique, syscall.EACCES)
	}
	s.lastFh++
	s.body = fusewire.AppendOpen(s.body[:0], fusewire.OpenOut{Fh: s.lastFh, OpenFlags: s.openFlags})
	return s.conn.Reply(req.Unique, s.body)
}

// caller returns the process that sent req. If there is none to be charged it answers req, and returns false.
func (s *Server) caller(req fusewire.Request) (pool.Client, bool, error) {
	id, err := s.procs.Caller(int(req.PID))
	switch {
	case err == nil:
		return pool.Client(id), true, nil
	case errors.Is(err, proc.ErrUnseen):
		s.logUnseen(req)
		return 0, false, s.conn.Fail(req.Unique, syscall.EACCES)
	case errors.Is(err, proc.ErrGone):
		return 0, false, s.conn.Fail(req.Unique, syscall.EINTR) // killed while it asked
	}
	s.logShort(err)
	return 0, false, s.later(req)
}

// watched is caller for a process whose end must be observed from now on. It answers req by otherwise where that is not
// possible.
func (s *Server) watched(req fusewire.Request, otherwise syscall.Errno) (pool.Client, bool, error) {
	c, ok, err := s.caller(req)
	if !ok {
		return 0, false, err
	}
	switch err := s.procs.Watch(proc.ID(c)); {
	case err == nil:
		return c, true, nil
	case errors.Is(err, proc.ErrGone):
		return 0, false, s.conn.Fail(req.Unique, syscall.EINTR)
	default:
		s.logShort(err)
		return 0, false, s.conn.Fail(req.Unique, otherwise)
	}
}

// later answers a request whose sender cannot be looked up for now, so that the sender asks again.
func (s *Server) later(req fusewire.Request) error {
	switch req.Opcode {
	case fusewire.OpPoll: // an error would be POLLERR
		s.body = fusewire.AppendPoll(s.body[:0], pollOut)
		return s.conn.Reply(req.Unique, s.body)
	case fusewire.OpRead:
		if in, err := fusewire.ParseRead(req.Body); err == nil && in.Flags&syscall.O_NONBLOCK != 0 {
			return s.conn.Fail(req.Unique, syscall.EAGAIN)
		}
	}
	return s.conn.Fail(req.Unique, syscall.EINTR)
}

func (s *Server) logUnseen(req fusewire.Request) {
	if !s.unseen {
		s.unseen = true
		s.log.Warn("a process outside of this pid namespace was refused, and more will be without a word; run steve in the outermost one",
			"uid", req.UID)
	}
}

func (s *Server) logShort(err error) {
	if !s.short {
		s.short = true
		s.log.Error("cannot tell processes apart or watch them, those that are new get no tokens", "error", err)
	}
}

func (s *Server) read(req fusewire.Request) (pool.Event, error) {
	in, err := fusewire.ParseRead(req.Body)
	if err != nil {
		return pool.Event{}, s.conn.Refuse(req)
	}
	if in.Size == 0 {
		return pool.Event{}, s.conn.Reply(req.Unique, nil)
	}
	// A read for the page cache (splice(2), a mapping) has no owner. Its byte would be seen by any number of readers.
	if in.ReadFlags&fusewire.ReadLockOwner == 0 {
		return pool.Event{}, s.conn.Fail(req.Unique, syscall.EIO)
	}
	c, ok, err := s.caller(req)
	if !ok {
		return pool.Event{}, err
	}
	wait := in.Flags&syscall.O_NONBLOCK == 0
	return pool.Event{Kind: pool.Acquire, Client: c, Ticket: pool.Ticket(req.Unique), Wait: wait}, nil
}

func (s *Server) write(req fusewire.Request) (pool.Event, error) {
	in, err := fusewire.ParseWrite(req.Body)
	if err != nil {
		return pool.Event{}, s.conn.Refuse(req)
	}
	if in.WriteFlags&fusewire.WriteCache != 0 {
		return pool.Event{}, s.conn.Fail(req.Unique, syscall.EIO)
	}
	// It may become a lender by this, and a loan ends with its process.
	c, ok, err := s.watched(req, syscall.ENOSPC)
	if !ok {
		return pool.Event{}, err
	}
	return pool.Event{
		Kind: pool.Return, Client: c, Ticket: pool.Ticket(req.Unique), N: int(in.Size), Forgive: in.Fh < s.first,
	}, nil
}

func (s *Server) poll(req fusewire.Request) (pool.Event, error) {
	in, err := fusewire.ParsePoll(req.Body)
	if err != nil {
		return pool.Event{}, s.conn.Refuse(req)
	}
	c, ok, err := s.caller(req)
	if !ok {
		return pool.Event{}, err
	}
	if s.sleepers {
		if err := s.wakeOrphans(in.Kh); err != nil {
			return pool.Event{}, err
		}
	}
	h := pool.Handle(in.Kh)
	wait := in.Flags&fusewire.PollScheduleNotify != 0
	if wait && s.polled[in.Fh] != h {
		s.polled[in.Fh] = h
		s.note(journal.Fact{Kind: factPolled, A: in.Fh, B: in.Kh})
	}
	return pool.Event{Kind: pool.Watch, Client: c, Ticket: pool.Ticket(req.Unique), Handle: h, Wait: wait}, nil
}

// Do carries out one effect. It returns the event that follows from its failing, of kind 0 if it did not fail.
// The error is one of the connection, and the end of it.
func (s *Server) Do(f pool.Effect) (pool.Event, error) {
	var err error
	var follow pool.Event // if the request is gone
	unique := uint64(f.Ticket)
	switch f.Kind {
	case pool.Grant:
		return s.grant(f)
	case pool.Accept:
		s.body = fusewire.AppendWrite(s.body[:0], uint32(f.N))
		err = s.conn.Reply(unique, s.body)
	case pool.Readiness:
		events := uint32(pollOut)
		if f.Ready {
			events |= pollIn
		}
		s.body = fusewire.AppendPoll(s.body[:0], events)
		err = s.conn.Reply(unique, s.body)
	case pool.Changed:
		s.body = fusewire.AppendIoctl(s.body[:0], 0, nil)
		err = s.conn.Reply(unique, s.body)
	case pool.Wake:
		if err = s.conn.WakePollers(uint64(f.Handle)); err == nil && f.Client != 0 && s.procs.Gone(proc.ID(f.Client)) {
			return pool.Event{Kind: pool.Exit, Client: f.Client}, nil
		}
	case pool.Relayed:
		follow, err = s.relayed(f)
	case pool.Nested:
		follow, err = s.nested(f)
	case pool.Left:
		var b [ctl.NestSize]byte
		err = s.give(f, ctl.AppendNest(b[:0], ctl.NestLeft))
	default:
		err = s.conn.Fail(unique, errnoOf(f.Kind))
	}
	if errors.Is(err, fuseconn.ErrGone) {
		return follow, nil
	}
	return pool.Event{}, err
}

// token is what every read gives. Its value is never looked at.
var token = []byte{'+'}

func (s *Server) grant(f pool.Effect) (pool.Event, error) {
	if !f.Private { // a lender is watched since it lent
		switch err := s.procs.Watch(proc.ID(f.Client)); {
		case err == nil:
			s.short = false
		case errors.Is(err, proc.ErrGone):
			err := s.conn.Fail(uint64(f.Ticket), syscall.EINTR)
			if errors.Is(err, fuseconn.ErrGone) {
				err = nil
			}
			return pool.Event{Kind: pool.Exit, Client: f.Client}, err
		default:
			s.logShort(err)
			return pool.Event{Kind: pool.Refuse, Client: f.Client, Ticket: f.Ticket, Wait: f.Wait}, nil
		}
	}
	err := s.conn.Reply(uint64(f.Ticket), token)
	if errors.Is(err, fuseconn.ErrGone) {
		return pool.Event{Kind: pool.Lost, Client: f.Client, N: 1, Private: f.Private}, nil
	}
	return pool.Event{}, err
}

// The events a token file can have, as numbered in <poll.h>: POLLIN|POLLRDNORM, POLLOUT|POLLWRNORM.
const (
	pollIn  = 0x001 | 0x040
	pollOut = 0x004 | 0x100
)

// errnoOf is the one place where a refusal of the pool becomes an error number.
func errnoOf(k pool.EffectKind) syscall.Errno {
	switch k {
	case pool.Deny:
		return syscall.EAGAIN
	case pool.Excess:
		return syscall.ENOSPC
	case pool.Interrupt:
		return syscall.EINTR
	case pool.Abort:
		return syscall.ECONNABORTED
	case pool.Invalid:
		return syscall.EINVAL
	}
	panic(fmt.Sprintf("front: %v is no refusal", k))
}
