package bridge

import (
	"time"

	"golang.org/x/sys/unix"
)

// A port is one way for clients to get tokens: they read bytes from one FIFO, and write them to the same or another one.
//
// Bytes are alike, so all there is to know are numbers: what was put in and not taken out by the bridge is in use unless
// it is still there. What is there beyond that is surplus: a client gave back what it never took. It is swallowed. But a
// client that does so first may wait for its byte later, in vain if there is no other token (nasm-rs before 0.3.2 with
// a pool of one): so one such byte is owed, and lent where the build otherwise stands still. It is no more than the
// slot which that client has from its parent, and gave away.
type port struct {
	out *fifo
	in  *fifo // nil if it is out
	// thief is another open file of out, for blocking reads; 0 if there is in.
	thief int

	put  int // tokens of the server's in out or in use
	lent int // bytes, 0 or 1, in out or in use beyond these
	owed int // 0 or 1
	idle int // bytes in out, when last looked at

	// stands: there is an offer though nobody has it open, for those who look only when they have just opened it.
	stands bool
	open   bool // some process other than the bridge has it open, as far as known
	opens  int  // how often that was noticed
	// eager: a client took the last byte, or came new, and there is no reason yet to doubt that it wants another one.
	eager bool
	fresh bool      // in out are bytes put in since a client last took one
	since time.Time // since when there have been bytes in out
	// resume is when there may be an offer again after one that nobody took, and pause how long that was put off.
	resume time.Time
	pause  time.Duration

	read     bool      // the bridge has read from out, and no notice of that came yet
	readAt   time.Time // when it did
	took     bool      // clients have read from out since it was last heeded
	stealing bool      // the thief waits in a read
}

const (
	// minPause and maxPause are how long a port offers nothing after an offer was recalled untaken: longer each time, until
	// a client takes a token.
	minPause = 20 * time.Millisecond
	maxPause = time.Second
	// display is how long bytes stay at least, offered or returned, before others can have them: longer than any client
	// that waits for a token needs to take it, and less than the 20 ms that others may have to wait.
	display = 10 * time.Millisecond
	// moment is how long they stay when others have less. A client that returns a token and wants another, and has not
	// taken it by then, does not wait for it.
	moment = 2 * time.Millisecond
)

func (p *port) files() []*fifo {
	if p.in == nil {
		return []*fifo{p.out}
	}
	return []*fifo{p.out, p.in}
}

// inUse is the number of tokens that clients have.
func (p *port) inUse() int { return p.put + p.lent - p.idle }

// offers says whether tokens may be put in.
func (p *port) offers(now time.Time) bool { return (p.open || p.stands) && !now.Before(p.resume) }

// shown is when what is in out has been there for long enough: at once if there is nobody to take it.
func (p *port) shown() time.Time {
	if !p.open {
		return p.since
	}
	return p.since.Add(display)
}

// hungry says whether a client can be thought to wait for a token.
func (p *port) hungry(now time.Time) bool { return p.idle == 0 && p.eager && p.offers(now) }

// spare is the number of the server's tokens that nobody uses.
func (p *port) spare() int { return min(p.idle, p.put) }

// look finds out what clients have done. It returns the tokens that came back through in, which are off the port, and the
// number of bytes that were surplus.
func (p *port) look() (back, surplus int) {
	if p.in != nil {
		// First what came back, then what is left: the other way round, a token taken and returned in between would be
		// surplus, and lost. A surplus byte may so pass for a token that another client takes now; it is found out by and by.
		if n := p.in.take(p.in.count()); n > 0 {
			p.count()
			returned := min(n, max(p.inUse(), 0))
			surplus = n - returned
			back = min(returned, p.put)
			p.put -= back
			p.lie(p.idle + p.out.put(returned-back)) // what was lent
		}
	}
	p.count()
	if extra := p.idle - p.put - p.lent; extra > 0 {
		surplus += p.takeOut(extra)
	}
	if surplus > 0 {
		p.owed, p.eager = 1, true
	}
	return back, surplus
}

// count counts what is in out.
func (p *port) count() {
	n := p.out.count()
	if n < p.idle {
		p.took = true
	}
	p.lie(n)
}

// lie notes that n bytes are in out.
func (p *port) lie(n int) {
	if p.idle == 0 && n > 0 {
		p.since = time.Now()
	}
	p.idle = n
}

// takeOut reads up to n bytes from out and returns how many there were.
func (p *port) takeOut(n int) int {
	n = p.out.take(n)
	if n > 0 {
		p.read, p.readAt = true, time.Now()
	}
	p.idle -= n
	p.count()
	return n
}

// offer puts in n tokens, and returns how many it has room for.
func (p *port) offer(n int) int {
	if n = p.out.put(n); n > 0 {
		p.put += n
		p.lie(p.idle + n)
		p.fresh = true
	}
	return n
}

// recall takes out up to most of the tokens that nobody uses, and returns how many these are. If an offer had no taker,
// the next one is put off; if a client has returned them, then it does not wait.
func (p *port) recall(most int, now time.Time) int {
	n := p.takeOut(min(most, p.spare()))
	p.put -= n
	switch {
	case n == 0 || p.took:
	case p.fresh:
		p.eager = p.eager && p.pause < maxPause && p.inUse() > 0
		p.pause = min(max(2*p.pause, minPause), maxPause)
		p.resume = now.Add(p.pause)
	case now.Sub(p.since) >= moment:
		p.eager = false
	}
	return n
}

// heed draws conclusions from what clients have taken.
func (p *port) heed(now time.Time) {
	if !p.took {
		return
	}
	p.took, p.fresh, p.eager, p.pause = false, false, true, 0
	if soon := now.Add(minPause); p.resume.After(soon) {
		p.resume = soon
	}
}

// notice learns from a notice about out whether clients have read: one that writes a byte and reads it again at once
// leaves no other trace. Those of the bridge's own reads, which may have been told as one or not, come soon after.
func (p *port) notice(mask uint32, now time.Time) {
	const soon = 2 * time.Millisecond
	if mask&unix.IN_ACCESS != 0 {
		p.took = p.took || !p.read && now.Sub(p.readAt) > soon
		p.read = false
	}
}

// opened: a process has opened one of the FIFOs.
func (p *port) opened() {
	if !p.open {
		p.pause, p.resume = 0, time.Time{}
	}
	p.open, p.eager = true, true
	p.opens++
}

// abandon empties the port, which nobody has open. It returns the tokens, and how many of them its clients ended with.
func (p *port) abandon() (tokens, missing int) {
	left := p.takeOut(p.out.count())
	if p.in != nil {
		left += p.in.take(p.in.count())
	}
	tokens, missing = p.put, max(p.put-left, 0)
	p.put, p.lent, p.owed, p.idle = 0, 0, 0, 0
	p.open, p.eager, p.took, p.fresh = false, false, false, false
	return tokens, missing
}

func (p *port) close() {
	for _, f := range p.files() {
		if f != nil {
			f.close()
		}
	}
	if p.thief != 0 {
		unix.Close(p.thief)
	}
}
