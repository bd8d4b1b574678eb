// Package report turns what is known of a pool at one moment into text and JSON. It asks no server; who stands behind a
// process id it looks up in /proc, or is told.
package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// A Report is one moment of a server, and who stands behind its processes.
type Report struct {
	// Source is what was asked: the path of a token file.
	Source string
	Status ctl.Status
	// Foreign says that the server knows processes by the pids of another pid namespace: nothing could be looked up.
	Foreign   bool
	Processes []Process
}

// A Process is one that holds, lends or waits.
type Process struct {
	ctl.Process
	// Who is nil if the process could not be looked up: it has ended, is another user's and hidden, or cannot be seen.
	Who *Who
}

// Who is who stands behind a process id.
type Who struct {
	// Command is the command line, already fit for a terminal.
	Command string
	UID     int
	User    string // its name, empty if it has none
	Cgroup  string // empty if unknown
}

// Text prints the report as steve does at SIGUSR1, with the settings behind the first line, and the user and the cgroup
// behind that of each process.
func (r Report) Text(w io.Writer) error {
	var b strings.Builder
	r.head(&b)
	r.settings(&b)
	if r.Foreign {
		fmt.Fprintln(&b, "  steve lives in another pid namespace than this process: what the pids below stand for cannot be seen from here")
	}
	for _, p := range r.Processes {
		p.head(&b)
		if p.Who != nil {
			fmt.Fprintf(&b, "  user %s", p.Who.name())
			if p.Who.Cgroup != "" {
				fmt.Fprintf(&b, ", cgroup %s", visible(p.Who.Cgroup))
			}
			b.WriteByte('\n')
		}
		p.tokens(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Report) head(w io.Writer) {
	s := r.Status
	fmt.Fprintf(w, "steve: currently %d tokens available out of %d\n", max(0, s.Limits.Jobs-s.Held), s.Limits.Jobs)
}

// settings prints them by the names of stevie's options.
func (r Report) settings(w io.Writer) {
	l := r.Status.Limits
	fmt.Fprintf(w, "  %s: %d held by %d processes, %d processes wait\n", r.Source, r.Status.Held, r.Status.Holders, r.Status.Waiters)
	fmt.Fprintf(w, "  min-jobs %d, load-average %s, load-recheck-timeout %s, min-memory-avail %s, per-process-limit %s\n",
		l.MinJobs, orOff(l.LoadAverage), seconds(l.RecheckTimeout), orOff(l.MinMemory), orOff(l.PerProcess))
}

// orOff prints a limit, of which 0 and less mean that there is none.
func orOff[T int | int64 | float64](v T) string {
	if v <= 0 {
		return "off"
	}
	return fmt.Sprint(v)
}

func (p Process) head(w io.Writer) {
	command := "not to be seen"
	if p.Who != nil {
		command = p.Who.Command
	}
	fmt.Fprintf(w, "PID %d (%s) holds %d tokens", p.PID, command, len(p.Tokens))
	if p.Lends {
		fmt.Fprint(w, ", lends one")
	}
	if p.Waits {
		fmt.Fprintf(w, ", waiting for %s", seconds(p.Waiting))
	}
	if p.Relays {
		fmt.Fprint(w, ", passes them on")
	}
	if p.Under != 0 {
		fmt.Fprintf(w, ", runs in the slot of PID %d", p.Under)
	}
	fmt.Fprintln(w, ":")
}

func (p Process) tokens(w io.Writer) {
	for _, t := range slices.Backward(p.Tokens) {
		fmt.Fprintf(w, "  job 0x%02x running for %s\n", t.Number, seconds(t.Age))
	}
}

func (w *Who) name() string {
	if w.User == "" {
		return strconv.Itoa(w.UID)
	}
	return w.User
}

// visible returns s in quotes if it could steer a terminal or break a line.
func visible(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(s)
	}
	return s
}

// seconds prints d as a C++ stream would: six significant digits.
func seconds(d time.Duration) string { return fmt.Sprintf("%.6gs", max(0, d).Seconds()) }

// Write prints the tokens available, then each process that holds, lends or waits for one: those that hold most first,
// and among equals the one that has waited longest. A process that lookup does not know has ended, and is left out.
//
// The form is that of the original steve, whose lines scripts read.
func Write(w io.Writer, s pool.State, lookup func(pool.Client) (pid int, command string, ok bool)) error {
	commands := map[int]string{}
	status := ctl.Status{Limits: s.Limits, Held: s.Held}
	found := ctl.ReportOf(status, s, s.Now, func(c pool.Client) (int, bool) {
		pid, command, ok := lookup(c)
		commands[pid] = command
		return pid, ok
	})
	var b strings.Builder
	Report{Status: status}.head(&b)
	for _, p := range found.Processes {
		if len(p.Tokens) == 0 && !p.Lends && !p.Waits {
			continue
		}
		p.Relays, p.Under = false, 0 // the original knows neither
		p := Process{p, &Who{Command: commands[p.PID]}}
		p.head(&b)
		p.tokens(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
