package pool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// events are one of each kind at least, with something in every field that it names.
var events = []Event{
	{Kind: Acquire, Client: 1, Ticket: 2, Wait: true},
	{Kind: Acquire, Client: math.MaxUint64, Ticket: math.MaxUint64},
	{Kind: Return, Client: 1, Ticket: 2, N: 3},
	{Kind: Return, Client: 1, Ticket: 2, N: math.MaxInt, Forgive: true},
	{Kind: Cancel, Ticket: 2},
	{Kind: Watch, Client: 1, Ticket: 2, Handle: 1 << 63, Wait: true},
	{Kind: Watch, Client: 1, Ticket: 2, Handle: 3},
	{Kind: Close, Handle: 3},
	{Kind: Exit, Client: 1},
	{Kind: Forget, Client: 1},
	{Kind: Refuse, Client: 1, Ticket: 2, Wait: true},
	{Kind: Lost, Client: 1, N: 3},
	{Kind: Lost, Client: 1, N: 1, Private: true},
	{Kind: Set, Ticket: 2, Mask: math.MaxUint32, Limits: Limits{
		Jobs: -1, MinJobs: math.MaxInt, LoadAverage: math.Inf(-1), RecheckTimeout: math.MinInt64, MinMemory: math.MinInt64, PerProcess: 7,
	}},
	{Kind: Set, Mask: FieldJobs, Limits: Limits{Jobs: 1}},
	{Kind: Sample, Load: 1.5, Memory: -1},
	{Kind: Tick},
	{Kind: Stop},
	{Kind: Relay, Client: 1, Ticket: 2, N: 3, Wait: true, Idle: true, Less: true, Now: true},
	{Kind: Relay, Client: 1, Ticket: 2, Idle: true},
	{Kind: Nest, Client: 1, Ticket: 2, Under: [MaxUnder]Client{3, 4, 5, 6}},
	{Kind: Leave, Client: 1, Ticket: 2},
	{Kind: Hold, Client: 1, N: 3},
	{Kind: Lodge, Client: 1, Under: [MaxUnder]Client{3}},
}

func TestEvents(t *testing.T) {
	seen := map[EventKind]bool{}
	for _, e := range events {
		seen[e.Kind] = true
		b := AppendEvent([]byte("before"), e)
		rest, ok := bytes.CutPrefix(b, []byte("before"))
		if got, err := DecodeEvent(rest); err != nil || !ok || got != e {
			t.Errorf("%v became %v, %v", e, got, err)
		}
		for n := range rest {
			if got, err := DecodeEvent(rest[:n]); err == nil {
				t.Errorf("the first %d bytes of %v are %v", n, e, got)
			}
		}
		if got, err := DecodeEvent(append(rest, 0)); err == nil {
			t.Errorf("%v and a byte more are %v", e, got)
		}
	}
	for k := range eventNames {
		if k > 0 && !seen[EventKind(k)] {
			t.Errorf("no event is a %v", EventKind(k))
		}
	}
}

// TestUnnamedFields: what a kind does not name is not written.
func TestUnnamedFields(t *testing.T) {
	full := Event{
		Wait: true, Private: true, Idle: true, Less: true, Now: true, Forgive: true, Client: 1, Ticket: 2, Handle: 3, N: 4,
		Under: [MaxUnder]Client{5, 6, 7, 8}, Mask: AllFields, Limits: DefaultLimits(9), Load: 10, Memory: 11,
	}
	for _, test := range []Event{
		{Kind: Acquire, Wait: true, Client: 1, Ticket: 2},
		{Kind: Return, Forgive: true, Client: 1, Ticket: 2, N: 4},
		{Kind: Cancel, Ticket: 2},
		{Kind: Watch, Wait: true, Client: 1, Ticket: 2, Handle: 3},
		{Kind: Lost, Private: true, Client: 1, N: 4},
		{Kind: Set, Ticket: 2, Mask: AllFields, Limits: DefaultLimits(9)},
		{Kind: Sample, Load: 10, Memory: 11},
		{Kind: Tick},
		{Kind: Relay, Wait: true, Idle: true, Less: true, Now: true, Client: 1, Ticket: 2, N: 4},
		{Kind: Nest, Client: 1, Ticket: 2, Under: [MaxUnder]Client{5, 6, 7, 8}},
		{Kind: Lodge, Client: 1, Under: [MaxUnder]Client{5}},
	} {
		e := full
		e.Kind = test.Kind
		if got, err := DecodeEvent(AppendEvent(nil, e)); err != nil || got != test {
			t.Errorf("%+v became %+v, %v", e, got, err)
		}
	}
}

func TestDecodeEventRefuses(t *testing.T) {
	for _, test := range []struct {
		name  string
		event Event
		spoil func(b []byte)
		want  string
	}{
		{"no kind", Event{Kind: Tick}, func(b []byte) { b[0] = 0 }, "unknown kind(0)"},
		{"kind of the future", Event{Kind: Tick}, func(b []byte) { b[0] = byte(len(eventNames)) }, "unknown kind"},
		{"other kind", Event{Kind: Exit}, func(b []byte) { b[0] = byte(Acquire) }, "acquire of 10 bytes, must be 18"},
		{"flag of another kind", Event{Kind: Acquire}, func(b []byte) { b[1] = flagIdle }, "acquire with flags 0x4"},
		{"flag of the future", Event{Kind: Relay}, func(b []byte) { b[1] = 0x80 }, "flags 0x80"},
		{"fewer tokens than none", Event{Kind: Return, N: -1}, func(b []byte) {}, "return: fewer tokens than none"},
		{"mask", Event{Kind: Set}, func(b []byte) { b[2+8+4] = 1 }, "set: a mask out of range"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := AppendEvent(nil, test.event)
			test.spoil(b)
			if e, err := DecodeEvent(b); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("event is %v, error %v, want one with %q", e, err, test.want)
			}
		})
	}
}

// FuzzDecodeEvent: bytes that are an event are its only encoding.
func FuzzDecodeEvent(f *testing.F) {
	for _, e := range events {
		f.Add(AppendEvent(nil, e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEvent(b)
		if err != nil {
			return
		}
		if again := AppendEvent(nil, e); !bytes.Equal(again, b) {
			t.Errorf("%v is read from %x and written as %x", e, b, again)
		}
	})
}

// soundPool is a pool with the state sound.
func soundPool(t testing.TB) *Pool {
	p, err := Restore(sound())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStates(t *testing.T) {
	extreme := New(Limits{
		Jobs: 100, MinJobs: MaxJobs, LoadAverage: -1.5, RecheckTimeout: MaxRecheckTimeout, MinMemory: math.MinInt64, PerProcess: MaxJobs,
	})
	for _, e := range []Event{
		{Kind: Sample, Load: math.Inf(1), Memory: math.MinInt64},
		{Kind: Hold, Client: math.MaxUint64, N: 100},
		{Kind: Return, Client: 7, Ticket: 1, N: math.MaxInt, Forgive: true},
		{Kind: Watch, Client: 0, Ticket: math.MaxUint64, Handle: math.MaxUint64, Wait: true},
		{Kind: Relay, Client: 0, Ticket: math.MaxUint64 - 1, N: 10, Idle: true},
	} {
		extreme.Step(math.MaxInt64-time.Hour, e)
	}
	stopped := soundPool(t)
	stopped.Step(time.Second, Event{Kind: Stop})
	for name, p := range map[string]*Pool{
		"new": New(DefaultLimits(1)), "sound": soundPool(t), "extreme": extreme, "stopped": stopped,
	} {
		t.Run(name, func(t *testing.T) {
			b := p.AppendState([]byte("before"))
			rest, ok := bytes.CutPrefix(b, []byte("before"))
			if got, err := DecodeState(rest); err != nil || !ok || !reflect.DeepEqual(got, p.State()) {
				t.Errorf("state is\n%+v, %v, was\n%+v", got, err, p.State())
			}
			for n := range rest {
				if _, err := DecodeState(rest[:n]); err == nil {
					t.Errorf("the first %d bytes are a state", n)
				}
			}
			if _, err := DecodeState(append(rest, 0)); err == nil {
				t.Error("a byte more is a state, too")
			}
		})
	}
}

func TestDecodeStateRefuses(t *testing.T) {
	empty := New(DefaultLimits(1)).AppendState(nil)
	empty = empty[:len(empty)-4] // without clients, reservations, relays and nests
	const flags, forgiven = 3, 1 // from its end
	many := binary.AppendUvarint(nil, math.MaxUint64)
	for _, test := range []struct {
		name string
		b    []byte
		want string
	}{
		{"no jobs at all", append(slices.Clone(many), empty[1:]...), "a number out of range"},
		{"number with a zero in front", append([]byte{0x80, 0}, empty[1:]...), "no number"},
		{"number of more than 64 bits", append(bytes.Repeat([]byte{0xff}, 10), empty[1:]...), "no number"},
		{"flag of the future", slices.Replace(slices.Clone(empty), len(empty)-flags, len(empty)-flags+1, 4), "unknown flag"},
		{"forgiven", append(empty[:len(empty)-forgiven:len(empty)-forgiven], many...), "a number out of range"},
		{"too many clients", append(empty[:len(empty):len(empty)], many...), "truncated list"},
		{"one client too many", append(empty[:len(empty):len(empty)], 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0), "truncated list"},
		{"a client twice", append(empty[:len(empty):len(empty)], 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), "out of order"},
		{"denied at no time", append(empty[:len(empty):len(empty)], 1, 1, clientDenied, 0, 0, 0, 0, 0, 0, 0, 0, 0), "at no time"},
		{"guest of nobody", append(empty[:len(empty):len(empty)], 1, 1, clientHosted, 0, 0, 0, 0, 0, 0, 0, 0, 0), "slot of nobody"},
		{"too many jobs", append(empty[:len(empty):len(empty)], 1, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0), "truncated list"},
		{"job number", slices.Concat(empty, []byte{1, 1, 0, 0, 0, 1}, many, make([]byte, 6)), "a job number out of range"},
		{"half told", append(empty[:len(empty):len(empty)], 1, 1, 0, 0, 0, 0, 0, 1, 5, 2, 0, 0, 0), "unknown flag"},
		{"too many reservations", append(empty[:len(empty):len(empty)], 0, 2, 0, 0, 0), "truncated list"},
		{"relay's flags", append(empty[:len(empty):len(empty)], 0, 0, 1, 1, 1, 0, 8, 0), "unknown flag"},
		{"too many nests", append(empty[:len(empty):len(empty)], 0, 0, 0, 2, 0, 0, 0, 0, 0, 0), "truncated list"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if s, err := DecodeState(test.b); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("state is %+v, error %v, want one with %q", s, err, test.want)
			}
		})
	}
}

// FuzzDecodeState: bytes that are the state of a pool are its only encoding.
func FuzzDecodeState(f *testing.F) {
	f.Add(New(DefaultLimits(1)).AppendState(nil))
	f.Add(soundPool(f).AppendState(nil))
	for _, crowd := range crowds {
		r := newRig(3)
		r.crowd(5, func(c Client) { crowd.join(r, c) })
		f.Add(r.pool.AppendState(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeState(b)
		if err != nil {
			return
		}
		p, err := Restore(s)
		if err != nil {
			return
		}
		again := p.AppendState(nil)
		restored, err := DecodeState(again)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(restored, s) { // there were clients of which nothing is to be remembered, or a NaN
			p, err = Restore(restored)
			if err != nil {
				t.Fatal(err)
			}
			b = p.AppendState(nil)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%+v is read from %x and written as %x", s, b, again)
		}
	})
}

// longRun is a rig on a machine that has been up for ten days, whose clients have asked a billion times.
func longRun(jobs int) *rig {
	r := newRig(jobs)
	r.now, r.ticket = 240*time.Hour, 1<<30
	return r
}

// pollsLong polls an open file of its own, which is named by the time it was opened.
func pollsLong(r *rig, c Client) {
	r.step(Event{Kind: Watch, Client: c, Handle: Handle(r.now), Wait: true})
}

// TestStateSize: the state of a client that waits is 40 bytes at most.
func TestStateSize(t *testing.T) {
	const n = 1000
	for _, crowd := range append(crowds, crowd{"long pollers", nil, pollsLong}) {
		r := longRun(1)
		r.crowd(n, func(c Client) { crowd.join(r, c) })
		if size := len(r.pool.AppendState(nil)); size > 40*n {
			t.Errorf("%s: %.1f bytes for each", crowd.name, float64(size)/n)
		}
	}
}

// TestEncodingAllocations: with room to write to, nothing is allocated.
func TestEncodingAllocations(t *testing.T) {
	b := make([]byte, 0, 1<<20)
	for _, e := range events {
		if n := testing.AllocsPerRun(100, func() { b = AppendEvent(b[:0], e) }); n != 0 {
			t.Errorf("%v allocations for %v", n, e)
		}
	}
	for size, crowds := range map[int][]crowd{10_000: crowds, 100: askers} {
		for _, crowd := range crowds {
			r := longRun(1)
			r.crowd(size, func(c Client) { crowd.join(r, c) })
			r.pool.AppendState(b)
			if n := testing.AllocsPerRun(5, func() { b = r.pool.AppendState(b[:0]) }); n != 0 {
				t.Errorf("%v allocations for the state of %d %s", n, size, crowd.name)
			}
		}
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	room := make([]byte, 0, 128)
	for _, e := range []Event{
		{Kind: Acquire, Client: 1 << 30, Ticket: 1 << 40, Wait: true},
		{Kind: Return, Client: 1 << 30, Ticket: 1 << 40, N: 1},
		{Kind: Watch, Client: 1 << 30, Ticket: 1 << 40, Handle: 1 << 50, Wait: true},
		{Kind: Set, Ticket: 1, Mask: AllFields, Limits: DefaultLimits(4)},
	} {
		b.Run(e.Kind.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				room = AppendEvent(room[:0], e)
			}
		})
	}
}

func BenchmarkAppendState(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprintf("waiters=%d", n), func(b *testing.B) {
			r := longRun(1)
			r.crowd(n, func(c Client) { r.acquire(c, true) })
			state := r.pool.AppendState(nil)
			b.ReportAllocs()
			for b.Loop() {
				state = r.pool.AppendState(state[:0])
			}
			b.ReportMetric(float64(len(state))/float64(n), "B/waiter")
		})
	}
}

// BenchmarkRevive is what it takes until a pool of so many clients goes on.
func BenchmarkRevive(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprintf("waiters=%d", n), func(b *testing.B) {
			r := longRun(1)
			r.crowd(n, func(c Client) { r.acquire(c, true) })
			state := r.pool.AppendState(nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := revive(state); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
