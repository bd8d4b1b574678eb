// Package report turns a copied state of the pool into text for people. It asks nobody: what a process is called comes
// with the question.
package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"steve/internal/pool"
)

// A Process is who stands behind a client of the pool.
type Process struct {
	PID int
	// Command is the command line, already fit for a terminal.
	Command string
}

// Write prints the tokens available, then each process that holds, lends or waits for one: those that hold most first,
// and among equals the one that has waited longest. A process that lookup does not know has ended, and is left out.
//
// The form is that of the original steve, whose lines scripts read.
func Write(w io.Writer, s pool.State, lookup func(pool.Client) (Process, bool)) error {
	if _, err := fmt.Fprintf(w, "steve: currently %d tokens available out of %d\n", max(0, s.Limits.Jobs-s.Held), s.Limits.Jobs); err != nil {
		return err
	}
	clients := slices.DeleteFunc(slices.Clone(s.Clients), func(c pool.ClientState) bool {
		return len(c.Jobs) == 0 && !c.Lender && !c.Waits()
	})
	slices.SortStableFunc(clients, func(a, b pool.ClientState) int {
		return cmp.Or(cmp.Compare(len(b.Jobs), len(a.Jobs)), cmp.Compare(a.Since, b.Since))
	})
	for _, c := range clients {
		p, ok := lookup(c.ID)
		if !ok {
			continue
		}
		if err := writeClient(w, s.Now, c, p); err != nil {
			return err
		}
	}
	return nil
}

func writeClient(w io.Writer, now time.Duration, c pool.ClientState, p Process) error {
	line := fmt.Sprintf("PID %d (%s) holds %d tokens", p.PID, p.Command, len(c.Jobs))
	if c.Lender {
		line += ", lends one"
	}
	if c.Waits() {
		line += ", waiting for " + seconds(now-c.Since)
	}
	if _, err := fmt.Fprintln(w, line+":"); err != nil {
		return err
	}
	for _, j := range slices.Backward(c.Jobs) {
		if _, err := fmt.Fprintf(w, "  job 0x%02x running for %s\n", j.Number, seconds(now-j.Since)); err != nil {
			return err
		}
	}
	return nil
}

// seconds prints d as a C++ stream would: six significant digits.
func seconds(d time.Duration) string { return fmt.Sprintf("%.6gs", max(0, d).Seconds()) }
