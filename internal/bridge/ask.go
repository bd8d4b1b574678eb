package bridge

import (
	"time"

	"steve/internal/ctl"
)

// question is what to ask the server now.
func (b *Bridge) question(now time.Time) (q ctl.RelayAsk, low bool) {
	q.Less = b.loop.less
	if b.loop.wanted {
		return q, false // something is about to go back: that is not the time to ask for more
	}
	for _, p := range b.ports {
		q.Idle = q.Idle || p.spare() > 0
		if b.loop.less || b.loop.suspended || !p.open && !p.stands || !b.due(p.resume, now) {
			continue
		}
		q.Wait = q.Wait || p.hungry(now)
		q.Want += max(0, b.options.Window-p.spare())
		low = low || p.spare() <= b.options.Window/2
	}
	return q, low
}

// ask asks the server, or asks it anew: the call before returns then. So at any time there is one call, but for moments.
func (b *Bridge) ask(now time.Time) {
	l := &b.loop
	q, low := b.question(now)
	switch {
	case l.failed, l.call == 0 && q == (ctl.RelayAsk{}):
		return
	case l.latest && q == l.asked:
		l.askAt = time.Time{}
		return
	case !l.latest, q.Wait != l.asked.Wait, q.Less != l.asked.Less:
	case q.Want == 0 && l.asked.Want > 0, low && q.Want > l.asked.Want:
	default:
		if l.askAt.IsZero() {
			l.askAt = now.Add(askDelay)
		}
		if !b.due(l.askAt, now) {
			return
		}
	}
	l.askAt = time.Time{}
	b.relay(q)
}

func (b *Bridge) relay(q ctl.RelayAsk) {
	l := &b.loop
	l.asked, l.latest = q, true
	l.call++
	l.calls++
	call := l.call
	b.stats.Asks++
	go func() {
		a, err := b.server.Relay(q)
		select {
		case b.answers <- answer{a, call, err}:
		case <-b.done:
			if a.Tokens > 0 {
				b.server.Return(a.Tokens)
			}
		}
	}()
}

// answered takes what the server has said. Calls may be answered in another order than they were made: tokens count always,
// the rest only if it is the last one's. That may return empty because one made before it arrived later; then it is made
// again.
func (b *Bridge) answered(a answer) (hand int) {
	l := &b.loop
	l.calls--
	b.stats.Received += a.Tokens
	if a.call == l.call {
		l.latest = false
		if a.err != nil {
			b.fail(a.err)
		} else {
			l.less = a.Less
			l.wanted = l.wanted || a.Wanted
		}
	}
	return a.Tokens
}

// settled says whether no call is under way that could bring tokens.
func (b *Bridge) settled() bool {
	l := &b.loop
	return l.failed || l.calls == 0 || l.calls == 1 && l.latest && l.asked.Want == 0 && !l.asked.Wait
}

// finish gives back all tokens, and withdraws what was asked.
func (b *Bridge) finish() {
	l := &b.loop
	hand := 0
	for _, p := range b.ports {
		back, surplus := p.look()
		b.stats.Surplus += surplus
		tokens, missing := p.abandon()
		hand += back + tokens
		b.stats.Restored += missing
	}
	if hand > 0 {
		b.giveBack(hand)
	}
	hand = 0
	for !b.settled() {
		if !l.latest || l.asked.Want > 0 || l.asked.Wait {
			b.relay(ctl.RelayAsk{})
		}
		hand += b.answered(<-b.answers)
	}
	if hand > 0 {
		b.giveBack(hand)
	}
	b.count()
}
