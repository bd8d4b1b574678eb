package main

import (
	"context"
	"fmt"
	"os"
	"slices"
)

// An Overhead is one build alone, in both ways in each round. Times are in seconds.
type Overhead struct {
	Project       string
	Plain, Stevie []Alone // by make -jN, and by stevie with N tokens
}

// An Alone is one of its builds.
type Alone struct{ Time, CPU float64 }

func elapsed(a Alone) float64 { return a.Time }
func cpu(a Alone) float64     { return a.CPU }

// ratios are stevie's values by those without it, in order of size.
func (o Overhead) ratios(value func(Alone) float64) []float64 {
	r := make([]float64, len(o.Plain))
	for i := range r {
		r[i] = value(o.Stevie[i]) / value(o.Plain[i])
	}
	slices.Sort(r)
	return r
}

// quartile is the value at a quarter of values in order, or at as many as q says.
func quartile(sorted []float64, q int) float64 { return sorted[(len(sorted)-1)*q/4] }

// overhead builds one site alone. Who is first changes with each round.
func (b bench) overhead(ctx context.Context, build, rounds int) (Overhead, error) {
	result := Overhead{Project: b.sites[build].name}
	once := func(r regime) (Alone, error) {
		if err := b.sites[build].renew(); err != nil {
			return Alone{}, err
		}
		run, err := b.under(ctx, r, []int{build})
		return Alone{run.Makespan, run.Used}, err
	}
	plain, stevie := regimes[0], regimes[len(regimes)-1]
	for round := range rounds {
		for _, r := range rotated([]regime{plain, stevie}, round) {
			took, err := once(r)
			if err != nil {
				return result, err
			}
			fmt.Fprintf(os.Stderr, "round %d, %s alone, %s: %.2f s\n", round+1, result.Project, r.name, took.Time)
			if r.name == plain.name {
				result.Plain = append(result.Plain, took)
			} else {
				result.Stevie = append(result.Stevie, took)
			}
		}
	}
	return result, nil
}
