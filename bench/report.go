package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"steve/bench/figures"
)

// A Report is all figures of a run.
type Report struct {
	Machine figures.Machine
	Config  Config
	Pairs   Pairs
	Waiting Waiting
	Idle    Idle
}

// Markdown is the report for people.
func (r Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n", r.Machine)
	r.Pairs.markdown(&b)
	r.Waiting.markdown(&b)
	r.Idle.markdown(&b, r.Config.Idle)
	return b.String()
}

// files are the report for people, by name.
func (r Report) files() map[string][]byte {
	files := r.Pairs.charts()
	maps.Copy(files, r.Waiting.charts())
	files["bench.md"] = []byte(r.Markdown())
	return files
}

// write writes all forms of the report to a directory.
func (r Report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range r.files() {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(dir, "bench.json"), r)
}
