package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"steve/bench/chart"
	"steve/bench/figures"
)

// The goals of steve under many waiters.
const (
	goalGrowth   = 1.5 // of a turn's cost with the fewest waiters
	goalWakes    = 1.2 // for one turn of pollers
	goalResident = 16  // MiB
)

// waysInWords are the ways to wait in the order of reports, and what their waiters are called.
var waysInWords = []struct{ way, name string }{{wayRead, "blocked"}, {wayPoll, "polling"}, {wayRetry, "trying again"}}

// crowds are those that wait at a server in one way, in the order in which they were measured.
func (w Waiting) crowds(server, way string) []*Crowd {
	return slices.DeleteFunc(slices.Clone(w.Crowds), func(c *Crowd) bool { return c.Server != server || c.Way != way })
}

// of returns a figure of every slice.
func (c *Crowd) of(figure func(Turns) float64) []float64 {
	var all []float64
	for _, t := range c.Slices {
		all = append(all, figure(t))
	}
	return all
}

// total is the sum of a count over all slices, for one turn.
func (c *Crowd) total(count func(Turns) int) float64 {
	sum, turns := 0, 0
	for _, t := range c.Slices {
		sum += count(t)
		turns += t.Turns
	}
	return float64(sum) / float64(max(1, turns))
}

// ratio is the median of c's figure by that of another in the same round; NaN if there is no other.
func (c *Crowd) ratio(by *Crowd, figure func(Turns) float64) float64 {
	if by == nil {
		return math.NaN()
	}
	return figures.Ratio(c.of(figure), by.of(figure))
}

func (w Waiting) markdown(b *strings.Builder) {
	if len(w.Crowds) == 0 {
		return
	}
	fewest := w.Crowds[0].Waiters
	fmt.Fprintf(b, "\n## Waiting\n\nGoals for steve: what a turn costs ≤ %.1f × that with %d waiters; at most %.1f wake-ups for a turn of pollers; resident ≤ %d MiB.\n",
		goalGrowth, fewest, goalWakes, goalResident)
	tableHead(b, []string{"waiters", fmt.Sprintf("server CPU, of %d", fewest), fmt.Sprintf("time, of %d", fewest), "server CPU, of C", "time, of C",
		"a turn", "its server CPU", "reads for a turn", "wake-ups for a turn"})
	for _, v := range waysInWords {
		c := w.crowds(nameC, v.way)
		for _, server := range []string{nameSteve, nameC, nameLibfuse} {
			crowds := w.crowds(server, v.way)
			for i, one := range crowds {
				growth, wakes := goalGrowth, goalWakes
				if server != nameSteve || i == 0 {
					growth = 0
				}
				if server != nameSteve || v.way != wayPoll {
					wakes = 0
				}
				var other *Crowd
				if server == nameSteve && i < len(c) {
					other = c[i]
				}
				fmt.Fprintf(b, "| %s: %d %s | %s | %s | %s | %s | %.1f µs | %.1f µs | %.2f | %s |\n", server, one.Waiters, v.name,
					judged(one.ratio(crowds[0], Turns.used), growth), judged(one.ratio(crowds[0], Turns.passed), growth),
					judged(one.ratio(other, Turns.used), 0), judged(one.ratio(other, Turns.passed), 0),
					figures.Median(one.of(Turns.passed))/1e3, figures.Median(one.of(Turns.used))/1e3,
					one.total(func(t Turns) int { return t.Reads }), judged(one.wakes(), wakes))
			}
		}
	}
	b.WriteString("\nsteve's memory after that, the worker's and the keeper's:\n")
	tableHead(b, []string{"waiters", "worker resident", "its most", "keeper resident", "both, by share", "worker's threads"})
	for _, c := range w.Crowds {
		if m := c.Memory; m != nil {
			fmt.Fprintf(b, "| %d in %s | %.1f MiB | %.1f MiB%s | %.1f MiB | %.1f MiB | %d |\n", c.Waiters, c.Way, mib(m.Worker),
				mib(m.Peak), figures.Met(m.Peak <= goalResident<<10), mib(m.Keeper), mib(m.Share), m.Threads)
		}
	}
}

// wakes is how many wake-ups there were for a turn; NaN where nobody sleeps in the file.
func (c *Crowd) wakes() float64 {
	if c.Way == wayRetry {
		return math.NaN()
	}
	return c.total(func(t Turns) int { return t.Wakes })
}

func mib(kib int) float64 { return float64(kib) / 1024 }

// charts are how the cost of a token grows.
func (w Waiting) charts() map[string][]byte {
	if len(w.Crowds) == 0 {
		return nil
	}
	plot := func(title string, figure func(Turns) float64) chart.Plot {
		p := chart.Plot{Title: title, X: "waiting processes", Y: fmt.Sprintf("of that with %d", w.Crowds[0].Waiters), LogX: true, Limit: goalGrowth}
		for _, server := range []string{nameSteve, nameC} {
			for _, v := range waysInWords {
				crowds := w.crowds(server, v.way)
				if len(crowds) == 0 {
					continue
				}
				s := chart.Series{Name: server + ", " + v.name}
				for _, c := range crowds {
					s.Points = append(s.Points, chart.Point{X: float64(c.Waiters), Y: c.ratio(crowds[0], figure)})
				}
				p.Series = append(p.Series, s)
			}
		}
		return p
	}
	return map[string][]byte{"waiting.svg": chart.SVG(
		plot("Server CPU for a turn of the token", Turns.used), plot("Time of a turn of the token", Turns.passed))}
}
