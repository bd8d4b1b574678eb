package client

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"steve/internal/cli"
	"steve/internal/ctl"
	"steve/internal/pool"
)

// A Setting is one thing a running steve can be asked for, and most of them can be set.
type Setting struct {
	// Name of the options, behind --get- and --set-.
	Name string
	// About is what the setting is, and Off the value that switches it off, if one does; for a help text.
	About, Off string

	field pool.Field // 0 if it can't be set
	get   func(ctl.Status) string
	parse func(*pool.Limits, string) error
}

// Settings are all there are, in the order of a help text.
var Settings = []Setting{
	{
		Name: "tokens", About: "number of tokens available",
		get: func(s ctl.Status) string { return strconv.Itoa(s.Free) },
	},
	{
		Name: "jobs", About: "number of tokens", field: pool.FieldJobs,
		get:   func(s ctl.Status) string { return strconv.Itoa(s.Limits.Jobs) },
		parse: func(l *pool.Limits, v string) error { return cli.Decimal(&l.Jobs).Set(v) },
	},
	{
		Name: "min-jobs", About: "number of tokens given out whatever load and memory", field: pool.FieldMinJobs,
		get:   func(s ctl.Status) string { return strconv.Itoa(s.Limits.MinJobs) },
		parse: func(l *pool.Limits, v string) error { return cli.Decimal(&l.MinJobs).Set(v) },
	},
	{
		Name: "load-average", About: "load average above which no token is given out", Off: "-1",
		field: pool.FieldLoadAverage,
		get: func(s ctl.Status) string {
			if s.Limits.LoadAverage <= 0 {
				return "-1"
			}
			return strconv.FormatFloat(s.Limits.LoadAverage, 'f', -1, 64)
		},
		parse: func(l *pool.Limits, v string) error { return parseFloat(&l.LoadAverage, v) },
	},
	{
		Name: "load-recheck-timeout", About: "seconds between two looks at load and memory",
		field: pool.FieldRecheckTimeout,
		get: func(s ctl.Status) string {
			return strconv.FormatFloat(s.Limits.RecheckTimeout.Seconds(), 'f', -1, 64)
		},
		parse: parseRecheckTimeout,
	},
	{
		Name: "min-memory-avail", About: "available memory, in MiB, below which no token is given out", Off: "-1",
		field: pool.FieldMinMemory,
		get: func(s ctl.Status) string {
			if s.Limits.MinMemory <= 0 {
				return "-1"
			}
			return strconv.FormatInt(s.Limits.MinMemory, 10)
		},
		parse: func(l *pool.Limits, v string) error { return cli.Decimal(&l.MinMemory).Set(v) },
	},
	{
		Name: "per-process-limit", About: "most tokens one process may hold", Off: "0",
		field: pool.FieldPerProcess,
		get:   func(s ctl.Status) string { return strconv.Itoa(s.Limits.PerProcess) },
		parse: func(l *pool.Limits, v string) error { return cli.Decimal(&l.PerProcess).Set(v) },
	},
}

// Settable says whether the setting can be set.
func (s *Setting) Settable() bool { return s.field != 0 }

func parseFloat(to *float64, v string) error {
	x, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", v)
	}
	*to = x
	return nil
}

func parseRecheckTimeout(l *pool.Limits, v string) error {
	var seconds float64
	if err := parseFloat(&seconds, v); err != nil {
		return err
	}
	// Far out of range already, and near to what a Duration can't hold.
	const far = 1 << 30
	if math.IsNaN(seconds) {
		return fmt.Errorf("%q is not a number", v)
	}
	l.RecheckTimeout = time.Duration(max(-far, min(seconds, far)) * float64(time.Second))
	return nil
}

// A Request asks a steve for a setting or changes it.
type Request struct {
	setting *Setting
	isSet   bool
	limits  pool.Limits // holds the new value
}

// Get is the request for the value of s.
func (s *Setting) Get() Request { return Request{setting: s} }

// Set is the request to change s. The error says what is wrong with the value and what is allowed.
func (s *Setting) Set(value string) (Request, error) {
	r := Request{setting: s, isSet: true, limits: pool.DefaultLimits(1)}
	if err := s.parse(&r.limits, value); err != nil {
		return Request{}, err
	}
	if err := r.limits.Validate(); err != nil {
		return Request{}, err
	}
	return r, nil
}

// Do sends the requests in their order. For each Get it writes one line to out, the bare number. Sets with no Get between
// them are one change, which nobody sees half done.
func Do(c *ctl.Conn, requests []Request, out io.Writer) error {
	for len(requests) > 0 {
		if n, mask, limits := change(requests); n > 0 {
			if err := c.Set(mask, limits); err != nil {
				return fmt.Errorf("unable to change settings of %s: %s", c.File().Name(), strerror(err))
			}
			requests = requests[n:]
			continue
		}
		setting := requests[0].setting
		status, err := c.Status()
		if err != nil {
			return fmt.Errorf("unable to get %s of %s: %s", setting.Name, c.File().Name(), strerror(err))
		}
		if _, err := fmt.Fprintln(out, setting.get(status)); err != nil {
			return err
		}
		requests = requests[1:]
	}
	return nil
}

// change is what the Sets at the beginning of requests, n of them, come to.
func change(requests []Request) (n int, mask pool.Field, limits pool.Limits) {
	for ; n < len(requests) && requests[n].isSet; n++ {
		field := requests[n].setting.field
		mask |= field
		limits = limits.With(field, requests[n].limits)
	}
	return n, mask, limits
}
