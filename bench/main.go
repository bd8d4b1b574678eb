// Command bench measures steve's token file beside the least that a server can do and beside servers built otherwise, and
// steve under many waiters. It builds what it needs, prints tables, and writes them with the figures as JSON and charts as
// SVG. README.md says what each stands for.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"steve/bench/figures"
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
	Slice   time.Duration // of one server in one round; in a guest twice that
	Waiters []int         // processes, in each way to wait
	Idle    time.Duration // for which nothing moves
	Quick   bool          `json:",omitempty"` // only shows that everything works
}

var quick = Config{Rounds: 1, Slice: 20 * time.Millisecond, Waiters: []int{10}, Idle: 100 * time.Millisecond, Quick: true}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == inGuest {
		return runInGuest(ctx, args[1:])
	}
	var c Config
	f := flag.NewFlagSet("bench", flag.ExitOnError)
	f.IntVar(&c.Rounds, "rounds", 15, "rounds of each comparison")
	f.DurationVar(&c.Slice, "time", 200*time.Millisecond, "time for one server in one round")
	f.DurationVar(&c.Idle, "idle", time.Minute, "time for which nothing moves")
	waiters := f.String("waiters", "10,1000,10000", "numbers of waiting processes")
	isQuick := f.Bool("quick", false, "one short round of everything, which proves nothing but that it works")
	results := f.String("results", "bench/results", "directory for bench.md, bench.json and charts")
	only := f.String("only", "", "one part of all, of which alone the report then is: "+strings.Join(partNames(), ", "))
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
	if *only != "" && !slices.Contains(partNames(), *only) {
		return fmt.Errorf("there is no part %q, only %s", *only, strings.Join(partNames(), ", "))
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
	programs, missing, err := build(ctx, dir)
	if err != nil {
		return err
	}
	r := Report{Machine: figures.This(), Config: c, Pairs: Pairs{Missing: missing}}
	for _, part := range parts {
		if *only != "" && *only != part.name {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", part.name)
		if err := part.measure(ctx, programs, c, &r); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	fmt.Print(r.Markdown())
	return r.write(*results)
}

// The parts in their order. Each adds to the report what is its own.
var parts = []struct {
	name    string
	measure func(ctx context.Context, p programs, c Config, r *Report) error
}{
	{"pairs", func(ctx context.Context, p programs, c Config, r *Report) error {
		return measurePairs(ctx, p, c, &r.Pairs)
	}},
	{"cuse", func(ctx context.Context, p programs, c Config, r *Report) error {
		return measureCUSE(ctx, p, c, &r.Pairs)
	}},
	{"waiting", func(ctx context.Context, p programs, c Config, r *Report) (err error) {
		r.Waiting, err = measureWaiting(ctx, p, c)
		return err
	}},
	{"idle", func(ctx context.Context, p programs, c Config, r *Report) (err error) {
		r.Idle, err = measureIdle(ctx, p, c)
		return err
	}},
}

func partNames() []string {
	var names []string
	for _, part := range parts {
		names = append(names, part.name)
	}
	return names
}
