package pool

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(l *Limits)
		want   string // the error's beginning, "" for none
	}{
		{"default", func(l *Limits) {}, ""},
		{"no jobs", func(l *Limits) { l.Jobs = 0 }, "jobs is 0, must be 1 to 1048576"},
		{"negative jobs", func(l *Limits) { l.Jobs = -3 }, "jobs is -3"},
		{"most jobs", func(l *Limits) { l.Jobs = MaxJobs }, ""},
		{"too many jobs", func(l *Limits) { l.Jobs = MaxJobs + 1 }, "jobs is 1048577"},
		{"no minimum", func(l *Limits) { l.MinJobs = 0 }, ""},
		{"minimum above jobs", func(l *Limits) { l.MinJobs = 100 }, ""},
		{"negative minimum", func(l *Limits) { l.MinJobs = -1 }, "min-jobs is -1, must be 0 to 1048576"},
		{"too large a minimum", func(l *Limits) { l.MinJobs = MaxJobs + 1 }, "min-jobs is 1048577"},
		{"load off", func(l *Limits) { l.LoadAverage = -1 }, ""},
		{"load", func(l *Limits) { l.LoadAverage = 0.01 }, ""},
		{"load not a number", func(l *Limits) { l.LoadAverage = math.NaN() }, "load-average is NaN, must be a finite number"},
		{"load infinite", func(l *Limits) { l.LoadAverage = math.Inf(1) }, "load-average is +Inf"},
		{"load minus infinite", func(l *Limits) { l.LoadAverage = math.Inf(-1) }, "load-average is -Inf"},
		{"shortest recheck", func(l *Limits) { l.RecheckTimeout = MinRecheckTimeout }, ""},
		{"recheck too short", func(l *Limits) { l.RecheckTimeout = MinRecheckTimeout - 1 }, "load-recheck-timeout is 0.009999999 s"},
		{"longest recheck", func(l *Limits) { l.RecheckTimeout = MaxRecheckTimeout }, ""},
		{"recheck too long", func(l *Limits) { l.RecheckTimeout = 25 * time.Hour }, "load-recheck-timeout is 90000 s, must be 0.01 to 86400 s"},
		{"memory off", func(l *Limits) { l.MinMemory = math.MinInt64 }, ""},
		{"memory", func(l *Limits) { l.MinMemory = math.MaxInt64 }, ""},
		{"most per process", func(l *Limits) { l.PerProcess = MaxJobs }, ""},
		{"negative per process", func(l *Limits) { l.PerProcess = -1 }, "per-process-limit is -1, must be 0 to 1048576 (0 is off)"},
		{"too many per process", func(l *Limits) { l.PerProcess = MaxJobs + 1 }, "per-process-limit is 1048577"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := DefaultLimits(8)
			test.change(&l)
			err := l.Validate()
			if test.want == "" && err != nil {
				t.Errorf("error is %v, want none", err)
			}
			if test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}

func TestWith(t *testing.T) {
	a := Limits{1, 2, 3, 4, 5, 6}
	b := Limits{11, 12, 13, 14, 15, 16}
	for _, test := range []struct {
		mask Field
		want Limits
	}{
		{0, a},
		{FieldJobs, Limits{11, 2, 3, 4, 5, 6}},
		{FieldMinJobs, Limits{1, 12, 3, 4, 5, 6}},
		{FieldLoadAverage, Limits{1, 2, 13, 4, 5, 6}},
		{FieldRecheckTimeout, Limits{1, 2, 3, 14, 5, 6}},
		{FieldMinMemory, Limits{1, 2, 3, 4, 15, 6}},
		{FieldPerProcess, Limits{1, 2, 3, 4, 5, 16}},
		{AllFields, b},
		{^AllFields, a},
	} {
		if got := a.With(test.mask, b); got != test.want {
			t.Errorf("mask %b: got %v, want %v", test.mask, got, test.want)
		}
	}
}
