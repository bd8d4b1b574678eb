package front

import (
	"syscall"

	"steve/internal/ctl"
	"steve/internal/fusewire"
	"steve/internal/pool"
)

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
		return pool.Event{}, s.answer(req, in, ctl.AppendStatus(answer[:0], s.status()))
	case ctl.CmdServer:
		if s.about == nil {
			break
		}
		return pool.Event{}, s.answer(req, in, ctl.AppendAbout(answer[:0], s.about()))
	case ctl.CmdReport:
		return pool.Event{}, s.report(req, in)
	case ctl.CmdNest:
		return s.nest(req, in)
	case ctl.CmdRelay:
		return s.relay(req, in)
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
