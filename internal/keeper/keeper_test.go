package keeper

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestBackoff(t *testing.T) {
	k := newKeeper(Config{}, self, defaultBounds)
	var got []int
	for k.failures = range 9 {
		got = append(got, int(k.backoff().Milliseconds()))
	}
	if want := []int{0, 10, 20, 40, 80, 160, 320, 500, 500}; !slices.Equal(got, want) {
		t.Errorf("%v ms, want %v", got, want)
	}
}

// exited and signalled are wait statuses, as wait(2) has them.
func exited(status int) unix.WaitStatus            { return unix.WaitStatus(status << 8) }
func signalled(signal unix.Signal) unix.WaitStatus { return unix.WaitStatus(signal) }

func TestCount(t *testing.T) {
	const never = -1
	for _, tt := range []struct {
		name    string
		served  time.Duration // before its end
		overdue bool
		status  unix.WaitStatus
		// of four failures and deaths before
		failures, deaths int
		delay            time.Duration
		down             bool // counts as the last that served
	}{
		{name: "gave up at start", served: never, status: exited(3), failures: 5, deaths: 4, delay: 160 * time.Millisecond},
		{name: "panicked at start", served: never, status: exited(2), failures: 5, deaths: 5, delay: 160 * time.Millisecond},
		{name: "killed at start", served: never, status: signalled(unix.SIGKILL), failures: 4, deaths: 4},
		{name: "hung at start", served: never, overdue: true, status: signalled(unix.SIGKILL), failures: 5, deaths: 5, delay: 160 * time.Millisecond},
		{name: "parked at start", served: never, status: exited(Parked), failures: 5, deaths: 4, delay: 160 * time.Millisecond},
		{name: "crashed at once", served: 99 * time.Millisecond, status: signalled(unix.SIGSEGV), failures: 5, deaths: 5, delay: 160 * time.Millisecond},
		{name: "killed at once", served: time.Millisecond, status: signalled(unix.SIGKILL), failures: 4, deaths: 4, down: true},
		{name: "parked at once", served: time.Millisecond, status: exited(Parked), failures: 4, deaths: 4, down: true},
		{name: "crashed later", served: 100 * time.Millisecond, status: exited(2), down: true},
		{name: "killed later", served: time.Hour, status: signalled(unix.SIGKILL), down: true},
		{name: "hung when told to park", served: time.Hour, overdue: true, status: signalled(unix.SIGKILL), down: true},
	} {
		k := newKeeper(Config{Log: slog.New(slog.DiscardHandler)}, self, defaultBounds)
		k.failures, k.deaths = 4, 4
		now := time.Now()
		p := &process{said: map[Word]bool{}, overdue: tt.overdue}
		if tt.served != never {
			p.said[Serving], p.since = true, now.Add(-tt.served)
		}
		k.count(p, tt.status, now)
		if k.failures != tt.failures || k.deaths != tt.deaths || k.startAt.Sub(now) != tt.delay || k.downSince.Equal(now) != tt.down {
			t.Errorf("%s: %d failures, %d deaths, next after %v, outage begins %t; want %d, %d, %v, %t", tt.name,
				k.failures, k.deaths, k.startAt.Sub(now), k.downSince.Equal(now), tt.failures, tt.deaths, tt.delay, tt.down)
		}
	}
}

// A keeper whose worker serves has nothing to wake for.
func TestIdleHasNoDeadline(t *testing.T) {
	k := newKeeper(Config{}, self, defaultBounds)
	k.downSince = time.Now()
	if k.deadline().IsZero() {
		t.Error("no deadline without a worker")
	}
	k.current = &process{said: map[Word]bool{Serving: true}}
	if at := k.deadline(); !at.IsZero() {
		t.Errorf("a deadline in %v", time.Until(at))
	}
}

// Nobody reads what is said here, and nobody waits for it.
func TestSayNeverWaits(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	l := Link{num: pair[0]}
	for err = nil; err == nil; {
		err = l.Say(Report)
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Error(err)
	}
	unix.Close(pair[1])
	if err := l.Say(Report); err == nil || errors.Is(err, unix.EAGAIN) {
		t.Errorf("the other end is closed: %v", err)
	}
}
