package ctl

import (
	"errors"
	"testing"
	"time"

	"steve/internal/pool"
)

// The numbers are a promise to programs that this tree does not build.
func TestNumbers(t *testing.T) {
	for _, tt := range []struct {
		name      string
		got, want uint32
	}{
		{"version", CmdVersion, 0x80085301},
		{"status", CmdStatus, 0x80505302},
		{"set", CmdSet, 0x40385303},
		{"nested", CmdNested, 0x80085304},
	} {
		if tt.got != tt.want {
			t.Errorf("%s is %#x, want %#x", tt.name, tt.got, tt.want)
		}
	}
}

var limits = pool.Limits{Jobs: 12, MinJobs: 2, LoadAverage: 13.5, RecheckTimeout: 250 * time.Millisecond, MinMemory: -1, PerProcess: 4}

func TestRecords(t *testing.T) {
	if b := AppendVersion(nil); len(b) != VersionSize {
		t.Errorf("version is %d bytes, want %d", len(b), VersionSize)
	} else if v, err := ParseVersion(b); v != Version || err != nil {
		t.Errorf("version %d, %v", v, err)
	}

	status := Status{Limits: limits, Free: 3, Held: 9, Holders: 4, Waiters: 5}
	if b := AppendStatus(nil, status); len(b) != StatusSize {
		t.Errorf("status is %d bytes, want %d", len(b), StatusSize)
	} else if got, err := ParseStatus(b); got != status || err != nil {
		t.Errorf("status %+v, %v, want %+v", got, err, status)
	}

	const mask = pool.FieldJobs | pool.FieldMinMemory
	if b := AppendSettings(nil, mask, limits); len(b) != SettingsSize {
		t.Errorf("settings are %d bytes, want %d", len(b), SettingsSize)
	} else if m, l, err := ParseSettings(b); m != mask || l != limits || err != nil {
		t.Errorf("settings %v %+v, %v", m, l, err)
	}

	for _, holds := range []bool{false, true} {
		if b := AppendNested(nil, holds); len(b) != NestedSize {
			t.Errorf("nested is %d bytes, want %d", len(b), NestedSize)
		} else if got, err := ParseNested(b); got != holds || err != nil {
			t.Errorf("nested %t, %v, want %t", got, err, holds)
		}
	}
}

func TestMalformed(t *testing.T) {
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: error %v, want ErrFormat", what, err)
		}
	}
	settings := func(change func([]byte)) []byte {
		b := AppendSettings(nil, pool.AllFields, limits)
		change(b)
		return b
	}
	_, err := ParseVersion([]byte("no steve"))
	check("another driver's version", err)
	_, err = ParseVersion(AppendVersion(nil)[:7])
	check("short version", err)
	_, err = ParseStatus(make([]byte, StatusSize+1))
	check("long status", err)
	_, _, err = ParseSettings(settings(func(b []byte) {})[:SettingsSize-1])
	check("short settings", err)
	_, _, err = ParseSettings(settings(func(b []byte) { b[3] = 0x80 }))
	check("unknown field", err)
	_, _, err = ParseSettings(settings(func(b []byte) { b[4] = 1 }))
	check("padding in use", err)
	_, err = ParseNested(nil)
	check("no answer", err)
}
