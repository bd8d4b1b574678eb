package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// An event is a line of "go test -json"; see "go doc test2json" and "go help
// buildjson".
type event struct {
	Action      string
	Package     string
	Test        string // "" for the package's own
	Output      string
	ImportPath  string // of a build's output
	FailedBuild string // the ImportPath that a package's test failed by
}

// readEvents calls do for each event. Lines that are none go to other.
func readEvents(r io.Reader, other io.Writer, do func(event)) error {
	for in := bufio.NewReader(r); ; {
		line, err := in.ReadBytes('\n')
		var ev event
		if bytes.HasPrefix(line, []byte("{")) && json.Unmarshal(line, &ev) == nil {
			do(ev)
		} else {
			other.Write(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// counts are what became of the tests so far. Events of one package come in
// order; those of several packages may be mixed.
type counts struct {
	passed, failed, skipped int

	w        io.Writer
	start    time.Time
	packages map[string]*pkg
	builds   map[string]*strings.Builder // output by import path
	failures []string                    // names, for the end
}

// pkg is a package under test.
type pkg struct {
	tests  map[string]*test // those that have begun
	output strings.Builder
	failed int
}

type test struct {
	output      strings.Builder
	parent      bool // has subtests: it counts only if it alone failed
	failedBelow bool
	ended       bool
}

func newCounts(w io.Writer) *counts {
	return &counts{w: w, start: time.Now(), packages: map[string]*pkg{}, builds: map[string]*strings.Builder{}}
}

// begin announces the next run of go test.
func (c *counts) begin(what string) {
	clear(c.builds)
	fmt.Fprintf(c.w, "=== %s (at %.0f s)\n", what, time.Since(c.start).Seconds())
}

// fail counts and shows something that failed.
func (c *counts) fail(name, output string) {
	c.failed++
	c.failures = append(c.failures, name)
	c.show("FAIL", name, output)
}

// skip counts and shows something that was skipped.
func (c *counts) skip(name, reason string) {
	c.skipped++
	c.show("skip", name, reason)
}

func (c *counts) show(what, name, output string) {
	output = strings.TrimRight(output, "\n")
	fmt.Fprintf(c.w, "%s %s\n    %s\n", what, name, strings.ReplaceAll(output, "\n", "\n    "))
}

// print ends the report: what failed, and the counts.
func (c *counts) print() {
	fmt.Fprintf(c.w, "=== end (at %.0f s)\n", time.Since(c.start).Seconds())
	for _, name := range c.failures {
		fmt.Fprintf(c.w, "FAIL %s\n", name)
	}
	fmt.Fprintf(c.w, "%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
}

// add takes in one event.
func (c *counts) add(ev event) {
	switch {
	case ev.ImportPath != "":
		c.addBuild(ev)
	case ev.Test == "":
		c.addPackage(ev)
	default:
		c.addTest(ev)
	}
}

func (c *counts) addBuild(ev event) {
	out := c.builds[ev.ImportPath]
	if out == nil {
		out = &strings.Builder{}
		c.builds[ev.ImportPath] = out
	}
	out.WriteString(ev.Output)
}

func (c *counts) addPackage(ev event) {
	p := c.pkg(ev.Package)
	switch ev.Action {
	case "output":
		p.output.WriteString(ev.Output)
	case "pass", "skip":
		delete(c.packages, ev.Package)
	case "fail":
		// The test binary ended before these.
		for name, t := range p.tests {
			if !t.ended && !t.parent {
				c.failTest(p, ev.Package, name, t)
			}
		}
		if ev.FailedBuild != "" && c.builds[ev.FailedBuild] != nil {
			c.fail(ev.Package+" (build)", c.builds[ev.FailedBuild].String())
		} else if p.failed == 0 {
			c.fail(ev.Package, p.output.String())
		}
		delete(c.packages, ev.Package)
	}
}

func (c *counts) pkg(name string) *pkg {
	p := c.packages[name]
	if p == nil {
		p = &pkg{tests: map[string]*test{}}
		c.packages[name] = p
	}
	return p
}

func (c *counts) addTest(ev event) {
	p := c.pkg(ev.Package)
	t := p.tests[ev.Test]
	if t == nil {
		t = &test{}
		p.tests[ev.Test] = t
		p.above(ev.Test, func(t *test) { t.parent = true })
	}
	switch ev.Action {
	case "output":
		if line := strings.TrimLeft(ev.Output, " "); !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			t.output.WriteString(ev.Output)
		}
	case "pass":
		t.ended = true
		if !t.parent {
			c.passed++
		}
	case "skip":
		t.ended = true
		if !t.parent {
			c.skip(ev.Package+" "+ev.Test, t.output.String())
		}
	case "fail":
		if !t.failedBelow {
			c.failTest(p, ev.Package, ev.Test, t)
		}
		t.ended = true
	}
}

func (c *counts) failTest(p *pkg, pkgName, name string, t *test) {
	t.ended = true
	p.failed++
	p.above(name, func(t *test) { t.failedBelow = true })
	c.fail(pkgName+" "+name, t.output.String())
}

// above calls do for each test that name is a subtest of.
func (p *pkg) above(name string, do func(*test)) {
	for i, c := range name {
		if c == '/' && p.tests[name[:i]] != nil {
			do(p.tests[name[:i]])
		}
	}
}
