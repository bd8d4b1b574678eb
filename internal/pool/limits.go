package pool

import (
	"fmt"
	"math"
	"time"
)

// MaxJobs is the largest number of tokens a pool may be given. It bounds the work of one resize.
const MaxJobs = 1 << 20

// Bounds of Limits.RecheckTimeout. Below the lower one a held back pool would keep a processor busy looking at its limits.
const (
	MinRecheckTimeout = 10 * time.Millisecond
	MaxRecheckTimeout = 24 * time.Hour
)

// Limits is everything about a pool that may change while it runs. One validation serves command line and ioctl alike.
type Limits struct {
	// Jobs is the number of tokens, 1 to MaxJobs.
	Jobs int
	// MinJobs tokens may be out whatever LoadAverage and MinMemory say, 0 to MaxJobs. More than Jobs means Jobs.
	MinJobs int
	// LoadAverage is the one-minute load average above which no new token is given; 0 or less is off.
	LoadAverage float64
	// RecheckTimeout is how often LoadAverage and MinMemory are looked at again while they hold something back.
	RecheckTimeout time.Duration
	// MinMemory is the MemAvailable, in MiB, below which no new token is given; 0 or less is off.
	MinMemory int64
	// PerProcess is the most tokens one process may hold, 0 to MaxJobs; 0 is off.
	PerProcess int
}

// DefaultLimits are the values that hold where nothing was said, for a pool of jobs tokens.
func DefaultLimits(jobs int) Limits {
	return Limits{Jobs: jobs, MinJobs: 1, RecheckTimeout: 500 * time.Millisecond}
}

// Validate returns an error that names the first value out of range and what is allowed.
func (l Limits) Validate() error {
	switch {
	case l.Jobs < 1 || l.Jobs > MaxJobs:
		return fmt.Errorf("jobs is %d, must be 1 to %d", l.Jobs, MaxJobs)
	case l.MinJobs < 0 || l.MinJobs > MaxJobs:
		return fmt.Errorf("min-jobs is %d, must be 0 to %d", l.MinJobs, MaxJobs)
	case math.IsNaN(l.LoadAverage) || math.IsInf(l.LoadAverage, 0):
		return fmt.Errorf("load-average is %v, must be a finite number (0 or less is off)", l.LoadAverage)
	case l.RecheckTimeout < MinRecheckTimeout || l.RecheckTimeout > MaxRecheckTimeout:
		return fmt.Errorf("load-recheck-timeout is %v s, must be %v to %v s",
			l.RecheckTimeout.Seconds(), MinRecheckTimeout.Seconds(), MaxRecheckTimeout.Seconds())
	case l.PerProcess < 0 || l.PerProcess > MaxJobs:
		return fmt.Errorf("per-process-limit is %d, must be 0 to %d (0 is off)", l.PerProcess, MaxJobs)
	}
	return nil
}

// sustained is the number of tokens that load and memory never hold back.
func (l Limits) sustained() int { return min(l.MinJobs, l.Jobs) }

// A Field names one of the Limits in a mask.
type Field uint32

// The fields of Limits, in the order of the struct.
const (
	FieldJobs Field = 1 << iota
	FieldMinJobs
	FieldLoadAverage
	FieldRecheckTimeout
	FieldMinMemory
	FieldPerProcess

	AllFields = FieldJobs | FieldMinJobs | FieldLoadAverage | FieldRecheckTimeout | FieldMinMemory | FieldPerProcess
)

// With returns l with the fields of mask taken from o.
func (l Limits) With(mask Field, o Limits) Limits {
	if mask&FieldJobs != 0 {
		l.Jobs = o.Jobs
	}
	if mask&FieldMinJobs != 0 {
		l.MinJobs = o.MinJobs
	}
	if mask&FieldLoadAverage != 0 {
		l.LoadAverage = o.LoadAverage
	}
	if mask&FieldRecheckTimeout != 0 {
		l.RecheckTimeout = o.RecheckTimeout
	}
	if mask&FieldMinMemory != 0 {
		l.MinMemory = o.MinMemory
	}
	if mask&FieldPerProcess != 0 {
		l.PerProcess = o.PerProcess
	}
	return l
}
