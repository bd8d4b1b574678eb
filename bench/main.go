// Command bench measures steve's FUSE file beside the least that a server can do, and steve alone under many waiters.
// It builds what it needs, prints a table, and writes it with the figures as JSON. README.md says what each stands for.
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
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := run(ctx, os.Args[1:])
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// Config says how much is measured.
type Config struct {
	Rounds  int           // of each pair of servers
	Slice   time.Duration // of one server in one round
	Waiters []int         // processes, one run for each number and way to wait
	Idle    time.Duration // for which nothing moves
}

// quick only shows that everything works.
var quick = Config{Rounds: 1, Slice: 20 * time.Millisecond, Waiters: []int{10}, Idle: 100 * time.Millisecond}

func run(ctx context.Context, args []string) error {
	var c Config
	f := flag.NewFlagSet("bench", flag.ExitOnError)
	f.IntVar(&c.Rounds, "rounds", 21, "rounds of each comparison")
	f.DurationVar(&c.Slice, "time", 200*time.Millisecond, "time for one server in one round")
	f.DurationVar(&c.Idle, "idle", 10*time.Second, "time for which nothing moves")
	waiters := f.String("waiters", "10,1000", "numbers of waiting processes")
	isQuick := f.Bool("quick", false, "one short round of everything, which proves nothing but that it works")
	results := f.String("results", "bench/results", "directory for bench.md and bench.json")
	f.Parse(args)
	for _, word := range strings.Split(*waiters, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return fmt.Errorf("waiters is %q, must be numbers from 1 on, with commas between them", *waiters)
		}
		c.Waiters = append(c.Waiters, n)
	}
	if c.Rounds < 1 || c.Slice < time.Millisecond {
		return errors.New("at least one round of 1ms is needed")
	}
	if *isQuick {
		c = quick
	}
	if os.Geteuid() != 0 {
		return errors.New("mounting the C server's file needs root")
	}

	dir, err := os.MkdirTemp("", "steve-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	programs, err := build(ctx, dir)
	if err != nil {
		return err
	}
	r, err := measure(ctx, programs, c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*results, 0o755); err != nil {
		return err
	}
	figures, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	table := r.Markdown()
	fmt.Print(table)
	return errors.Join(
		os.WriteFile(filepath.Join(*results, "bench.json"), append(figures, '\n'), 0o644),
		os.WriteFile(filepath.Join(*results, "bench.md"), []byte(table), 0o644))
}

// measure takes all figures.
func measure(ctx context.Context, p programs, c Config) (Report, error) {
	r := Report{Machine: thisMachine(), Config: c}
	var err error
	if r.Pairs, err = measurePairs(ctx, p, c); err != nil {
		return r, err
	}
	for _, n := range c.Waiters {
		for _, way := range []string{"read", "poll"} {
			w, err := measureWaiters(ctx, p, c, way, n)
			if err != nil {
				return r, fmt.Errorf("%d processes in %s: %w", n, way, err)
			}
			r.Waiters = append(r.Waiters, w)
		}
	}
	return r, nil
}
