package pool

import (
	"slices"
	"time"
)

// next is when something would change by itself.
func (t *twin) next() (time.Duration, bool) {
	s := &t.state
	var times []time.Duration
	wanted := slices.ContainsFunc(s.Relays, func(r RelayState) bool { return r.N > 0 })
	if s.Refused > 0 && (wanted || slices.ContainsFunc(t.universe, (*ClientState).Waits)) {
		times = append(times, s.Refused)
	}
	if len(t.candidates()) > 0 || wanted {
		for _, r := range s.Reservations {
			times = append(times, r.Deadline)
		}
		switch {
		case t.free() <= len(s.Reservations) || s.Limits.LoadAverage <= 0 && s.Limits.MinMemory <= 0:
		case s.Known:
			times = append(times, s.Sampled+s.Limits.RecheckTimeout)
		default:
			times = append(times, s.Now)
		}
	}
	if len(times) == 0 {
		return 0, false
	}
	return slices.Min(times), true
}

// armed is the handles of the polls that wait.
func (t *twin) armed() []Handle {
	var handles []Handle
	for _, c := range t.universe {
		for _, w := range c.Watches {
			if !w.Told {
				handles = append(handles, w.Handle)
			}
		}
	}
	slices.Sort(handles)
	return slices.Compact(handles)
}

func (t *twin) polled(h Handle) bool {
	return slices.ContainsFunc(t.universe, func(c *ClientState) bool {
		return slices.ContainsFunc(c.Watches, func(w Watching) bool { return w.Handle == h })
	})
}

// snapshot is the State a Pool should show.
func (t *twin) snapshot() State {
	s := t.state
	s.Held = t.held()
	s.Clients = nil
	for _, c := range t.universe {
		s.Clients = append(s.Clients, *c)
	}
	return plain(s)
}

// plain returns s without the times that count for nothing, and without the difference between no slice and an empty one.
func plain(s State) State {
	s.Clients = slices.Clone(s.Clients)
	for i := range s.Clients {
		c := &s.Clients[i]
		if c.Waits() || c.Retries {
			c.Left = 0 // set when the wait ends
		}
		if !c.Retries {
			c.Denied = 0
		}
		c.Jobs = append([]Job(nil), c.Jobs...)
		c.Waiting = append([]Waiting(nil), c.Waiting...)
		c.Watches = append([]Watching(nil), c.Watches...)
	}
	s.Reservations = append([]Reservation(nil), s.Reservations...)
	s.Relays = append([]RelayState(nil), s.Relays...)
	s.Nests = append([]NestState(nil), s.Nests...)
	return s
}
