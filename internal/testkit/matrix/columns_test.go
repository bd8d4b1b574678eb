package matrix

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"steve/internal/ctl"
	"steve/internal/embed"
	"steve/internal/testkit/jobs"
)

// A column is a kind of jobserver.
type column struct {
	name    string
	options []string // of stevie
	// open starts what the tokens come from. It ends with the test.
	open func(t *testing.T) source
	// outlives says that what a client has left behind when a signal ended it goes on, and a client when its stevie was killed.
	outlives bool
	// takesEarly says that it takes a token from a client that has none, for its implicit slot. A FIFO does, but the bridge,
	// which cannot know whose a byte is, may see one too many and swallow it.
	takesEarly bool
}

// columns are all kinds, with a steve on a transport.
func columns(transport string) []column {
	openSteve := func(t *testing.T) source {
		t.Helper()
		return steve{jobs.StartSteve(t, transport, tokenCount)}
	}
	return []column{
		{name: "device", options: []string{"--bridge=never"}, open: openSteve, outlives: true, takesEarly: true},
		{name: "bridge", options: []string{"--bridge=always"}, open: openSteve},
		{name: "embedded", options: []string{fmt.Sprintf("--jobs=%d", tokenCount), "--if-unavailable=embed"}, open: openNothing},
	}
}

// A source is where the tokens of one run come from.
type source interface {
	env() []string
	// awaitBusy returns when all tokens are out, and so many jobs run at the least.
	awaitBusy(t *testing.T, r *run, least int)
	// awaitBack returns when all tokens are back, and how long that took after all processes of the run have ended.
	awaitBack(t *testing.T) time.Duration
}

// A steve is one that serves a token file.
type steve struct{ *jobs.Server }

func (s steve) env() []string { return s.ForStevie() }

func (s steve) awaitBusy(t *testing.T, r *run, least int) { awaitBusy(t, s.Conn, r, least) }

func (s steve) awaitBack(t *testing.T) time.Duration {
	ended := time.Now()
	return s.AwaitAll(t).Sub(ended)
}

func awaitBusy(t *testing.T, from ctl.Server, r *run, least int) {
	t.Helper()
	jobs.Await(t, fmt.Sprintf("client with all tokens and %d jobs", least), func() (bool, string) {
		status, err := from.Status()
		if err != nil {
			t.Fatal(err)
		}
		r.mustRun(t)
		running := r.slots.Running(t)
		return status.Held == tokenCount && running >= least,
			fmt.Sprintf("%d jobs run, %+v\n%s", running, status, r.Output(t))
	})
}

// A userPool is the pool of a user who has no steve. The run's stevie serves it, until it ends; then this process does.
type userPool struct {
	dir  string // for its socket
	pool *embed.Pool
}

func openNothing(t *testing.T) source {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	return &userPool{dir: dir}
}

func (p *userPool) env() []string {
	return []string{"STEVE_DEVICE=" + filepath.Join(p.dir, "none"), "XDG_RUNTIME_DIR=" + p.dir}
}

func (p *userPool) awaitBusy(t *testing.T, r *run, least int) {
	t.Helper()
	// Before the run's stevie, it would be this process that serves.
	jobs.Await(t, "job", func() (bool, string) {
		r.mustRun(t)
		return r.slots.Running(t) > 0, r.Output(t)
	})
	pool, err := embed.Join(ctl.UserDir(), tokenCount)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	p.pool = pool
	awaitBusy(t, pool, r, least)
}

func (p *userPool) awaitBack(t *testing.T) time.Duration {
	t.Helper()
	ended := time.Now()
	return jobs.Await(t, "return of all tokens", func() (bool, string) {
		status, err := p.pool.Status()
		if err != nil {
			t.Fatal(err)
		}
		return status.Held == 0 && status.Free == tokenCount, fmt.Sprintf("%+v", status)
	}).Sub(ended)
}
