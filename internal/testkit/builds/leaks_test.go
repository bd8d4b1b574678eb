package builds

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/jobs"
)

// testLeaks ends clients that hold all tokens by signals, which with a FIFO loses tokens in most cases.
func testLeaks(t *testing.T, transport string) {
	signals := []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGKILL}
	groups := []bool{false, true}
	if guest.Inside() {
		groups = groups[:1] // for time
	}
	var table strings.Builder
	columns := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer func() {
		columns.Flush()
		t.Logf("all tokens seen back, in ms after the end of the client:\n%s", table.String())
	}()
	fmt.Fprint(columns, "\t")
	for _, group := range groups {
		for _, signal := range signals {
			fmt.Fprintf(columns, "%s\t", column(signal, group))
		}
	}
	s := jobs.StartSteve(t, transport, 3)
	for _, c := range []client{newMake, oldMake, cargo, ctest} {
		fmt.Fprintf(columns, "\n%s\t", c.name)
		for _, group := range groups {
			for _, signal := range signals {
				cell := "?"
				ok := t.Run(c.name+" "+column(signal, group), func(t *testing.T) {
					seen := endBySignal(t, s, c, signal, group)
					cell = fmt.Sprintf("%.1f", float64(seen.Microseconds())/1000)
				})
				fmt.Fprintf(columns, "%s\t", cell)
				if !ok {
					return // the others would miss the tokens
				}
			}
		}
	}
	fmt.Fprintln(columns)
}

// endBySignal ends the client when it has all tokens, and returns how long after that they were seen back. Jobs of a client
// that does not wait for them run on, and keep none.
func endBySignal(t *testing.T, s *jobs.Server, c client, signal unix.Signal, group bool) time.Duration {
	t.Helper()
	slots, g := jobs.NewCounter(t), jobs.NewGate(t)
	p := c.start(t, s, slots, g, 0)
	s.AwaitBusy(t, slots, c.peak(s.Jobs))
	to := p.Process.Pid
	if group {
		to = -to
	}
	if err := unix.Kill(to, signal); err != nil {
		t.Fatal(err)
	}
	if c.waits && signal != unix.SIGKILL {
		g.Open(t)
	}
	p.AwaitEnd(t)
	ended := time.Now()
	if c.stevie {
		g.Open(t) // killed, it leaves make, its child, which goes on and has tokens of its own
	}
	back, seen := s.AwaitAll(t).Sub(ended), time.Since(ended)
	if !c.stevie && back > reclaimTime {
		t.Errorf("all tokens back after %v, want at most %v", back, reclaimTime)
	}
	return seen
}

// column names a way to end a client: a signal to it, or as by a terminal to its process group.
func column(signal unix.Signal, group bool) string {
	name := strings.TrimPrefix(unix.SignalName(signal), "SIG")
	if group {
		name += " to group"
	}
	return name
}
