package front

import (
	"syscall"

	"steve/internal/ctl"
	"steve/internal/fusewire"
	"steve/internal/pool"
	"steve/internal/proc"
)

// maxAncestors bounds the walk up from a nested stevie: /proc is read on the thread that serves, some 20 µs a step.
const maxAncestors = 64

// ioctl answers what can be asked. Anything else is ENOTTY, as isatty(3) expects from what is no terminal.
func (s *Server) ioctl(req fusewire.Request) (pool.Event, error) {
	in, err := fusewire.ParseIoctl(req.Body)
	if err != nil {
		return pool.Event{}, s.conn.Refuse(req)
	}
	var answer [ctl.StatusSize]byte
	switch in.Cmd {
	case ctl.CmdVersion:
		return pool.Event{}, s.answer(req, in, ctl.AppendVersion(answer[:0]))
	case ctl.CmdStatus:
		return pool.Event{}, s.answer(req, in, ctl.AppendStatus(answer[:0], ctl.Status{
			Limits: s.pool.Limits(), Free: s.pool.Free(), Held: s.pool.Held(),
			Holders: s.pool.Holders(), Waiters: s.pool.Waiters(),
		}))
	case ctl.CmdNested:
		c, ok, err := s.caller(req)
		if !ok {
			return pool.Event{}, err
		}
		return pool.Event{}, s.answer(req, in, ctl.AppendNested(answer[:0], s.nested(c)))
	case ctl.CmdSet:
		mask, limits, err := ctl.ParseSettings(in.Data)
		if err != nil {
			return pool.Event{}, s.conn.Fail(req.Unique, syscall.EINVAL)
		}
		s.log.Info("a process asks for other settings", "thread", req.PID, "uid", req.UID,
			"settings", pool.Event{Kind: pool.Set, Mask: mask, Limits: limits})
		return pool.Event{Kind: pool.Set, Ticket: pool.Ticket(req.Unique), Mask: mask, Limits: limits}, nil
	}
	return pool.Event{}, s.conn.Fail(req.Unique, syscall.ENOTTY)
}

// answer gives data to an ioctl. The kernel derives the size from the command's number; one that differs is refused.
func (s *Server) answer(req fusewire.Request, in fusewire.IoctlIn, data []byte) error {
	if int(in.OutSize) != len(data) {
		return s.conn.Fail(req.Unique, syscall.EINVAL)
	}
	s.body = fusewire.AppendIoctl(s.body[:0], 0, data)
	return s.conn.Reply(req.Unique, s.body)
}

// nested says whether an ancestor of c holds a token, under which c may then run.
func (s *Server) nested(c pool.Client) bool {
	pid, ok := s.PID(c)
	if !ok {
		return false
	}
	for _, ancestor := range proc.Root.Ancestors(pid, maxAncestors) {
		id, ok := s.procs.Watched(ancestor)
		if !ok {
			continue
		}
		if s.pool.Holds(pool.Client(id)) > 0 {
			return true
		}
	}
	return false
}
