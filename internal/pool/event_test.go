package pool

import "testing"

func TestEventString(t *testing.T) {
	for _, test := range []struct {
		event Event
		want  string
	}{
		{Event{Kind: Acquire, Client: 1, Ticket: 7, Wait: true}, "acquire client=1 ticket=7 wait"},
		{Event{Kind: Return, Client: 1, Ticket: 7, N: 3}, "return client=1 ticket=7 n=3"},
		{Event{Kind: Return, Client: 1, Ticket: 7, N: 3, Forgive: true}, "return client=1 ticket=7 n=3 forgive"},
		{Event{Kind: Cancel, Ticket: 7}, "cancel ticket=7"},
		{Event{Kind: Watch, Client: 1, Ticket: 7, Handle: 9, Wait: true}, "watch client=1 ticket=7 handle=9 wait"},
		{Event{Kind: Close, Handle: 9}, "close handle=9"},
		{Event{Kind: Exit, Client: 1}, "exit client=1"},
		{Event{Kind: Forget, Client: 1}, "forget client=1"},
		{Event{Kind: Refuse, Client: 1, Ticket: 7, Wait: true}, "refuse client=1 ticket=7 wait"},
		{Event{Kind: Lost, Client: 1, N: 2, Private: true}, "lost client=1 n=2 private"},
		{Event{Kind: Set, Ticket: 7, Mask: FieldJobs | FieldLoadAverage, Limits: Limits{Jobs: 4, LoadAverage: 2.5}},
			"set ticket=7 jobs=4 load-average=2.5"},
		{Event{Kind: Set, Ticket: 7, Mask: AllFields, Limits: DefaultLimits(2)},
			"set ticket=7 jobs=2 min-jobs=1 load-average=0 load-recheck-timeout=500ms min-memory-avail=0 per-process-limit=0"},
		{Event{Kind: Sample, Load: 1.5, Memory: 800}, "sample load=1.5 memory=800"},
		{Event{Kind: Relay, Client: 1, Ticket: 7, N: 8, Wait: true, Idle: true, Less: true, Now: true}, "relay client=1 ticket=7 n=8 idle less now wait"},
		{Event{Kind: Nest, Client: 1, Ticket: 7, Under: [MaxUnder]Client{5, 6}}, "nest client=1 ticket=7 under=5 under=6"},
		{Event{Kind: Leave, Client: 1, Ticket: 7}, "leave client=1 ticket=7"},
		{Event{Kind: Hold, Client: 1, N: 2}, "hold client=1 n=2"},
		{Event{Kind: Lodge, Client: 1, Under: [MaxUnder]Client{5}}, "lodge client=1 under=5"},
		{Event{Kind: Tick}, "tick"},
		{Event{Kind: Stop}, "stop"},
	} {
		if got := test.event.String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
		// The stories are written in these lines.
		if got, err := parseEvent(test.want); err != nil || got != test.event {
			t.Errorf("%q reads as %+v, %v", test.want, got, err)
		}
	}
}

func TestEffectString(t *testing.T) {
	for _, test := range []struct {
		effect Effect
		want   string
	}{
		{Effect{Kind: Grant, Client: 1, Ticket: 7}, "grant client=1 ticket=7"},
		{Effect{Kind: Grant, Client: 1, Ticket: 7, Wait: true, Private: true}, "grant client=1 ticket=7 wait private"},
		{Effect{Kind: Deny, Ticket: 7}, "deny ticket=7"},
		{Effect{Kind: Accept, Ticket: 7}, "accept ticket=7 n=0"},
		{Effect{Kind: Excess, Ticket: 7}, "excess ticket=7"},
		{Effect{Kind: Readiness, Ticket: 7}, "readiness ticket=7 ready=false"},
		{Effect{Kind: Interrupt, Ticket: 7}, "interrupt ticket=7"},
		{Effect{Kind: Abort, Ticket: 7}, "abort ticket=7"},
		{Effect{Kind: Changed, Ticket: 7}, "changed ticket=7"},
		{Effect{Kind: Relayed, Client: 1, Ticket: 7, N: 2, Wanted: true, Less: true}, "relayed client=1 ticket=7 n=2 wanted less"},
		{Effect{Kind: Nested, Client: 1, Ticket: 7, N: 1}, "nested client=1 ticket=7 n=1"},
		{Effect{Kind: Left, Ticket: 7}, "left ticket=7"},
		{Effect{Kind: Invalid, Ticket: 7}, "invalid ticket=7"},
		{Effect{Kind: Wake, Client: 1, Handle: 9}, "wake client=1 handle=9"},
	} {
		if got := test.effect.String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestUnknownKindString(t *testing.T) {
	if got, want := EventKind(0).String(), "kind(0)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := EffectKind(200).String(), "kind(200)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
