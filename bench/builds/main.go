// Command builds builds four real projects at once on this machine, and a fifth that comes late, under several regimes, and
// measures how long it takes, how many jobs run and what they need. It prints a table, and writes it with the figures as
// JSON and with plots. bench/README.md says what each stands for.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"steve/bench/figures"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	err := run(ctx, os.Args[1:])
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "builds: %v\n", err)
		os.Exit(1)
	}
}

// Config says what is measured.
type Config struct {
	Jobs     int           // N
	Rounds   int           // of all regimes
	Late     time.Duration // when the fifth build begins
	Alone    int           // rounds of one build alone
	Only     string        // regimes, with commas between them; empty for all
	projects []project     // the last is the fifth
	lone     int           // which is built alone
}

func run(ctx context.Context, args []string) error {
	c := Config{projects: []project{zstd, busybox, xz, crates, zlib}, lone: 2}
	f := flag.NewFlagSet("builds", flag.ExitOnError)
	f.IntVar(&c.Jobs, "n", runtime.NumCPU(), "number of jobs")
	f.IntVar(&c.Rounds, "rounds", 5, "rounds of all regimes; 0 for none")
	f.IntVar(&c.Alone, "alone", 21, "rounds of one build alone; 0 for none")
	f.DurationVar(&c.Late, "late", 30*time.Second/time.Duration(runtime.NumCPU()), "time at which the fifth build begins")
	f.StringVar(&c.Only, "only", "", "regimes to measure, with commas between them (default all)")
	quick := f.Bool("quick", false, "one small project for all, which proves nothing but that it works")
	results := f.String("results", "bench/results", "directory for builds.md, builds.json and builds*.svg")
	f.Parse(args)
	if f.NArg() > 0 || c.Jobs < 1 || c.Rounds < 0 || c.Alone < 0 || c.Rounds+c.Alone == 0 || c.Late <= 0 {
		return errors.New("no such measurement; see -help")
	}
	if *quick {
		c = Config{Jobs: c.Jobs, Rounds: 1, Alone: 1, Late: 50 * time.Millisecond,
			projects: []project{small, small}, lone: 0}
	}
	if os.Geteuid() != 0 {
		return errors.New("a token file for all builds, and cgroups, need root")
	}
	r, err := measure(ctx, c)
	if err != nil {
		return err
	}
	return r.write(*results)
}

// measure takes all figures.
func measure(ctx context.Context, c Config) (r Report, err error) {
	r = Report{Machine: figures.This(), Config: c}
	if err := adopt(); err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp("", "steve-builds-")
	if err != nil {
		return r, err
	}
	defer func() {
		killTree(0)
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	b := bench{dir: dir, jobs: c.Jobs, late: c.Late}
	if b.programs, err = install(ctx, dir); err != nil {
		return r, err
	}
	if b.sites, err = prepareSites(ctx, b.programs, dir, c.projects); err != nil {
		return r, err
	}
	for _, s := range b.sites {
		r.Projects = append(r.Projects, s.name)
	}
	if err := r.rounds(ctx, b); err != nil {
		return r, err
	}
	if c.Alone > 0 {
		o, err := b.overhead(ctx, c.lone, c.Alone)
		if err != nil {
			return r, err
		}
		r.Alone = &o
	}
	return r, nil
}

// rounds runs every regime in every round.
func (r *Report) rounds(ctx context.Context, b bench) error {
	results := map[string]*Result{}
	var wanted []regime
	for _, regime := range regimes {
		if only := strings.Split(r.Config.Only, ","); r.Config.Only == "" || slices.Contains(only, regime.name) {
			wanted = append(wanted, regime)
			results[regime.name] = &Result{Name: regime.name, About: regime.about}
			r.Regimes = append(r.Regimes, results[regime.name])
		}
	}
	for round := range r.Config.Rounds {
		order := rotated(wanted, round)
		if round%2 == 1 {
			slices.Reverse(order) // what a run leaves, the load average say, is not always left to the same one
		}
		for _, regime := range order {
			to := results[regime.name]
			if to.Missing != "" {
				continue
			}
			run, err := b.run(ctx, regime)
			if errors.Is(err, errNoWeights) {
				to.Missing = err.Error()
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", regime.name, err)
			}
			if want := r.counts(); want != nil && !slices.Equal(run.Jobs.Count, want) {
				return fmt.Errorf("%s ran %v compilers, others %v: it has not built the same", to.Name, run.Jobs.Count, want)
			}
			to.Runs = append(to.Runs, run)
			fmt.Fprintf(os.Stderr, "round %d, %s: %.1f s, at most %d compilers\n", round+1, to.Name, run.Makespan, run.Jobs.Peak)
		}
	}
	return nil
}

func (r Report) write(dir string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	table := r.Markdown()
	fmt.Print(table)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"builds.json":       append(text, '\n'),
		"builds.md":         []byte(table),
		"builds.svg":        r.jobsPlot(),
		"builds-memory.svg": r.memoryPlot(),
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), content, 0o644))
	}
	return err
}
