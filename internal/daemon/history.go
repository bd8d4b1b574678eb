package daemon

import (
	"math"
	"time"

	"steve/internal/front"
	"steve/internal/journal"
	"steve/internal/pool"
)

// A history is what a daemon remembers beside what the pool and the front do.
type history struct {
	options   pool.Limits // of the last command line
	takeovers uint64      // how many times a process went on from another
}

// The numbers of the facts of kind front.FactDaemon. They are part of the journal's format.
const (
	factJobs = iota + 1
	factMinJobs
	factLoadAverage
	factRecheckTimeout
	factMinMemory
	factPerProcess
	factTakeovers
)

func historyOf(facts []journal.Fact) (h history) {
	for _, f := range facts {
		if f.Kind != front.FactDaemon {
			continue
		}
		switch f.A {
		case factJobs:
			h.options.Jobs = int(f.B)
		case factMinJobs:
			h.options.MinJobs = int(f.B)
		case factLoadAverage:
			h.options.LoadAverage = math.Float64frombits(f.B)
		case factRecheckTimeout:
			h.options.RecheckTimeout = time.Duration(f.B)
		case factMinMemory:
			h.options.MinMemory = int64(f.B)
		case factPerProcess:
			h.options.PerProcess = int(f.B)
		case factTakeovers:
			h.takeovers = f.B
		}
	}
	return h
}

// facts notes those that historyOf reads.
func (h history) facts(note func(journal.Fact)) {
	for n, value := range map[uint64]uint64{
		factJobs:           uint64(h.options.Jobs),
		factMinJobs:        uint64(h.options.MinJobs),
		factLoadAverage:    math.Float64bits(h.options.LoadAverage),
		factRecheckTimeout: uint64(h.options.RecheckTimeout),
		factMinMemory:      uint64(h.options.MinMemory),
		factPerProcess:     uint64(h.options.PerProcess),
		factTakeovers:      h.takeovers,
	} {
		note(journal.Fact{Kind: front.FactDaemon, A: n, B: value})
	}
}

// takeover is the fact that a process went on from another.
func (h history) takeover() journal.Fact {
	return journal.Fact{Kind: front.FactDaemon, A: factTakeovers, B: h.takeovers}
}

// changed is the event that makes what differs in a new command line hold. What stevie has set stays otherwise.
func changed(was, options pool.Limits) pool.Event {
	e := pool.Event{Kind: pool.Set, Limits: options}
	for _, f := range []struct {
		bit     pool.Field
		differs bool
	}{
		{pool.FieldJobs, options.Jobs != was.Jobs},
		{pool.FieldMinJobs, options.MinJobs != was.MinJobs},
		{pool.FieldLoadAverage, options.LoadAverage != was.LoadAverage},
		{pool.FieldRecheckTimeout, options.RecheckTimeout != was.RecheckTimeout},
		{pool.FieldMinMemory, options.MinMemory != was.MinMemory},
		{pool.FieldPerProcess, options.PerProcess != was.PerProcess},
	} {
		if f.differs {
			e.Mask |= f.bit
		}
	}
	return e
}
