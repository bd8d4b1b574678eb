package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"steve/internal/fuseconn"
	"steve/internal/journal"
	"steve/internal/keeper"
)

// work is the worker: it serves a token file that its keeper has opened, from where the last worker ended.
func (d *daemon) work() (status int, err error) {
	link := d.start.role.Link()
	s, err := d.worker(link)
	if errors.Is(err, journal.ErrLocked) {
		return 1, nil // another process takes the dead keeper's place
	}
	if err != nil {
		return 1, err // another worker may fare better
	}
	words := link.Words()
	kept := link.Say(keeper.Serving) == nil
	for {
		end := orphaned
		if kept {
			end, err = s.run(words)
		}
		s.close()
		switch {
		case errors.Is(err, fuseconn.ErrEnd):
			link.Say(keeper.Fatal)
			return 1, err
		case err != nil:
			return 1, err
		case end == parked:
			return keeper.Parked, nil
		case end == stopped:
			return 0, nil
		}
		s, err = d.succeed(s)
		if errors.Is(err, journal.ErrLocked) {
			d.log.Info("the keeper was killed, and another process takes its place")
			return 1, nil
		}
		if err != nil {
			return 1, err
		}
		kept, words = true, nil
	}
}

// succeed makes this process the keeper, as the last one is dead. If that cannot be it returns a service to go on with,
// which nobody keeps. ErrLocked says that there is a keeper: when the last one died during an upgrade, two workers were
// left.
func (d *daemon) succeed(s *service) (*service, error) {
	j := s.journal.Journal
	if err := journal.LockKeeper(j.FD()); err != nil {
		return nil, err
	}
	d.log.Warn("the keeper was killed, this process takes its place")
	d.stderr.Flush()
	if err := j.Unlock(); err != nil { // an exec does not
		return nil, err
	}
	err := keeper.Succeed(d.start.role.Args, d.start.role.FDs)
	d.log.Error("cannot take the keeper's place, the builds will end with this process", "error", err)
	if err := j.Lock(true); err != nil {
		return nil, err
	}
	return d.newService(s.token, j)
}

// worker returns the service that is to be run.
func (d *daemon) worker(link *keeper.Link) (*service, error) {
	role := d.start.role
	t, err := adoptToken(d.start.about, role.FDs)
	if err != nil {
		return nil, err
	}
	fd, ok := role.FD(journalFD)
	if !ok {
		return nil, errors.New("no journal to serve by")
	}
	j, err := openJournal(fd, t, d.log)
	if err != nil {
		return nil, err
	}
	link.Say(keeper.Ready)
	if err := d.lock(j, link); err != nil {
		return nil, err
	}
	if role.Fresh && !j.Empty() {
		d.startAfresh(j)
	}
	return d.newService(t, j)
}

// lock waits for the lock of the journal, which in an upgrade the last worker still has. When the keeper dies meanwhile one
// of the two takes its place: ErrLocked says that it is the other.
func (d *daemon) lock(j *journal.Journal, link *keeper.Link) error {
	locked := make(chan error, 1)
	go func() { locked <- j.Lock(true) }()
	words := link.Words()
	for {
		select {
		case err := <-locked:
			return err
		case _, alive := <-words:
			if alive {
				continue
			}
			if err := journal.LockKeeper(j.FD()); err != nil {
				return err
			}
			return <-locked
		}
	}
}

// startAfresh forgets what made others fail.
func (d *daemon) startAfresh(j *journal.Journal) {
	d.log.Error("starting afresh, as those that went on from the last server failed; " + lostPast)
	j.Clear()
}

// openJournal opens the journal of t. One that is refused is cleared, unless another process serves by it.
func openJournal(fd int, t *token, log *slog.Logger) (*journal.Journal, error) {
	text, err := json.Marshal(t.about)
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(fd)
	if err == nil && !t.isIn(j.About()) {
		err = fmt.Errorf("%w: it is of another token file", journal.ErrRefused)
	}
	if !errors.Is(err, journal.ErrRefused) {
		return j, err
	}
	if used, locked := journal.Locked(fd); locked != nil || used {
		return nil, errors.Join(err, locked)
	}
	logRefused(log, err)
	return journal.Reset(fd, text)
}

// isIn says whether text is about the same token file.
func (a about) isIn(text []byte) bool {
	var other about
	return json.Unmarshal(text, &other) == nil && other.Transport == a.Transport && other.Path == a.Path
}

// lostPast is what it means to start afresh where there was a server.
const lostPast = "tokens that processes hold are not known any more, and what they return is accepted"

// logRefused says why the past is lost, and what becomes of it.
func logRefused(log *slog.Logger, err error) {
	log.Error("starting afresh; "+lostPast, "error", err)
}
