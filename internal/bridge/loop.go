package bridge

import (
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
)

// The loop is the one goroutine that moves tokens. It sleeps until clients do something (notices), the server says something
// (answers), or a time has come that it waits for, and then settles what is to be done. Its rules:
//
//   - A port that is open and not paused offers up to a window of tokens that nobody else waits for (RelayAsk.Want). So does
//     the one that is opened by name before anybody has, and when nobody has any more.
//   - If its last token was taken, a client may well wait for more: then the bridge waits for one like everybody (Wait).
//   - If others wait and a token lies unused (Wanted), all that do go back, but not at once: see display.
//     An offer that had no taker puts off the next one: 20 ms, 40 ms, up to a second. Clients that have no token are then
//     no longer thought to wait, and are offered only what nobody waits for, until one takes a token or a new one opens the
//     FIFO: so a build that has no use for tokens costs others one such moment. Clients that have tokens may not have looked
//     (ninja does so at the end of a job only), and get their chances until the second is reached.
//   - If somebody who waits has less (Less), nothing is offered, and what clients return is kept from them: see steal.
//   - If nobody has a port open any more, its tokens go back, with those of clients that were killed.
type loop struct {
	less   bool // the last answer said so, and nothing was given up since
	wanted bool // as did this one, and something unused is still held

	asked  ctl.RelayAsk
	call   int  // number of calls of Relay
	calls  int  // of these, not answered yet
	latest bool // the last one is not answered yet
	failed bool
	// suspended: nothing is offered, as this process may be stopped at any time.
	suspended bool
	quiet     chan struct{} // to be closed when nothing can come any more

	askAt    time.Time // when to ask anew, the difference being small
	lendAt   time.Time // when to lend a byte, if the build stands still until then
	scanAt   time.Time // when to look who has the ports open; zero if there is no reason to
	scans    bool      // a scan is under way
	scanFrom time.Time // no scan before
	next     time.Time // the earliest time that is waited for
}

const (
	// askDelay puts off a question that differs from the last one by little only: asking costs three system calls.
	askDelay = 5 * time.Millisecond
	// lendDelay is how long a build stands still until it gets a byte that it is owed.
	lendDelay = 250 * time.Millisecond
	// scanDelay is how long after a close it is looked who has the ports open: of several closes the first is as good.
	// Scans take less than 1/scanShare of the time.
	scanDelay = 10 * time.Millisecond
	scanShare = 100
)

// An answer is what a call of Relay returned.
type answer struct {
	ctl.RelayAnswer
	call int
	err  error
}

// A theft is what the thief of a port has read.
type theft struct {
	port *port
	got  bool
}

// A scan is what a search of /proc has found.
type scan struct {
	held  map[fileID]bool
	opens map[*port]int // as of its start
	took  time.Duration
}

func (b *Bridge) run() {
	defer close(b.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		hand := 0 // tokens that are in no port
		select {
		case masks := <-b.events:
			b.noticed(masks)
		case a := <-b.answers:
			hand = b.answered(a)
		case t := <-b.stolen:
			hand = b.robbed(t)
		case s := <-b.scanned:
			hand = b.searched(s)
		case <-timer.C:
		case b.loop.quiet = <-b.suspend:
			b.loop.suspended = b.loop.quiet != nil
		case <-b.closing:
			b.finish()
			return
		}
		now := time.Now()
		b.loop.next = time.Time{}
		b.settle(hand, now)
		if b.loop.next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(0, time.Until(b.loop.next)))
		}
	}
}

// due makes the loop wake up at t at the latest, and says whether that has come.
func (b *Bridge) due(t, now time.Time) bool {
	if !now.Before(t) {
		return true
	}
	if b.loop.next.IsZero() || t.Before(b.loop.next) {
		b.loop.next = t
	}
	return false
}

func (b *Bridge) noticed(masks [watches]uint32) {
	i, now := 0, time.Now()
	for _, p := range b.ports {
		p.notice(masks[i], now)
		for range p.files() {
			if masks[i]&unix.IN_OPEN != 0 {
				p.opened()
			}
			if masks[i]&unix.IN_CLOSE != 0 && p.open {
				b.scanSoon()
			}
			i++
		}
	}
}

// settle moves tokens to where they belong. The hand is tokens that are in no port yet.
func (b *Bridge) settle(hand int, now time.Time) {
	for _, p := range b.ports {
		back, surplus := p.look()
		p.heed(now)
		hand += back
		b.stats.Surplus += surplus
	}
	if b.loop.less || b.loop.suspended {
		b.yield(hand, now)
	} else {
		b.recall(now)
		b.shift(now)
		b.distribute(hand, now)
	}
	b.lend(now)
	b.ask(now)
	if b.loop.quiet != nil && b.settled() {
		close(b.loop.quiet)
		b.loop.quiet = nil
	}
	b.scan(now)
	b.count()
}

// yield gives up all that nobody uses, as somebody who waits has less, or else one token that a client returns.
// While the bridge is suspended, it gives up the former only.
func (b *Bridge) yield(hand int, now time.Time) {
	for _, p := range b.ports {
		if b.loop.suspended || p.spare() > 0 && b.due(p.since.Add(moment), now) {
			n := p.recall(p.put, now)
			b.stats.Recalled += n
			hand += n
		}
	}
	if hand > 0 {
		b.giveBack(hand)
		b.loop.less = false // unless the server says so again
		return
	}
	if b.loop.suspended {
		return
	}
	for _, p := range b.ports {
		if p.thief != 0 && !p.stealing && p.idle == 0 && p.put > 0 {
			b.steal(p)
		}
	}
}

// steal takes part in the race for the next byte that a client returns. A client that returns a token to take one for its
// next job (ninja) would else hold what it has for ever: nobody is as fast, except those that wait in a read when it writes.
// The kernel gives them the byte before the write returns, if they are quick to wake up.
//
// A read that waits is not called off if it is no longer needed: what it gets is put back.
func (b *Bridge) steal(p *port) {
	p.stealing = true
	go func() {
		var c [1]byte
		n, err := unix.Read(p.thief, c[:])
		for err == unix.EINTR {
			n, err = unix.Read(p.thief, c[:])
		}
		select {
		case b.stolen <- theft{p, n == 1}:
		case <-b.done:
		}
	}()
}

// robbed returns what the thief of a port has got, if it is to be given up.
func (b *Bridge) robbed(t theft) (hand int) {
	t.port.stealing = false
	if !t.got {
		return 0
	}
	if !b.loop.less || t.port.put == 0 { // or it is what was lent
		t.port.out.put(1)
		return 0
	}
	t.port.put--
	b.stats.Stolen++
	return 1
}

// recall gives back what nobody uses and others wait for.
func (b *Bridge) recall(now time.Time) {
	if !b.loop.wanted {
		return
	}
	b.loop.wanted = false
	hand := 0
	for _, p := range b.ports {
		switch {
		case p.spare() == 0:
		case !b.due(p.shown(), now):
			b.loop.wanted = true
		default:
			hand += p.recall(p.put, now)
		}
	}
	if hand > 0 {
		b.stats.Recalled += hand
		b.giveBack(hand)
	}
}

// shift moves a token that nobody uses to a port that has none to offer, so that one port does not keep from the other what
// it has no use for. If there is but one for both, it goes to and fro, at the pace at which offers are put off.
func (b *Bridge) shift(now time.Time) {
	for _, to := range b.ports {
		if to.idle > 0 || !to.open || !b.due(to.resume, now) {
			continue
		}
		for _, from := range b.ports {
			if from.spare() > 0 && b.due(from.shown(), now) {
				to.offer(from.recall(1, now))
				break
			}
		}
	}
}

// distribute puts tokens into ports. What has no place goes back, and what lies about beyond the window.
func (b *Bridge) distribute(hand int, now time.Time) {
	hand = b.place(hand, now)
	for _, p := range b.ports {
		switch {
		case b.loop.failed && p.open: // there is nowhere else to go
			hand -= p.offer(hand)
		case p.spare() > 2*b.options.Window:
			n := p.takeOut(p.spare() - b.options.Window)
			p.put -= n
			hand += n
		}
	}
	if hand > 0 {
		b.giveBack(hand)
	}
}

// place puts tokens into the ports that offer least, and returns those for which there is no room.
func (b *Bridge) place(hand int, now time.Time) int {
	for ; hand > 0; hand-- {
		var to *port
		for _, p := range b.ports {
			if p.lent > 0 {
				// The token takes the place of the byte.
				to = p
				break
			}
			if p.offers(now) && p.idle < b.options.Window && (to == nil || p.idle < to.idle) {
				to = p
			}
		}
		switch {
		case to == nil:
			return hand
		case to.lent > 0:
			to.lent--
			to.put++
		case to.offer(1) == 0:
			return hand
		}
	}
	return 0
}

// lend gives a port a byte that it is owed, if the build has stood still for a while: nothing in use, nothing on offer.
func (b *Bridge) lend(now time.Time) {
	var to *port
	for _, p := range b.ports {
		if p.put > 0 || p.lent > 0 {
			to = nil
			break
		}
		if p.open && p.owed > 0 {
			to = p
		}
	}
	if to == nil {
		b.loop.lendAt = time.Time{}
		return
	}
	if b.loop.lendAt.IsZero() {
		b.loop.lendAt = now.Add(lendDelay)
	}
	if b.due(b.loop.lendAt, now) {
		to.lent, to.owed = 1, 0
		to.lie(to.idle + to.out.put(1))
		b.stats.Lent++
		b.loop.lendAt = time.Time{}
	}
}

// scan starts a search for those who have the ports open, if one may have closed them.
func (b *Bridge) scan(now time.Time) {
	if b.loop.scanAt.IsZero() || b.loop.scans || !b.due(b.loop.scanAt, now) {
		return
	}
	b.loop.scanAt, b.loop.scans = time.Time{}, true
	b.stats.Scans++
	s := scan{opens: map[*port]int{}}
	for _, p := range b.ports {
		s.opens[p] = p.opens
	}
	go func() {
		s.held = b.finder.search()
		s.took = time.Since(now)
		select {
		case b.scanned <- s:
		case <-b.done:
		}
	}()
}

// searched takes back the tokens of ports that nobody has open.
func (b *Bridge) searched(s scan) (hand int) {
	b.loop.scans = false
	again := false
	for _, p := range b.ports {
		held := false
		for _, f := range p.files() {
			held = held || s.held[f.id]
		}
		switch {
		case held || !p.open:
		case p.opens != s.opens[p] || b.notices.pending():
			again = true
		default:
			tokens, missing := p.abandon()
			hand += tokens
			b.stats.Restored += missing
		}
	}
	b.loop.scanFrom = time.Now().Add(scanShare * s.took)
	if again || !b.loop.scanAt.IsZero() {
		b.loop.scanAt = time.Time{}
		b.scanSoon()
	}
	return hand
}

func (b *Bridge) scanSoon() {
	if !b.loop.scanAt.IsZero() {
		return
	}
	b.loop.scanAt = time.Now().Add(scanDelay)
	if b.loop.scanAt.Before(b.loop.scanFrom) {
		b.loop.scanAt = b.loop.scanFrom
	}
}

// giveBack returns n tokens to the server.
func (b *Bridge) giveBack(n int) {
	if b.loop.failed {
		return
	}
	if err := b.server.Return(n); err != nil {
		b.fail(err)
	}
}

// fail: the server is gone for good. The build keeps the tokens that it has.
func (b *Bridge) fail(err error) {
	if b.loop.failed {
		return
	}
	b.loop.failed = true
	b.loop.less, b.loop.wanted = false, false
	if b.options.Failed != nil {
		b.options.Failed(err)
	}
}

func (b *Bridge) count() {
	b.stats.InUse, b.stats.Idle, b.stats.Opens = 0, 0, 0
	for _, p := range b.ports {
		b.stats.Opens += p.opens
		b.stats.InUse += p.inUse()
		b.stats.Idle += p.idle
	}
	b.mu.Lock()
	b.published = b.stats
	b.mu.Unlock()
}
