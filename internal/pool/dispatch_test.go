package pool

import (
	"slices"
	"testing"
)

func TestArmed(t *testing.T) {
	p := New(DefaultLimits(1))
	for _, e := range []Event{
		{Kind: Acquire, Client: 1, Ticket: 1},
		{Kind: Watch, Client: 2, Ticket: 2, Handle: 30, Wait: true},
		{Kind: Watch, Client: 3, Ticket: 3, Handle: 20, Wait: true},
		{Kind: Watch, Client: 4, Ticket: 4, Handle: 20, Wait: true},
		{Kind: Watch, Client: 5, Ticket: 5, Handle: 10, Wait: true},
		{Kind: Watch, Client: 6, Ticket: 6, Handle: 40},
	} {
		p.Step(0, e)
	}
	if got, want := p.Armed([]Handle{99}), []Handle{99, 10, 20, 30}; !slices.Equal(got, want) {
		t.Errorf("polls of %v wait, want %v", got, want)
	}
	p.Step(0, Event{Kind: Return, Client: 1, Ticket: 7, N: 1}) // wakes client 2
	if got, want := p.Armed(nil), []Handle{10, 20}; !slices.Equal(got, want) {
		t.Errorf("polls of %v wait, want %v", got, want)
	}
	if !p.Polled(30) || p.Polled(40) {
		t.Errorf("polled: 30 %t, 40 %t", p.Polled(30), p.Polled(40))
	}
	if !p.Has(1) || p.Knows(1) || p.Has(7) {
		t.Errorf("has client 1: %t, which would be missed: %t; has client 7: %t", p.Has(1), p.Knows(1), p.Has(7))
	}
}
