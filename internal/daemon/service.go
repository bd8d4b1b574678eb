package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"steve/internal/broker"
	"steve/internal/ctl"
	"steve/internal/front"
	"steve/internal/fuseconn"
	"steve/internal/journal"
	"steve/internal/keeper"
	"steve/internal/load"
	"steve/internal/pool"
	"steve/internal/proc"
	"steve/internal/report"
)

// A service serves one token file, in this process.
type service struct {
	*daemon
	token   *token
	journal *broker.Journal // nil where the pool ends with the process
	sampler *load.Sampler
	pool    *pool.Pool
	server  *front.Server
	broker  *broker.Broker
	history history
}

// newService returns a service for t that goes on from what the journal says, if it says something.
func (d *daemon) newService(t *token, j *journal.Journal) (_ *service, err error) {
	s := &service{daemon: d, token: t}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.sampler, err = load.Open(); err != nil {
		return nil, err
	}
	var past *broker.Past
	if j != nil && !j.Empty() {
		past, err = broker.Recover(j)
		if errors.Is(err, journal.ErrRefused) {
			logRefused(d.log, err)
			j.Clear()
			err = nil
		}
		if err != nil {
			return nil, err
		}
	}
	var note func(journal.Fact)
	if j != nil {
		s.journal = &broker.Journal{Journal: j, Facts: s.facts, Failed: func(err error) {
			d.log.Error("should this process be killed, the builds will end with it: what happens is written down no more", "error", err)
		}}
		note = s.journal.Note
	}
	if past != nil {
		s.pool, s.history = past.Pool, historyOf(past.Facts)
		s.history.takeovers++
	} else {
		s.pool = pool.New(d.Limits)
	}
	s.server, err = front.New(front.Config{
		Conn: s.conn(), FD: t.FD, OpenFlags: t.openFlags(), Other: t.other(note), Pool: s.pool, Note: note, About: s.about, Log: d.log,
	})
	if err != nil {
		return nil, err
	}
	first, err := s.begin(past)
	if err != nil {
		return nil, err
	}
	s.broker, err = broker.New(broker.Config{
		Pool: s.pool, Front: s.server, Sample: sample(s.sampler, d.log), Observe: observer(d.log, d.LogLevel),
		Journal: s.journal, First: first,
	})
	return s, err
}

// conn is the connection to serve, by which requests are read to where the next process will find the last of them.
func (s *service) conn() *fuseconn.Conn {
	device := wrapDevice(fuseconn.FD(s.token.FD))
	if s.journal == nil {
		return fuseconn.New(device)
	}
	return fuseconn.NewIn(device, s.journal.Slot())
}

// begin makes the server go on from the past, or begin without one, and returns what is to be stepped first.
func (s *service) begin(past *broker.Past) ([]pool.Event, error) {
	was := s.history.options
	s.history.options = s.Limits
	if past == nil {
		if s.journal != nil && s.journal.Cleared() { // there was a server, of which nothing is known
			if err := s.server.Inherit(); err != nil {
				return nil, err
			}
		}
		if s.journal != nil {
			s.journal.Received()
			s.journal.Checkpoint(s.pool)
		}
		return nil, nil
	}
	events, err := s.server.Restore(front.Past{
		Facts: past.Facts, Effects: past.Effects, Ticket: past.Last.Ticket, Received: s.journal.Received,
	})
	if err != nil {
		return nil, err
	}
	if e := changed(was, s.Limits); e.Mask != 0 {
		events = append(events, e)
	}
	if past.Events == 0 && len(events) == 0 { // nothing comes about by being the last
		s.journal.Checkpoint(s.pool)
	} else {
		s.journal.Note(s.history.takeover()) // the options are noted when they hold, see settle
	}
	return events, nil
}

// facts notes all that the next process needs beside the pool.
func (s *service) facts(note func(journal.Fact)) {
	s.server.Facts(note)
	s.history.facts(note)
}

// about is what the server says of the processes it consists of.
func (s *service) about() ctl.About {
	a := ctl.About{Worker: os.Getpid(), Takeovers: s.history.takeovers, Forgiven: uint64(s.pool.Forgiven())}
	if s.journal != nil {
		a.Keeper = os.Getppid()
	}
	if s.start.role.Verb == keeper.Worker {
		a.Started, _ = proc.Root.StartTime(a.Keeper) // it may have ended just now
	}
	return a
}

// close gives back what newService took, but not the token file.
func (s *service) close() {
	if s.server != nil {
		s.server.Close()
	}
	if s.sampler != nil {
		s.sampler.Close()
	}
}

// An end is how a service ended.
type end string

const (
	stopped  end = "stopped"  // for good: the token file is gone
	parked   end = "parked"   // for another process to go on
	orphaned end = "orphaned" // as parked, because the keeper is dead
)

// run serves until it is stopped, by a signal or the keeper, or cannot go on.
func (s *service) run(words <-chan keeper.Word) (end, error) {
	// With more, Go's runtime looks after each request that came out of silence every 20 µs, for 10 ms, whether the thread
	// that serves is still in its system call: three times the work of the request.
	runtime.GOMAXPROCS(1)
	isStopped := s.pool.Stopped()
	ended := make(chan error, 1)
	go ahead(func() { ended <- s.broker.Run() })
	reports := make(chan struct{}, 1)
	defer close(reports)
	go func() { // apart, as standard output may block
		for range reports {
			if err := s.printReport(s.stdout); err != nil && !errors.Is(err, broker.ErrEnded) {
				s.log.Error("report", "error", err)
			}
		}
	}()
	report := func() {
		select {
		case reports <- struct{}{}:
		default: // one is being asked for
		}
	}
	if isStopped { // the last process was killed while it did
		return stopped, s.stop(ended)
	}
	s.settle()
	for {
		select {
		case err := <-ended:
			if errors.Is(err, fuseconn.ErrEnd) {
				err = fmt.Errorf("%s was removed under a running steve (%w); start it again", s.token.Path, err)
			}
			return "", err
		case signal := <-s.signals:
			switch {
			case signal == unix.SIGUSR2:
				if s.journal == nil {
					s.log.Warn("SIGUSR2 hands over to another process, but there is no keeper to start one")
					continue
				}
				return parked, s.park(ended)
			case signal != unix.SIGUSR1:
				s.log.Info("stopping", "signal", signal.String())
				return stopped, s.stop(ended)
			case words == nil: // else killall has told the keeper
				report()
			}
		case word, ok := <-words:
			switch {
			case !ok:
				return orphaned, s.park(ended)
			case word == keeper.Report:
				report()
			case word == keeper.Park:
				err := s.park(ended)
				select {
				case _, alive := <-words:
					if !alive {
						return orphaned, err
					}
				default:
				}
				return parked, err
			case word == keeper.Stop:
				return stopped, s.stop(ended)
			}
		}
	}
}

// park ends the serving between two requests, and leaves those that wait to the next process.
func (s *service) park(ended <-chan error) error {
	s.broker.Quit()
	if err := <-ended; err != nil {
		return err
	}
	s.journal.Checkpoint(s.pool)
	return nil
}

// stop ends a broker that runs: whoever waits is answered, then nobody new can come, and those that have the file open
// are answered up to the last moment.
func (s *service) stop(ended <-chan error) error {
	if s.start.First() {
		s.notify("STOPPING=1") // else the keeper does
	}
	s.broker.Stop()
	err := s.token.Remove()
	s.broker.Quit()
	if e := <-ended; !errors.Is(e, fuseconn.ErrEnd) { // it ends by itself when nobody has the file open
		err = errors.Join(err, e)
	}
	return err
}

// settle notes that this process can go on from the past, when it has begun to.
func (s *service) settle() {
	if s.journal == nil {
		return
	}
	s.broker.Inspect(func(*pool.Pool) {
		s.history.facts(s.journal.Note)
		s.journal.Settled()
	})
}

// sample reads the machine's load. A reading that fails counts as no load, and is logged once.
func sample(s *load.Sampler, log *slog.Logger) func() (float64, int64) {
	var once sync.Once
	failed := func(err error) {
		once.Do(func() { log.Error("cannot read the machine's load, its limits are off", "error", err) })
	}
	return func() (float64, int64) {
		average, err := s.LoadAverage()
		if err != nil {
			failed(err)
			average = 0
		}
		memory, err := s.MemAvailable()
		if err != nil {
			failed(err)
			memory = 1 << 62
		}
		return average, memory
	}
}

// printReport prints who holds and who waits.
func (s *service) printReport(w io.Writer) error {
	var state pool.State
	pids := map[pool.Client]int{}
	err := s.broker.Inspect(func(p *pool.Pool) {
		state = p.State()
		for _, c := range state.Clients {
			if pid, ok := s.server.PID(c.ID); ok {
				pids[c.ID] = pid
			}
		}
	})
	if err != nil {
		return err
	}
	return report.Write(w, state, func(c pool.Client) (pid int, command string, ok bool) {
		if pid, ok = pids[c]; !ok {
			return 0, "", false
		}
		command, err := proc.Root.CommandLine(pid)
		return pid, command, err == nil
	})
}
