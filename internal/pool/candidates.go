package pool

import (
	"container/heap"
	"time"
)

// candidates are the clients that would take a token now: fewest tokens first, longest wait among equals.
// It is a total order, so that a restored pool decides as the first one would have.
//
// Of thousands, nearly all have no token, since there are not so many, and came in the order of their waits. They stand in
// line, and cost the same however many they are. The rest are on a heap: those with tokens, and those that came back to an
// older wait.
type candidates struct {
	line line
	heap candidateHeap
}

// A rank is a client's among the candidates.
type rank struct {
	tokens int // held or reserved
	since  time.Duration
}

// before says whether a comes before b, by the ranks under which they were put there.
func (a *client) before(b *client) bool {
	if a.rank.tokens != b.rank.tokens {
		return a.rank.tokens < b.rank.tokens
	}
	if a.rank.since != b.rank.since {
		return a.rank.since < b.rank.since
	}
	return a.id < b.id
}

// candidate says whether c is one.
func (c *client) candidate() bool { return c.inLine || c.index >= 0 }

// put puts c where its tokens and its wait say, be it a candidate already or not.
func (s *candidates) put(c *client) {
	r := rank{c.held() + c.reserved, c.since}
	if c.candidate() {
		if c.rank == r {
			return
		}
		s.remove(c)
	}
	c.rank = r
	if r.tokens == 0 && (s.line.last == nil || s.line.last.before(c)) {
		s.line.pushBack(c)
	} else {
		heap.Push(&s.heap, c)
	}
}

// remove takes c, which is a candidate, out.
func (s *candidates) remove(c *client) {
	if c.inLine {
		s.line.remove(c)
	} else {
		heap.Remove(&s.heap, c.index)
	}
}

// first is the candidate that comes first, or nil.
func (s *candidates) first() *client { return firstOf(s.line.first, s.heap.first()) }

// firstBut is the candidate, other than c, that comes first, or nil.
func (s *candidates) firstBut(c *client) *client {
	a, b := s.line.first, s.heap.first()
	switch {
	case c == nil:
	case a == c:
		a = c.behind
	case b == c:
		b = s.heap.second()
	}
	return firstOf(a, b)
}

// firstOf is the one of a and b, either of which may be nil, that comes first.
func firstOf(a, b *client) *client {
	if b == nil || a != nil && a.before(b) {
		return a
	}
	return b
}

// A line is of clients without tokens, longest wait first.
type line struct {
	first, last *client
}

func (l *line) pushBack(c *client) {
	c.inLine, c.ahead, c.behind = true, l.last, nil
	if l.last != nil {
		l.last.behind = c
	} else {
		l.first = c
	}
	l.last = c
}

func (l *line) remove(c *client) {
	if c.ahead != nil {
		c.ahead.behind = c.behind
	} else {
		l.first = c.behind
	}
	if c.behind != nil {
		c.behind.ahead = c.ahead
	} else {
		l.last = c.ahead
	}
	c.inLine, c.ahead, c.behind = false, nil, nil
}

// A candidateHeap is a heap.Interface.
type candidateHeap []*client

func (h candidateHeap) Len() int           { return len(h) }
func (h candidateHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h candidateHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *candidateHeap) Push(x any) {
	c := x.(*client)
	c.index = len(*h)
	*h = append(*h, c)
}
func (h *candidateHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	c.index = -1
	return c
}

func (h candidateHeap) first() *client {
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

// second is the client that comes next after the first: one of the two below it.
func (h candidateHeap) second() *client {
	switch {
	case len(h) < 2:
		return nil
	case len(h) > 2 && h.Less(2, 1):
		return h[2]
	}
	return h[1]
}
