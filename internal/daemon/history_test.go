package daemon

import (
	"testing"
	"time"

	"steve/internal/journal"
	"steve/internal/pool"
)

func TestHistory(t *testing.T) {
	want := history{
		options:   pool.Limits{Jobs: 12, MinJobs: 2, LoadAverage: 13.5, RecheckTimeout: time.Second, MinMemory: -1, PerProcess: 3},
		takeovers: 4,
	}
	facts := []journal.Fact{{Kind: 1, A: factJobs, B: 99}} // another's
	want.facts(func(f journal.Fact) { facts = append(facts, f) })
	if got := historyOf(facts); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Only what differs on the command line changes what holds.
func TestHistoryChanged(t *testing.T) {
	options := pool.DefaultLimits(4)
	if e := changed(options, options); e.Mask != 0 {
		t.Errorf("the same options: %v", e)
	}
	for bit, change := range map[pool.Field]func(*pool.Limits){
		pool.FieldJobs:           func(l *pool.Limits) { l.Jobs = 5 },
		pool.FieldMinJobs:        func(l *pool.Limits) { l.MinJobs = 5 },
		pool.FieldLoadAverage:    func(l *pool.Limits) { l.LoadAverage = 5 },
		pool.FieldRecheckTimeout: func(l *pool.Limits) { l.RecheckTimeout = 5 },
		pool.FieldMinMemory:      func(l *pool.Limits) { l.MinMemory = 5 },
		pool.FieldPerProcess:     func(l *pool.Limits) { l.PerProcess = 5 },
	} {
		other := options
		change(&other)
		if e := changed(options, other); e.Kind != pool.Set || e.Mask != bit || e.Limits != other {
			t.Errorf("field %#x: %v", bit, e)
		}
	}
}

func TestAboutIsIn(t *testing.T) {
	a := about{Transport: CUSE, Path: "/dev/steve"}
	for text, want := range map[string]bool{
		`{"Transport":"cuse","Path":"/dev/steve"}`:               true,
		`{"Transport":"cuse","Path":"/dev/steve","Later":"one"}`: true,
		`{"Transport":"fuse","Path":"/dev/steve"}`:               false,
		`{"Transport":"cuse","Path":"/dev/other"}`:               false,
		`{"Transport":"cuse"`:                                    false,
		``:                                                       false,
	} {
		if got := a.isIn([]byte(text)); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}
