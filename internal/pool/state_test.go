package pool

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sound is the state of a pool with something of everything: two tokens held and the third reserved, a lender, a blocked
// read, a poll, a retrier, a relay that waits and one that does not, two guests and one who would be the third.
func sound() State {
	p := New(DefaultLimits(3))
	for _, e := range []Event{
		{Kind: Return, Client: 4, Ticket: 1, N: 1},
		{Kind: Acquire, Client: 1, Ticket: 2},
		{Kind: Acquire, Client: 1, Ticket: 3},
		{Kind: Acquire, Client: 1, Ticket: 4},
		{Kind: Watch, Client: 2, Ticket: 5, Handle: 20, Wait: true},
		{Kind: Acquire, Client: 3, Ticket: 6},
		{Kind: Acquire, Client: 5, Ticket: 7, Wait: true},
		{Kind: Relay, Client: 6, Ticket: 9, N: 2, Wait: true},
		{Kind: Relay, Client: 7, Ticket: 10, N: 1},
		{Kind: Nest, Client: 8, Ticket: 11, Under: [MaxUnder]Client{4, 1}},
		{Kind: Nest, Client: 9, Ticket: 12, Under: [MaxUnder]Client{4, 1}},
		{Kind: Return, Client: 1, Ticket: 8, N: 1},
		{Kind: Nest, Client: 10, Ticket: 13, Under: [MaxUnder]Client{4, 1}},
	} {
		p.Step(time.Millisecond, e)
	}
	return p.State()
}

func TestRestore(t *testing.T) {
	s := sound()
	p, err := Restore(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckInvariants(); err != nil {
		t.Error(err)
	}
	if got := p.State(); !reflect.DeepEqual(got, s) {
		t.Errorf("state is\n%+v, was\n%+v", got, s)
	}
	guests := 0
	for _, c := range s.Clients {
		guests += btoi(c.Host == 1)
	}
	if len(s.Clients) != 10 || len(s.Reservations) != 1 || len(s.Relays) != 2 || len(s.Nests) != 1 || guests != 2 {
		t.Errorf("the state is not as described: %+v", s)
	}
}

// TestStateIsACopy: what is done to a State is not done to the pool it came from, or went to.
func TestStateIsACopy(t *testing.T) {
	s := sound()
	p, err := Restore(s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Clients {
		clear(s.Clients[i].Jobs)
		clear(s.Clients[i].Waiting)
		clear(s.Clients[i].Watches)
	}
	clear(s.Reservations)
	clear(s.Relays)
	clear(s.Nests)
	if got, want := p.State(), sound(); !reflect.DeepEqual(got, want) {
		t.Errorf("state is\n%+v, was\n%+v", got, want)
	}
}

func TestRestoreRefuses(t *testing.T) {
	client := func(s *State, id Client) *ClientState {
		for i := range s.Clients {
			if s.Clients[i].ID == id {
				return &s.Clients[i]
			}
		}
		return nil
	}
	for _, test := range []struct {
		name  string
		spoil func(s *State)
		want  string
	}{
		{"limits", func(s *State) { s.Limits.Jobs = 0 }, "jobs is 0"},
		{"sum", func(s *State) { s.Held++ }, "add up"},
		{"forgiven", func(s *State) { s.Forgiven = -1 }, "fewer tokens forgiven"},
		{"client twice", func(s *State) { s.Clients = append(s.Clients, s.Clients[0]) }, "a client twice"},
		{"job twice", func(s *State) { client(s, 1).Jobs[0] = client(s, 1).Jobs[1] }, "twice"},
		{"job number", func(s *State) { client(s, 1).Jobs[0].Number = MaxJobs }, "out of range"},
		{"never took", func(s *State) { client(s, 1).Taken = false }, "never took"},
		{"nobody lent", func(s *State) { client(s, 4).Lender = false }, "nobody lent"},
		{"in beside a reader", func(s *State) { client(s, 5).Lender, client(s, 5).In = true, true }, "own reader"},
		{"ticket twice", func(s *State) { client(s, 3).Waiting = client(s, 5).Waiting }, "a ticket twice"},
		{"handle twice", func(s *State) {
			client(s, 2).Watches = append(client(s, 2).Watches, client(s, 2).Watches...)
		}, "one open file twice"},
		{"reservation of nobody", func(s *State) { s.Reservations[0].Client = 77 }, "unknown client"},
		{"reservations out of order", func(s *State) {
			s.Limits.Jobs = 10
			s.Reservations = append(s.Reservations, Reservation{3, 0})
		}, "out of order"},
		{"too many reservations", func(s *State) {
			s.Reservations = append(s.Reservations, s.Reservations[0], s.Reservations[0])
		}, "more tokens reserved than free"},
		{"stopped with a reader", func(s *State) { s.Stopped = true }, "somebody waits"},
		{"denied in the future", func(s *State) { client(s, 1).Denied = s.Now + 1 }, "later than now"},
		{"job in the future", func(s *State) { client(s, 1).Jobs[1].Since = s.Now + 1 }, "later than now"},
		{"jobs out of order", func(s *State) { client(s, 1).Jobs[0].Since = client(s, 1).Jobs[1].Since + 1 }, "out of order"},
		{"waiting since the future", func(s *State) { client(s, 5).Waiting[0].Since = s.Now + 1 }, "later than now"},
		{"refused for too long", func(s *State) { s.Refused = s.Now + refuseWindow + 1 }, "refused for longer"},
		{"reserved for too long", func(s *State) { s.Reservations[0].Deadline = s.Now + reserveWindow + 1 }, "longer"},
		{"relay of nobody", func(s *State) { s.Relays[1].Client = 77 }, "a relay twice"},
		{"relay twice", func(s *State) { s.Relays = append(s.Relays, s.Relays[0]) }, "a relay twice"},
		{"two relays of a client", func(s *State) {
			s.Relays = append(s.Relays, RelayState{Client: 7, Ticket: 99})
		}, "a relay twice"},
		{"two relays of a ticket", func(s *State) {
			s.Relays = append(s.Relays, RelayState{Client: 8, Ticket: s.Relays[1].Ticket})
		}, "a relay twice"},
		{"relay by another's read", func(s *State) { s.Relays[0].Ticket = client(s, 5).Waiting[0].Ticket }, "nobody's"},
		{"relay that waits nowhere", func(s *State) { client(s, 6).Waiting = nil }, "nobody's"},
		{"relay that waits without a word", func(s *State) { s.Relays[0].Wait = false }, "nobody's"},
		{"relay that wants less than nothing", func(s *State) { s.Relays[1].N = -1 }, "nobody's"},
		{"relay that wants more than all", func(s *State) { s.Relays[1].N = MaxJobs + 1 }, "nobody's"},
		{"nest of nobody", func(s *State) { s.Nests[0].Client = 77 }, "a nest twice"},
		{"nest twice", func(s *State) { s.Nests = append(s.Nests, s.Nests[0]) }, "a nest twice"},
		{"nest by another's read", func(s *State) { s.Nests[0].Ticket = client(s, 5).Waiting[0].Ticket }, "nobody's"},
		{"nest by a relay", func(s *State) { s.Nests[0].Client, s.Nests[0].Ticket = 6, s.Relays[0].Ticket }, "nobody's"},
		{"nest that waits nowhere", func(s *State) { client(s, 10).Waiting = nil }, "nobody's"},
		{"nest by a relay that waits for nothing", func(s *State) {
			s.Nests[0].Client, s.Nests[0].Ticket = 7, s.Relays[1].Ticket
		}, "nobody's"},
		{"guest of nobody", func(s *State) { client(s, 8).Host = 77 }, "slot of nobody"},
		{"guest of itself", func(s *State) { client(s, 8).Host = 8 }, "of itself"},
		{"guest that waits for a slot", func(s *State) { client(s, 10).Host = 1 }, "waits for one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := sound()
			test.spoil(&s)
			if _, err := Restore(s); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
}

// FuzzRestore spoils states: those accepted make a pool that keeps its invariants from its first step on.
func FuzzRestore(f *testing.F) {
	f.Add(uint64(1), []byte{})
	f.Add(uint64(2), []byte{0, 0, 1, 9, 2, 3})
	f.Add(uint64(3), []byte{4, 1, 0, 4, 1, 1, 6, 0, 2, 8, 0, 1, 11, 0, 4})
	f.Add(uint64(4), []byte{16, 2, 77, 17, 4, 7, 18, 3, 5, 19, 0, 1, 20, 1, 2, 21, 0, 9})
	f.Fuzz(func(t *testing.T, seed uint64, spoil []byte) {
		s := sound()
		for ; len(spoil) >= 3; spoil = spoil[3:] {
			spoilState(&s, spoil[0], int(spoil[1]), int(spoil[2]))
		}
		p, err := Restore(s)
		if err != nil {
			return
		}
		w := newWorld(shapes[2], rand.New(rand.NewPCG(seed, 0)))
		w.now, w.tickets = s.Now, 1000
		for range 200 {
			e := w.event(p)
			p.Step(w.now, e)
			if err := p.CheckInvariants(); err != nil {
				t.Fatalf("after %v: %v", e, err)
			}
		}
	})
}

// spoilState sets one thing of one client to n.
func spoilState(s *State, what byte, who, n int) {
	c := &s.Clients[who%len(s.Clients)]
	d := time.Duration(n) * time.Millisecond
	switch what % 22 {
	case 0:
		c.Taken = !c.Taken
	case 1:
		c.Lender = !c.Lender
	case 2:
		c.In = !c.In
	case 3:
		c.Retries = !c.Retries
	case 4:
		c.Jobs = append(c.Jobs, Job{uint32(n), s.Now})
		s.Held++
	case 5:
		c.Jobs = nil
	case 6:
		c.Watches = append(c.Watches, Watching{Handle(n), who%2 == 0})
	case 7:
		c.Waiting = append(c.Waiting, Waiting{Ticket(n), s.Now})
	case 8:
		s.Limits.Jobs = n
	case 9:
		s.Reservations = append(s.Reservations, Reservation{c.ID, d})
	case 10:
		s.Stopped = !s.Stopped
	case 11:
		s.Held = n
	case 12:
		c.Denied = d
	case 13:
		c.Since, c.Left = d, d
	case 14:
		s.Now = d
	case 15:
		s.Limits.PerProcess, s.Refused, s.Limits.LoadAverage = n%3, d, float64(n%4)
	case 16:
		s.Relays = append(s.Relays, RelayState{Client: c.ID, Ticket: Ticket(n), N: n % 3, Wait: n%2 == 0, Idle: n%5 == 0, Less: n%7 == 0})
	case 17:
		s.Nests = append(s.Nests, NestState{Client: c.ID, Ticket: Ticket(n)})
	case 18:
		c.Host = Client(n % 12)
	case 19:
		s.Relays = s.Relays[:n%(len(s.Relays)+1)]
	case 20:
		for i := range s.Relays {
			r := &s.Relays[i]
			r.N, r.Idle, r.Less = n%3, n%2 == 0, n%5 == 0
		}
	case 21:
		for i := range s.Nests {
			s.Nests[i].Under[who%MaxUnder] = Client(n % 12)
		}
	}
}
