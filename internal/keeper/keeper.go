// Package keeper keeps descriptors open while those that serve on them come and go. The keeper starts a worker, the same
// program, hands it the descriptors, and starts another when it dies. If the keeper dies, the worker becomes one.
//
// What the descriptors are, what serving means, and what is to be done when all is over is not known here. A keeper never
// reads, writes or polls a descriptor that it keeps, and while its worker serves it has no timer.
package keeper

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// Config is what a keeper works with.
type Config struct {
	// Role has the Args and FDs for all workers. If this process was started as a keeper, it may have a worker by it.
	Role Role
	// Disk is the path of the program, for upgrades.
	Disk string
	// Signals are those that users send: SIGTERM, SIGINT and SIGHUP stop the worker, SIGUSR1 has it report, SIGUSR2 puts
	// the program that is on the disk now in its place.
	Signals <-chan os.Signal
	// Serving is called with the process id of each worker that serves, from then on.
	Serving func(pid int)
	// Stopping is called when a user wants it all to end.
	Stopping func()
	Log      *slog.Logger
}

// bounds are how long a keeper waits for what.
type bounds struct {
	firstBackoff, lastBackoff time.Duration // between a worker's end and the next one's start; doubles
	settle                    time.Duration // a worker that dies sooner after it served has come to nothing
	outage                    time.Duration // without a worker that serves, before the keeper gives up
	start                     time.Duration // for a worker to be ready, and then to serve
	park                      time.Duration
	stop                      time.Duration
	stopped                   time.Duration // for a worker with a SIGSTOP to get its SIGCONT
}

var defaultBounds = bounds{
	firstBackoff: 10 * time.Millisecond, lastBackoff: 500 * time.Millisecond, settle: 100 * time.Millisecond,
	outage: 10 * time.Second, start: 5 * time.Second, park: 2 * time.Second, stop: 10 * time.Second, stopped: time.Second,
}

// freshAfter is how many workers in a row crash before the next is told to start with nothing.
const freshAfter = 5

// panicked is the exit status of a Go program that panics. One that ends with another has its reasons, and they may pass.
const panicked = 2

// Keep keeps a worker running until one ends for good or none can serve. No worker lives when it returns. Status is the
// exit status for this process; an error says why it gave up, and has not been printed.
func Keep(c Config) (status int, err error) { return newKeeper(c, self, defaultBounds).run() }

type keeper struct {
	Config
	bounds
	self   string // the program of this process
	exits  chan os.Signal
	timer  *time.Timer
	result *result

	// current serves, or will. It is nil between two.
	current *process
	// next is to take over from current in an upgrade. It gets its turn when current is dead.
	next *process
	// startAt is when to start a worker. Zero while there is one.
	startAt time.Time
	// downSince is when the last worker ended that served.
	downSince time.Time
	// failures are the attempts in a row that came to nothing; deaths are those of them in which a worker died of itself.
	failures, deaths int
	lastFailure      string
	// stopBy is when a stop that was asked for is done by force. Zero while none was.
	stopBy time.Time
	// upgraded: the worker runs another program than the keeper.
	upgraded bool
	// again: another upgrade was asked for while one was under way.
	again bool
}

type result struct {
	status int
	err    error
}

func newKeeper(c Config, self string, b bounds) *keeper {
	return &keeper{Config: c, bounds: b, self: self, exits: make(chan os.Signal, 1), timer: time.NewTimer(time.Hour)}
}

func (k *keeper) run() (status int, err error) {
	signal.Notify(k.exits, unix.SIGCHLD)
	defer signal.Stop(k.exits)
	defer k.timer.Stop()
	now := time.Now()
	k.downSince = now
	if k.Role.worker != 0 {
		k.current = &process{pid: k.Role.worker, link: openLink(k.Role.link), said: map[Word]bool{Serving: true}, since: now}
	} else {
		k.startAt = now
	}
	for {
		now := time.Now()
		k.reap(now)
		k.force(now)
		if k.result != nil {
			k.killAll()
			return k.result.status, k.result.err
		}
		if k.upgraded && k.next == nil && k.serving() && k.stopBy.IsZero() && len(k.Signals) == 0 {
			k.follow()
		}
		k.wait(now)
	}
}

// wait waits for something to happen, and deals with it, unless the caller has to: ends of processes, and deadlines.
func (k *keeper) wait(now time.Time) {
	k.timer.Stop()
	if at := k.deadline(); !at.IsZero() {
		k.timer.Reset(at.Sub(now))
	}
	select {
	case s := <-k.Signals:
		k.signalled(s)
	case w, heard := <-k.current.words():
		k.heard(k.current, w, heard)
	case w, heard := <-k.next.words():
		k.heard(k.next, w, heard)
	case <-k.exits:
	case <-k.timer.C:
	}
}

// deadline is when force has something to do. Zero is never.
func (k *keeper) deadline() (first time.Time) {
	at := []time.Time{k.startAt, k.stopBy}
	if !k.serving() {
		at = append(at, k.downSince.Add(k.outage))
	}
	for _, p := range k.processes() {
		at = append(at, p.due, p.resumeBy)
	}
	for _, t := range at {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// force does what is due at now.
func (k *keeper) force(now time.Time) {
	due := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
	switch {
	case due(k.stopBy):
		k.end(1, fmt.Errorf("the worker did not stop within %v and was killed", k.stop))
	case !k.serving() && due(k.downSince.Add(k.outage)):
		k.end(1, fmt.Errorf("gave up, as no worker could serve for %v; the last: %s", k.outage, k.lastFailure))
	}
	if k.result != nil {
		return
	}
	for _, p := range k.processes() {
		switch {
		case due(p.due):
			k.Log.Warn("worker does not do what it is to, killing it", "pid", p.pid)
			p.due, p.overdue = time.Time{}, true
			p.kill()
		case due(p.resumeBy):
			k.Log.Warn("worker is stopped, killing it", "pid", p.pid)
			p.resumeBy = now.Add(k.outage) // by then it is dead
			p.kill()
		}
	}
	if due(k.startAt) {
		k.startAt = time.Time{}
		k.startNext(now)
	}
}

// startNext starts a worker where there is none.
func (k *keeper) startNext(now time.Time) {
	role := k.Role
	role.Fresh = k.deaths >= freshAfter
	p, err := startWorker(k.self, role)
	if err != nil {
		k.failed(err.Error())
		k.startAt = now.Add(k.backoff())
		return
	}
	p.due = now.Add(k.start)
	k.current = p
}

// failed counts an attempt that came to nothing.
func (k *keeper) failed(how string) {
	k.Log.Warn("worker could not serve", "why", how)
	k.failures++
	k.lastFailure = how
}

// backoff is how long to wait before the next attempt.
func (k *keeper) backoff() time.Duration {
	if k.failures == 0 {
		return 0
	}
	d := k.firstBackoff
	for i := 1; i < k.failures && d < k.lastBackoff; i++ {
		d *= 2
	}
	return min(d, k.lastBackoff)
}

// signalled obeys a user.
func (k *keeper) signalled(s os.Signal) {
	switch s {
	case unix.SIGUSR1:
		k.say(k.current, Report)
	case unix.SIGUSR2:
		if k.stopBy.IsZero() {
			k.upgrade(time.Now())
		}
	default:
		k.Log.Info("stopping", "signal", s.String())
		if k.stopBy.IsZero() {
			k.stopBy = time.Now().Add(k.stop)
			if k.Stopping != nil {
				k.Stopping()
			}
		}
		if k.serving() {
			k.say(k.current, Stop) // else the one that serves next is told
		}
	}
}

// heard notes what a worker says. It says nothing more when ok is false.
func (k *keeper) heard(p *process, w Word, ok bool) {
	if !ok {
		p.silent = true // it is not dead because of that
		return
	}
	p.said[w] = true
	switch {
	case w == Ready && p == k.next && k.stopBy.IsZero():
		p.due = time.Time{}
		k.makeRoom()
	case w == Serving:
		p.due, p.since = time.Time{}, time.Now()
		if p == k.current { // else the old one's end is about to be seen
			k.nowServing()
		}
	}
}

// nowServing is called when current serves.
func (k *keeper) nowServing() {
	p := k.current
	k.Log.Info("worker serves", "pid", p.pid)
	if p.trial {
		p.trial, k.upgraded = false, true
	}
	if k.deaths >= freshAfter { // it is fresh
		k.deaths = 0
	}
	if k.Serving != nil {
		k.Serving(p.pid)
	}
	if !k.stopBy.IsZero() {
		k.say(p, Stop)
		return
	}
	k.upgradeAgain()
}

// reap sees to processes that have ended or are stopped.
func (k *keeper) reap(now time.Time) {
	for _, p := range k.processes() {
		if status, ended := p.ended(); ended {
			for w := range p.link.words { // up to its last
				p.said[w] = true
				if w == Serving {
					p.since = now
				}
			}
			p.link.file.Close()
			if p == k.next {
				k.next = nil
				k.upgradeFailed(p.describe(status))
			} else {
				k.currentEnded(p, status, now)
			}
			continue
		}
		switch stopped := p.stopped(); {
		case !stopped:
			p.resumeBy = time.Time{}
		case p.resumeBy.IsZero():
			p.resumeBy = now.Add(k.stopped)
		}
	}
}

// currentEnded decides what follows the worker p.
func (k *keeper) currentEnded(p *process, status unix.WaitStatus, now time.Time) {
	k.current, k.upgraded = nil, false
	switch {
	case status.Exited() && status.ExitStatus() == 0:
		k.end(0, nil)
		return
	case status.Exited() && p.said[Fatal] && !p.trial:
		k.end(status.ExitStatus(), nil)
		return
	case p.trial:
		k.startAt = now
		k.upgradeFailed(p.describe(status))
		return
	}
	k.count(p, status, now)
	if k.next != nil { // it was parked for that one, or died before it could be
		k.promote(now)
	}
}

// count learns from the end of the worker p how soon to start the next, and how.
func (k *keeper) count(p *process, status unix.WaitStatus, now time.Time) {
	served := p.said[Serving]
	settled := served && now.Sub(p.since) >= k.settle
	killed := status.Signaled() && status.Signal() == unix.SIGKILL && !p.overdue // by a user, or for want of memory
	parked := status.Exited() && status.ExitStatus() == Parked
	if settled {
		k.failures, k.deaths = 0, 0
	}
	if served && (settled || killed || parked) {
		k.downSince = now
	}
	k.startAt = now
	switch {
	case settled || killed || served && parked:
		if !parked {
			k.Log.Warn("worker died, starting another", "pid", p.pid, "how", p.describe(status))
		}
		if !served {
			k.lastFailure = p.describe(status)
		}
	default:
		k.failed(p.describe(status))
		if status.Signaled() || status.ExitStatus() == panicked {
			k.deaths++
		}
		k.startAt = now.Add(k.backoff())
	}
}

// end has the keeper end with status.
func (k *keeper) end(status int, err error) {
	if k.result == nil {
		k.result = &result{status, err}
	}
}

// killAll ends the workers that are left, and waits for them.
func (k *keeper) killAll() {
	for _, p := range k.processes() {
		p.kill()
	}
	giveUp := time.After(k.park) // one that the kernel cannot kill
	for _, p := range k.processes() {
		for {
			if _, ended := p.ended(); ended {
				break
			}
			select {
			case <-k.exits:
			case <-giveUp:
				return
			}
		}
	}
}

func (k *keeper) serving() bool { return k.current != nil && k.current.said[Serving] }

func (k *keeper) processes() []*process {
	var all []*process
	for _, p := range []*process{k.current, k.next} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

func (k *keeper) say(p *process, w Word) {
	if p == nil {
		return
	}
	if err := p.link.Say(w); errors.Is(err, unix.EAGAIN) { // a dead one is seen by its end
		k.Log.Warn("worker does not listen", "pid", p.pid, "word", string(w), "error", err)
	}
}
