package embed

import (
	"testing"

	"steve/internal/ctl"
	"steve/internal/pool"
)

func TestRequests(t *testing.T) {
	for _, r := range []request{
		{kind: hello, ticket: 1, n: 3},
		{kind: take, ticket: 7},
		{kind: nest, ticket: 1 << 31},
		{kind: relay, ticket: 8, ask: ctl.RelayAsk{Want: pool.MaxJobs, Wait: true, Idle: true, Less: true}},
		{kind: status, ticket: 9},
		{kind: giveBack, n: pool.MaxJobs},
		{kind: leave},
		{kind: lost, n: 1},
		{kind: report, n: 250},
	} {
		b := appendRequest(nil, r)
		if got, err := parseRequest(b); err != nil || got != r || len(b) != requestSize {
			t.Errorf("%v became %+v in %d bytes, %v", r, got, len(b), err)
		}
		if _, err := parseRequest(b[:len(b)-1]); err == nil {
			t.Errorf("%v without its last byte was taken", r.kind)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, a := range []answer{
		{kind: welcome, n: 12},
		{kind: refused},
		{kind: taken, ticket: 7},
		{kind: nested, ticket: 8, n: 1},
		{kind: relayed, ticket: 9, relay: ctl.RelayAnswer{Tokens: 2, Wanted: true, Less: true}},
		{kind: told, ticket: 10, status: ctl.Status{Limits: pool.DefaultLimits(4), Free: 1, Held: 3, Holders: 2, Waiters: 5}},
		{kind: invalid, ticket: 11},
	} {
		b := appendAnswer(nil, a)
		if got, err := parseAnswer(b); err != nil || got != a || len(b) > answerSize {
			t.Errorf("%v became %+v in %d bytes, %v", a, got, len(b), err)
		}
		if _, err := parseAnswer(b[:len(b)-1]); err == nil {
			t.Errorf("%v without its last byte was taken", a.kind)
		}
	}
	if _, err := parseAnswer(make([]byte, answerSize)); err == nil {
		t.Error("zeroes were taken")
	}
}
