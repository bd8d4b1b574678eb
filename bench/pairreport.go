package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"steve/bench/chart"
	"steve/bench/figures"
)

// Goals of steve in a pair, at most; 0 is none.
type goals struct {
	time    float64 // of the C server's
	libfuse float64 // of libfuse's time
	cpu     float64 // of the C server's
}

var (
	goalsQuiet = goals{time: 1.05, libfuse: 0.90, cpu: 1.15}
	goalsBusy  = goals{time: 0.60}
)

// goalJournal is how far apart times with journal and without may be.
const goalJournal = 0.03

// ratio is the median of a subject's figure by another's in the same round; NaN if there is none. Rounds in which the
// other's is 0, as the coarse clock of a guest may have it, are left out.
func (s Setting) ratio(of, by string, figure func(Sample) float64) float64 {
	var f, g []float64
	all := s.of(of, figure)
	for i, v := range s.of(by, figure) {
		if v > 0 && i < len(all) {
			f, g = append(f, all[i]), append(g, v)
		}
	}
	if len(f) == 0 {
		return math.NaN()
	}
	return figures.Ratio(f, g)
}

func (s Setting) quiet() bool { return !s.OneCPU && s.Hogs == 0 }
func (s Setting) busy() bool  { return s.Hogs > 0 }
func (s Setting) alone() bool { return s.OneCPU }

// those returns the settings of one kind.
func (p Pairs) those(kind func(Setting) bool) []Setting {
	return slices.DeleteFunc(slices.Clone(p.Settings), func(s Setting) bool { return !kind(s) })
}

// journal is the median of steve's time by that without a journal, over all rounds that have both.
func (p Pairs) journal() float64 {
	var with, without []float64
	for _, s := range p.Settings {
		if slices.Contains(s.names(), nameNoJournal) {
			with = append(with, s.of(nameSteve, elapsed)...)
			without = append(without, s.of(nameNoJournal, elapsed)...)
		}
	}
	return figures.Ratio(with, without)
}

func (p Pairs) markdown(b *strings.Builder) {
	b.WriteString("\n## A take and a return\n")
	for _, m := range p.Missing {
		fmt.Fprintf(b, "\nLeft out: %s.\n", m)
	}
	if len(p.Settings) > 0 {
		b.WriteString("\n### On a FUSE file\n")
		g := goalsQuiet
		fmt.Fprintf(b, "\nGoals for steve: time ≤ %.2f × C and ≤ %.2f × libfuse, server CPU ≤ %.2f × C.\n", g.time, g.libfuse, g.cpu)
		ratioTable(b, p.those(Setting.quiet), nameC, []string{nameLibfuse, nameLoop, nameGoFUSE, nameFIFO}, g)
		timeTable(b, p.those(Setting.quiet))

		fmt.Fprintf(b, "\n### Beside %d processes that use all processors\n", hogs)
		fmt.Fprintf(b, "\nGoal: time ≤ %.2f × C in the session of those processes, which here is what C means.\n", goalsBusy.time)
		ratioTable(b, p.those(Setting.busy), nameBeside, []string{nameC, nameLibfuse, nameLoop}, goalsBusy)
		timeTable(b, p.those(Setting.busy))

		b.WriteString("\n### On one processor\n")
		ratioTable(b, p.those(Setting.alone), nameC, []string{nameLibfuse, nameLoop}, goals{})
		timeTable(b, p.those(Setting.alone))

		journal := p.journal()
		fmt.Fprintf(b, "\nsteve's time with journal by that without, over all rounds: %.3f%s. Goal: ≤ %.0f %% apart.\n",
			journal, figures.Met(math.Abs(journal-1) <= goalJournal), goalJournal*100)
	}
	if p.CUSE != nil {
		fmt.Fprintf(b, "\n### On a CUSE device, in a guest\n\n%s. Goals as on a FUSE file.\n", p.CUSE.Machine)
		ratioTable(b, p.CUSE.Settings, nameC, []string{nameLibfuse, nameLoop}, goalsQuiet)
		timeTable(b, p.CUSE.Settings)
	}
}

// ratioTable is how steve compares with base, which is called C, and how others do.
func ratioTable(b *strings.Builder, settings []Setting, base string, others []string, g goals) {
	head := []string{"clients", "steve: time, of C", "of libfuse", "server CPU, of C"}
	for _, name := range others {
		head = append(head, name+": time")
		if name != nameFIFO {
			head = append(head, "CPU")
		}
	}
	tableHead(b, head)
	for _, s := range settings {
		row := []string{
			fmt.Sprint(s.Clients),
			judged(s.ratio(nameSteve, base, elapsed), g.time),
			judged(s.ratio(nameSteve, nameLibfuse, elapsed), g.libfuse),
			judged(s.ratio(nameSteve, base, used), g.cpu),
		}
		for _, name := range others {
			row = append(row, judged(s.ratio(name, base, elapsed), 0))
			if name != nameFIFO {
				row = append(row, judged(s.ratio(name, base, used), 0))
			}
		}
		tableRow(b, row)
	}
}

func tableHead(b *strings.Builder, columns []string) {
	b.WriteByte('\n')
	tableRow(b, columns)
	b.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
}

func tableRow(b *strings.Builder, cells []string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

// judged is a ratio with what becomes of its goal; 0 is none.
func judged(ratio, goal float64) string {
	if math.IsNaN(ratio) {
		return "–"
	}
	text := fmt.Sprintf("%.2f", ratio)
	if goal != 0 {
		text += figures.Met(ratio <= goal)
	}
	return text
}

// timeTable is the figures themselves. All settings have the same subjects.
func timeTable(b *strings.Builder, settings []Setting) {
	b.WriteString("\nA pair in µs, median (least) of the rounds; server CPU, median:\n")
	tableHead(b, append([]string{"clients"}, settings[0].names()...))
	for _, s := range settings {
		row := []string{fmt.Sprint(s.Clients)}
		for _, name := range s.names() {
			times := s.of(name, elapsed)
			cell := fmt.Sprintf("%.1f (%.1f)", figures.Median(times)/1e3, slices.Min(times)/1e3)
			if name != nameFIFO {
				cell += fmt.Sprintf("; %.1f", figures.Median(s.of(name, used))/1e3)
			}
			row = append(row, cell)
		}
		tableRow(b, row)
	}
}

// names are those of the subjects.
func (s Setting) names() []string {
	var names []string
	for _, subject := range s.Subjects {
		names = append(names, subject.Subject)
	}
	return names
}

// charts are SVG by file name.
func (p Pairs) charts() map[string][]byte {
	all := map[string][]byte{}
	if len(p.Settings) > 0 {
		quiet := []string{nameSteve, nameLibfuse, nameLoop, nameGoFUSE}
		all["pairs-time.svg"] = bars("A take and a return on FUSE: time", p.those(Setting.quiet), nameC, quiet, elapsed)
		all["pairs-cpu.svg"] = bars("A take and a return on FUSE: server CPU", p.those(Setting.quiet), nameC, quiet, used)
		all["pairs-busy.svg"] = bars(fmt.Sprintf("The same beside %d processes that use all processors: time", hogs),
			p.those(Setting.busy), nameBeside, []string{nameSteve, nameC, nameLibfuse, nameLoop}, elapsed)
	}
	if p.CUSE != nil {
		all["pairs-cuse.svg"] = bars("A take and a return on CUSE, in a guest: time", p.CUSE.Settings, nameC,
			[]string{nameSteve, nameLibfuse, nameLoop}, elapsed)
	}
	return all
}

// bars are subjects by base, in groups by the number of clients.
func bars(title string, settings []Setting, base string, names []string, figure func(Sample) float64) []byte {
	b := chart.Bars{Title: title, Y: "by that of " + base + " (median)", Names: names, Limit: 1}
	for _, s := range settings {
		g := chart.Group{Name: fmt.Sprintf("%d clients", s.Clients)}
		if s.Clients == 1 {
			g.Name = "1 client"
		}
		for _, name := range names {
			g.Values = append(g.Values, s.ratio(name, base, figure))
		}
		b.Groups = append(b.Groups, g)
	}
	return b.SVG()
}
