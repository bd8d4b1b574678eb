package ctl

import (
	"errors"
	"math"
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
		{"nest", CmdNest, 0xc0085304},
		{"relay", CmdRelay, 0xc0105305},
		{"server", CmdServer, 0x80285307},
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

	about := About{Keeper: math.MaxInt32, Worker: 2, Started: math.MaxUint64, Takeovers: 3, Forgiven: 4}
	if b := AppendAbout(nil, about); len(b) != AboutSize {
		t.Errorf("about is %d bytes, want %d", len(b), AboutSize)
	} else if got, err := ParseAbout(b); got != about || err != nil {
		t.Errorf("about %+v, %v, want %+v", got, err, about)
	}

	for _, n := range []uint32{NestLeave, NestEnter, NestShared} {
		if b := AppendNest(nil, n); len(b) != NestSize {
			t.Errorf("nest is %d bytes, want %d", len(b), NestSize)
		} else if got, err := ParseNest(b); got != n || err != nil {
			t.Errorf("nest %d, %v, want %d", got, err, n)
		}
	}

	for _, ask := range []RelayAsk{{}, {Want: pool.MaxJobs}, {Wait: true}, {Idle: true}, {Less: true}, {Now: true}, {7, true, true, true, true}} {
		if b := AppendRelayAsk(nil, ask); len(b) != RelaySize {
			t.Errorf("the question of a relay is %d bytes, want %d", len(b), RelaySize)
		} else if got, err := ParseRelayAsk(b); got != ask || err != nil {
			t.Errorf("question %+v, %v, want %+v", got, err, ask)
		}
	}
	for _, answer := range []RelayAnswer{{}, {Tokens: pool.MaxJobs}, {Wanted: true}, {Less: true}, {7, true, true}} {
		if b := AppendRelayAnswer(nil, answer); len(b) != RelaySize {
			t.Errorf("the answer to a relay is %d bytes, want %d", len(b), RelaySize)
		} else if got, err := ParseRelayAnswer(b); got != answer || err != nil {
			t.Errorf("answer %+v, %v, want %+v", got, err, answer)
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
	about := func(at int, value byte) []byte {
		b := AppendAbout(nil, About{Keeper: 1, Worker: 2})
		b[at] = value
		return b
	}
	for what, b := range map[string][]byte{
		"no about":               nil,
		"long about":             append(about(0, 1), 0),
		"keeper out of range":    about(3, 0x80),
		"worker out of range":    about(7, 0x80),
		"about's padding in use": about(39, 1),
	} {
		_, err = ParseAbout(b)
		check(what, err)
	}
	for what, b := range map[string][]byte{
		"no nest":                         nil,
		"short nest":                      AppendNest(nil, NestEnter)[:NestSize-1],
		"unknown nest":                    AppendNest(nil, NestShared+1),
		"nest with its upper half in use": {1, 0, 0, 0, 1, 0, 0, 0},
	} {
		_, err = ParseNest(b)
		check(what, err)
	}
	relay := func(at int, value byte) []byte {
		b := AppendRelayAsk(nil, RelayAsk{Want: 1})
		b[at] = value
		return b
	}
	for what, b := range map[string][]byte{
		"no relay":                  nil,
		"long relay":                append(relay(0, 1), 0),
		"more tokens than any pool": AppendRelayAsk(nil, RelayAsk{Want: pool.MaxJobs + 1}),
		"fewer tokens than none":    AppendRelayAsk(nil, RelayAsk{Want: -1}),
		"unknown flag":              relay(11, 0x80),
		"relay's padding in use":    relay(12, 1),
	} {
		_, err = ParseRelayAsk(b)
		check("question: "+what, err)
		_, err = ParseRelayAnswer(b)
		check("answer: "+what, err)
	}
	_, err = ParseRelayAsk(relay(8, relayWanted))
	check("an answer's flag in a question", err)
	for _, flag := range []byte{relayWait, relayIdle, relayNow} {
		_, err = ParseRelayAnswer(relay(8, flag))
		check("a question's flag in an answer", err)
	}
}
