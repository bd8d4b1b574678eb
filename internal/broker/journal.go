package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"steve/internal/journal"
	"steve/internal/pool"
)

// A Journal is where a broker writes down what happens. A nil *Journal takes it and keeps nothing.
type Journal struct {
	*journal.Journal
	// Facts notes those that belong to a snapshot.
	Facts func(note func(journal.Fact))
	// Failed is told why nothing can be written down. The broker goes on; nobody will go on after it.
	Failed func(error)

	failed bool
}

// event writes e down. It must come before the pool's step, and so before all that comes of it.
func (j *Journal) event(k journal.Kind, now time.Duration, e pool.Event) {
	if j != nil {
		j.Append(k, now, pool.AppendEvent(j.Room(), e))
	}
}

// received notes that the request that was read last needs no more looking at.
func (j *Journal) received() {
	if j != nil {
		j.Received()
	}
}

// Note writes a fact down.
func (j *Journal) Note(f journal.Fact) {
	j.Append(journal.KindFact, 0, journal.AppendFact(j.Room(), f))
}

// Checkpoint replaces all that is written down by what it comes to: the number of the rules by which later events are to
// be replayed, the pool's state, and facts. It must not be called between an event and those that follow from it, which come
// about again only as long as it is the last in the journal.
func (j *Journal) Checkpoint(p *pool.Pool) {
	j.Snapshot(p.AppendState(binary.NativeEndian.AppendUint32(j.SnapshotRoom(), pool.Rules)))
	j.Facts(j.Note)
	if err := j.Switch(); err != nil && !j.failed {
		j.failed = true
		j.Failed(err)
	}
}

// trim makes a checkpoint where the journal has grown by enough to be worth it.
func (j *Journal) trim(p *pool.Pool) {
	if j != nil && j.Full() {
		j.Checkpoint(p)
	}
}

// A Past is what a journal comes to.
type Past struct {
	Pool  *pool.Pool
	Facts []journal.Fact
	// Last is the last event that did not follow from another, of kind 0 if there was none since the last checkpoint.
	Last pool.Event
	// Effects are those of Last and of what followed from it, but for those that came to nothing.
	Effects []pool.Effect
	// Events is how many there were since the last checkpoint.
	Events int
}

// Recover reads a journal that another process has written. Errors wrap journal.ErrRefused.
func Recover(j *journal.Journal) (*Past, error) {
	snapshot, records, err := j.Read()
	if err != nil {
		return nil, err
	}
	refuse := func(err error) (*Past, error) { return nil, fmt.Errorf("%w: %w", journal.ErrRefused, err) }
	if len(snapshot) < 4 {
		return refuse(errors.New("its snapshot is cut short"))
	}
	rules := binary.NativeEndian.Uint32(snapshot)
	state, err := pool.DecodeState(snapshot[4:])
	if err != nil {
		return refuse(err)
	}
	p := &Past{}
	if p.Pool, err = pool.Restore(state); err != nil {
		return refuse(err)
	}
	for r := range records {
		if r.Kind == journal.KindFact {
			f, err := journal.ParseFact(r.Data)
			if err != nil {
				return refuse(err)
			}
			p.Facts = append(p.Facts, f)
			continue
		}
		if rules != pool.Rules { // a snapshot alone would do: that is what a planned end leaves
			return refuse(fmt.Errorf("it was written by a steve with other rules (%d, not %d), which was killed", rules, pool.Rules))
		}
		e, err := pool.DecodeEvent(r.Data)
		if err != nil {
			return refuse(err)
		}
		p.Events++
		if r.Kind == journal.KindEvent {
			p.Last, p.Effects = e, p.Effects[:0]
		} else if e.Ticket != 0 { // the grant that it says was not delivered
			p.Effects = slices.DeleteFunc(p.Effects, func(f pool.Effect) bool { return f.Ticket == e.Ticket })
		}
		p.Effects = append(p.Effects, p.Pool.Step(r.Now, e)...)
	}
	return p, nil
}
