package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"steve/bench/chart"
	"steve/bench/figures"
)

// A Report is all figures.
type Report struct {
	Machine  figures.Machine
	Config   Config
	Projects []string
	Regimes  []*Result
	Alone    *Overhead `json:",omitempty"`
}

// A Result is what one regime did, round by round.
type Result struct {
	Name, About string
	Missing     string `json:",omitempty"` // why this machine has not got it
	Runs        []Run
}

// of are the values of all runs.
func (r *Result) of(value func(Run) float64) []float64 { return values(r.Runs, value) }

func (r *Result) median(value func(Run) float64) float64 { return figures.Median(r.of(value)) }

// counts are the jobs of each build in any run, nil before the first.
func (r Report) counts() []int {
	for _, result := range r.there() {
		return result.Runs[0].Jobs.Count
	}
	return nil
}

// The values of a run that have a column.
func makespan(r Run) float64 { return r.Makespan }
func meanTime(r Run) float64 {
	sum := 0.0
	for _, took := range r.Took {
		sum += took
	}
	return sum / float64(len(r.Took))
}
func peak(r Run) float64       { return float64(r.Jobs.Peak) }
func mean(r Run) float64       { return r.Jobs.Mean }
func memory(r Run) float64     { return float64(r.Memory) / (1 << 20) }
func used(r Run) float64       { return r.Used }
func idle(r Run) float64       { return r.Idle }
func firstLate(r Run) float64  { return r.FirstLate }
func firstAlone(r Run) float64 { return r.FirstAlone }

// typical is the run with the median makespan.
func (r *Result) typical() Run {
	runs := slices.Clone(r.Runs)
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Compare(a.Makespan, b.Makespan) })
	return runs[len(runs)/2]
}

// The goals.
const (
	goalMakespan = 1.02 // steve's, by that of the best of the others
	goalAlone    = 1.01 // time of one build under stevie by that without
)

// there are the regimes that were measured, of which the last is steve.
func (r Report) there() (results []*Result) {
	for _, result := range r.Regimes {
		if len(result.Runs) > 0 {
			results = append(results, result)
		}
	}
	return results
}

// Markdown is the report for people.
func (r Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n", r.Machine)
	if results := r.there(); len(results) > 0 {
		r.table(&b, results)
		if r.Config.Only == "" {
			r.goals(&b, results)
		}
	}
	if r.Alone != nil {
		r.Alone.markdown(&b, r.Config.Jobs)
	}
	return b.String()
}

func (r Report) table(b *strings.Builder, results []*Result) {
	n := len(r.Projects) - 1
	fmt.Fprintf(b, "## Real builds\n\n%s at once with N = %d, and %s after %v. Rounds: %d. Medians; of compilers, the most in any.\n\n",
		strings.Join(r.Projects[:n], ", "), r.Config.Jobs, r.Projects[n], r.Config.Late, r.Config.Rounds)
	steve := results[len(results)-1]
	fmt.Fprintf(b, "| | makespan | %s's, by this | a build, mean | compilers: most | mean | peak memory | CPU used | idle | first compiler of the late one | alone |\n", steve.Name)
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, result := range results {
		ratio := "" // of steve itself it would say nothing
		if result.Name != steve.Name {
			ratio = fmt.Sprintf("%.3f", figures.Ratio(steve.of(makespan), result.of(makespan)))
		}
		took := result.median(makespan)
		fmt.Fprintf(b, "| %s | %.1f s | %s | %.1f s | %.0f | %.2f | %.0f MiB | %.0f s | %.1f s, %.1f %% | %.2f s | %.2f s |\n",
			result.Name, took, ratio, result.median(meanTime), slices.Max(result.of(peak)), result.median(mean), result.median(memory), result.median(used), result.median(idle),
			100*figures.Median(result.of(func(run Run) float64 { return run.Idle / run.Makespan / float64(r.Machine.Processors) })),
			result.median(firstLate), result.median(firstAlone))
	}
	b.WriteByte('\n')
	for _, result := range r.Regimes {
		if result.Missing != "" {
			fmt.Fprintf(b, "%s: %s: %s.\n", result.Name, result.About, result.Missing)
			continue
		}
		fmt.Fprintf(b, "- **%s**: %s.\n", result.Name, result.About)
	}
	b.WriteByte('\n')
}

// goals says which were met.
func (r Report) goals(b *strings.Builder, results []*Result) {
	steve, others := results[len(results)-1], results[:len(results)-1]
	most := slices.Max(steve.of(peak))
	worst, by := 0.0, ""
	least, whose := math.Inf(1), ""
	for _, other := range others {
		if ratio := figures.Ratio(steve.of(makespan), other.of(makespan)); ratio > worst {
			worst, by = ratio, other.Name
		}
		if m := other.median(memory); m < least {
			least, whose = m, other.Name
		}
	}
	fmt.Fprintf(b, "Under steve at most %.0f compilers ran at one time, goal %d%s. Its makespan is %.3f × that of the best other (%s), goal ≤ %.2f%s. "+
		"Its peak memory is %.0f MiB, the least of the others %.0f MiB (%s), goal less%s.\n\n",
		most, r.Config.Jobs, figures.Met(most <= float64(r.Config.Jobs)), worst, by, goalMakespan, figures.Met(worst <= goalMakespan),
		steve.median(memory), least, whose, figures.Met(steve.median(memory) < least))
}

func (o Overhead) markdown(b *strings.Builder, jobs int) {
	times, used := o.ratios(elapsed), o.ratios(cpu)
	middle := figures.Median(times)
	fmt.Fprintf(b, "## One build alone\n\n%s by `stevie make`, a steve with %d tokens, by that of `make -j%[2]d`, in %[3]d rounds: "+
		"time %.4f%s, quartiles %.4f and %.4f, goal ≤ %.2f; processor time %.4f, quartiles %.4f and %.4f. Median of the times without stevie: %.2f s.\n",
		o.Project, jobs, len(times), middle, figures.Met(middle <= goalAlone), quartile(times, 1), quartile(times, 3), goalAlone,
		figures.Median(used), quartile(used, 1), quartile(used, 3), figures.Median(values(o.Plain, elapsed)))
}

// values are one of each.
func values[T any](all []T, value func(T) float64) []float64 {
	vs := make([]float64, len(all))
	for i, one := range all {
		vs[i] = value(one)
	}
	return vs
}

// jobsPlot is jobs over time, of each regime's run with the median makespan.
func (r Report) jobsPlot() []byte {
	var plots []chart.Plot
	for _, result := range r.there() {
		run := result.typical()
		plots = append(plots, chart.Plot{
			Title:  fmt.Sprintf("%s: %.1f s, at most %d at one time", result.Name, run.Makespan, run.Jobs.Peak),
			X:      "seconds",
			Y:      "running compilers",
			Series: []chart.Series{{Points: run.Jobs.curve}},
			Step:   true,
			Limit:  float64(r.Config.Jobs),
		})
	}
	return chart.SVG(plots...)
}

// memoryPlot is memory over time, of the same runs.
func (r Report) memoryPlot() []byte {
	var plots []chart.Plot
	for _, result := range r.there() {
		run := result.typical()
		plots = append(plots, chart.Plot{
			Title:  fmt.Sprintf("%s: at most %.0f MiB", result.Name, memory(run)),
			X:      "seconds",
			Y:      "MiB",
			Series: []chart.Series{{Points: run.memory}},
			Step:   true,
		})
	}
	return chart.SVG(plots...)
}
