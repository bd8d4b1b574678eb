package pool

import "testing"

// Forgotten, a client would come back as another one, and have as many guests once more.
func TestKnowsHosts(t *testing.T) {
	p := New(DefaultLimits(1))
	for _, e := range []Event{
		{Kind: Acquire, Client: 1, Ticket: 1},
		{Kind: Nest, Client: 2, Ticket: 2, Under: [MaxUnder]Client{1}},
		{Kind: Return, Client: 1, Ticket: 3, N: 1},
	} {
		p.Step(0, e)
	}
	if !p.Knows(1) || !p.Knows(2) {
		t.Errorf("knows the host: %t, the guest: %t", p.Knows(1), p.Knows(2))
	}
	p.Step(0, Event{Kind: Leave, Client: 2, Ticket: 4})
	if p.Knows(1) || p.Knows(2) {
		t.Errorf("after the guest left, knows the host: %t, the guest: %t", p.Knows(1), p.Knows(2))
	}
}
