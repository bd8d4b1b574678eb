package client

import (
	"testing"

	"steve/internal/pool"
)

// Sets in a row are one change, of each setting the last.
func TestChange(t *testing.T) {
	byName := map[string]*Setting{}
	for i := range Settings {
		byName[Settings[i].Name] = &Settings[i]
	}
	set := func(name, value string) Request {
		r, err := byName[name].Set(value)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	get := byName["tokens"].Get()
	for _, tt := range []struct {
		requests []Request
		n        int
		mask     pool.Field
		limits   pool.Limits
	}{
		{},
		{requests: []Request{get, set("jobs", "2")}},
		{
			requests: []Request{set("jobs", "2"), set("min-memory-avail", "-1"), set("jobs", "010"), get, set("min-jobs", "3")},
			n:        3,
			mask:     pool.FieldJobs | pool.FieldMinMemory,
			limits:   pool.Limits{Jobs: 10, MinMemory: -1},
		},
		{requests: []Request{set("min-jobs", "3")}, n: 1, mask: pool.FieldMinJobs, limits: pool.Limits{MinJobs: 3}},
	} {
		if n, mask, limits := change(tt.requests); n != tt.n || mask != tt.mask || limits != tt.limits {
			t.Errorf("%d, %b, %+v, want %d, %b, %+v", n, mask, limits, tt.n, tt.mask, tt.limits)
		}
	}
}
