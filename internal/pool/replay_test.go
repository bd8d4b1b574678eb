package pool

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRules pins what the rules do with a long run of events, and how the events and the state they leave are written.
func TestRules(t *testing.T) {
	const want = "228c3d8af67e0def0b8fdd0a7632e16b6283c7c0811042805be19f01a41c1b52"
	const lives, life = 60, 1000
	h := sha256.New()
	for n := range uint64(lives) {
		s := shapes[n%uint64(len(shapes))]
		w := newWorld(s, rand.New(rand.NewPCG(0, n)))
		p := New(DefaultLimits(s.jobs))
		step := func(e Event) {
			h.Write(AppendEvent(nil, e))
			effects := p.Step(w.now, e)
			for _, f := range effects {
				fmt.Fprintf(h, "%d %t %t %t %t %t %d %d %d %d\n",
					f.Kind, f.Wait, f.Private, f.Ready, f.Wanted, f.Less, f.Client, f.Ticket, f.Handle, f.N)
			}
			w.hear(effects)
		}
		for range life {
			step(w.event(p))
		}
		h.Write(p.AppendState(nil))
		step(Event{Kind: Stop})
		h.Write(p.AppendState(nil))
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != want {
		t.Errorf("the rules have changed, or what this test does: raise pool.Rules and put this hash here: %s", got)
	}
}

// revive returns the pool whose state is encoded in b.
func revive(b []byte) (*Pool, error) {
	s, err := DecodeState(b)
	if err != nil {
		return nil, err
	}
	return Restore(s)
}

// An entry of a log is an event and when it happened.
type entry struct {
	now   time.Duration
	event []byte
}

func (e entry) replay(p *Pool) ([]Effect, error) {
	event, err := DecodeEvent(e.event)
	if err != nil {
		return nil, err
	}
	return p.Step(e.now, event), nil
}

// A history is a run that is cut after every step. What is left then is a snapshot and the log of the events since: from
// them comes a pool of the same state, whose last step had the same effects.
type history struct {
	world    *world
	pool     *Pool
	snapshot []byte // of the pool before this step
	young    *Pool  // replays this step alone
	old      *Pool  // replays all steps since an earlier snapshot
	log      []entry
}

func (h *history) step(e Event) error {
	h.log = append(h.log, entry{h.world.now, AppendEvent(nil, e)})
	var err error
	if h.young, err = revive(h.snapshot); err != nil {
		return err
	}
	effects := h.pool.Step(h.world.now, e)
	state := h.pool.State()
	h.snapshot = h.pool.AppendState(h.snapshot[:0])
	if decoded, err := DecodeState(h.snapshot); err != nil || !reflect.DeepEqual(decoded, state) {
		return fmt.Errorf("state is\n%+v, %v, was\n%+v", decoded, err, state)
	}
	for _, p := range []*Pool{h.young, h.old} {
		again, err := h.log[len(h.log)-1].replay(p)
		if err != nil {
			return err
		}
		if !slices.Equal(again, effects) {
			return fmt.Errorf("effects are %v, in the replay %v", effects, again)
		}
		if !bytes.Equal(p.AppendState(nil), h.snapshot) { // of which state is what is decoded
			return fmt.Errorf("state is\n%+v, after the replay\n%+v", state, p.State())
		}
	}
	h.world.hear(effects)
	if h.world.percent(2) {
		h.old = h.young
	}
	return nil
}

// TestCutAnywhere cuts runs at every step.
func TestCutAnywhere(t *testing.T) {
	start := seed(t)
	for i, s := range shapes {
		t.Run(strings.ReplaceAll(s.name, " ", "_"), func(t *testing.T) {
			p := New(DefaultLimits(s.jobs))
			first := p.AppendState(nil)
			old, err := revive(first)
			if err != nil {
				t.Fatal(err)
			}
			h := history{world: newWorld(s, rand.New(rand.NewPCG(start, uint64(i)))), pool: p, snapshot: slices.Clone(first), old: old}
			for n := range 1000 {
				e := h.world.event(p)
				if n == 950 {
					e = Event{Kind: Stop}
				}
				if err := h.step(e); err != nil {
					t.Fatalf("step %d: %v: %v", n, e, err)
				}
			}
			whole, err := revive(first)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range h.log {
				if _, err := e.replay(whole); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(whole.AppendState(nil), h.snapshot) {
				t.Errorf("state is\n%+v, after a replay of all\n%+v", p.State(), whole.State())
			}
		})
	}
}
