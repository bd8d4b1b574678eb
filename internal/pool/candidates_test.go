package pool

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func (s *candidates) len() int {
	n := len(s.heap)
	for c := s.line.first; c != nil; c = c.behind {
		n++
	}
	return n
}

// check returns what is wrong with the line or the heap, if anything is.
func (s *candidates) check() error {
	var last *client
	for c := s.line.first; c != nil; last, c = c, c.behind {
		if !c.inLine || c.index != -1 || c.ahead != last {
			return fmt.Errorf("client %d, in line, says %t, behind %v, and %d of the heap", c.id, c.inLine, c.ahead, c.index)
		}
		if c.rank.tokens != 0 || last != nil && !last.before(c) {
			return fmt.Errorf("client %d, of rank %v, is out of line", c.id, c.rank)
		}
	}
	if s.line.last != last {
		return fmt.Errorf("the line ends elsewhere")
	}
	for i, c := range s.heap {
		if c.index != i || c.inLine {
			return fmt.Errorf("client %d, at %d of the heap, says %d, in line %t", c.id, i, c.index, c.inLine)
		}
		if i > 0 && !s.heap[(i-1)/2].before(c) {
			return fmt.Errorf("client %d, at %d of the heap, comes before the one above", c.id, i)
		}
	}
	return nil
}

// TestCandidates puts clients among the candidates and takes them out at random, and keeps a sorted list beside them.
func TestCandidates(t *testing.T) {
	r := rand.New(rand.NewPCG(0, 0))
	for _, most := range []int{1, 2, 3, 4, 30, 300} {
		var s candidates
		var sorted []*client
		clients := make([]*client, most)
		for i := range clients {
			clients[i] = newClient(Client(i))
		}
		inLine, onHeap := 0, 0
		for now := range time.Duration(3000) {
			c := clients[r.IntN(most)]
			switch r.IntN(6) {
			case 0, 1, 2:
				c.since, c.reserved = now/4, 0
			case 3:
				c.since, c.reserved = now/4-time.Duration(r.IntN(20)), r.IntN(3)
				c.jobs = make([]job, r.IntN(3))
			case 4: // as it was
			default:
				if c.candidate() {
					s.remove(c)
					sorted = without(sorted, c)
				}
				continue
			}
			s.put(c)
			inLine += btoi(c.inLine)
			onHeap += btoi(!c.inLine)
			sorted = append(without(sorted, c), c)
			slices.SortFunc(sorted, func(a, b *client) int {
				return cmp.Or(cmp.Compare(len(a.jobs)+a.reserved, len(b.jobs)+b.reserved),
					cmp.Compare(a.since, b.since), cmp.Compare(a.id, b.id))
			})
			if err := s.check(); err != nil {
				t.Fatal(err)
			}
			checkFirst(t, &s, sorted)
		}
		if inLine == 0 || onHeap == 0 {
			t.Errorf("of up to %d clients, %d were put in line, %d on the heap", most, inLine, onHeap)
		}
		for len(sorted) > 0 {
			checkFirst(t, &s, sorted)
			s.remove(sorted[0])
			sorted = sorted[1:]
		}
		checkFirst(t, &s, nil)
	}
}

func checkFirst(t *testing.T, s *candidates, sorted []*client) {
	t.Helper()
	if n := s.len(); n != len(sorted) {
		t.Fatalf("%d candidates, want %d", n, len(sorted))
	}
	sorted = append(slices.Clone(sorted), nil, nil)
	first, second := sorted[0], sorted[1]
	if got := s.first(); got != first {
		t.Fatalf("%v comes first, want %v", got, first)
	}
	if got := s.firstBut(second); got != first {
		t.Fatalf("but for the second, %v comes first, want %v", got, first)
	}
	if got := s.firstBut(first); got != second {
		t.Fatalf("but for the first, %v comes first, want %v", got, second)
	}
}
