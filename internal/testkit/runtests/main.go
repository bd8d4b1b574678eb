// Command runtests runs every test of the module and counts them: unit tests with
// the race detector, integration tests one package at a time, and each fuzz target
// for a while. It prints what fails with its output, what is skipped with its
// reason, and as its last line "N passed, N failed, N skipped". The exit status is
// 1 if anything failed.
//
// A test counts if it has no subtests; what is no test but fails, such as a build,
// counts as one.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"steve/internal/testkit/need"
)

// integration is the beginning of the names of tests that need privileges,
// devices, other programs or time; package need says which.
const integration = "^TestIntegration"

func main() {
	fuzzTime := flag.Duration("fuzztime", 5*time.Second, "run each fuzz target for `DURATION`; 0 is not at all")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: runtests [-fuzztime DURATION]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	c := newCounts(os.Stdout)
	unitTests(c)
	integrationTests(c)
	if *fuzzTime > 0 {
		fuzzTests(c, *fuzzTime)
	}
	if c.print(); c.failed > 0 {
		os.Exit(1)
	}
}

func unitTests(c *counts) {
	args := []string{"-skip=" + integration, "./..."}
	if reason := noRaceDetector(); reason == "" {
		args = append([]string{"-race"}, args...)
	} else if need.Strict() {
		c.fail("race detector", reason)
	} else {
		c.skip("race detector", reason)
	}
	goTest(c, "unit tests", args...)
}

// noRaceDetector says why unit tests cannot run with it, or "".
func noRaceDetector() string {
	out, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		return "go env CC: " + err.Error()
	}
	cc := strings.TrimSpace(string(out))
	if _, err := exec.LookPath(cc); err != nil {
		return "missing: C compiler " + cc
	}
	return ""
}

// integrationTests runs packages one after the other: their tests share devices,
// and some measure time.
func integrationTests(c *counts) {
	goTest(c, "integration tests", "-run="+integration, "-count=1", "-p=1", "-timeout=12m", "./...")
}

// fuzzTests runs each fuzz target in a process of its own, as the go command takes one at a time, and two of them side by
// side.
func fuzzTests(c *counts, each time.Duration) {
	targets, err := fuzzTargets()
	// Packages that cannot be built are the usual cause, and counted by now.
	if err != nil && c.failed == 0 {
		c.fail("list of fuzz targets", err.Error())
	}
	for pair := range slices.Chunk(targets, 2) {
		var runs []*run
		for _, t := range pair {
			long := each
			if t.pkg == wire && need.Strict() {
				long = max(long, time.Minute)
			}
			c.begin(fmt.Sprintf("%s for %v", t.name, long))
			runs = append(runs, start(t.name, "-run=^$", "-fuzz=^"+t.name+"$", fmt.Sprintf("-fuzztime=%v", long),
				"-fuzzminimizetime=1x", "-parallel=1", t.pkg))
		}
		for _, r := range runs {
			r.finish(c)
		}
	}
}

// wire is the package that reads what other programs bring about. Its targets run for a minute where nothing may be missing.
const wire = "steve/internal/fusewire"

type fuzzTarget struct{ pkg, name string }

// fuzzTargets lists the targets of all packages that can be built; the error tells
// of others.
func fuzzTargets() ([]fuzzTarget, error) {
	out, listErr := exec.Command("go", "test", "-json", "-list=^Fuzz", "./...").Output()
	var targets []fuzzTarget
	err := readEvents(bytes.NewReader(out), io.Discard, func(ev event) {
		if name := strings.TrimSpace(ev.Output); strings.HasPrefix(name, "Fuzz") {
			targets = append(targets, fuzzTarget{ev.Package, name})
		}
	})
	return targets, errors.Join(listErr, err)
}

// goTest runs "go test" and counts what it says.
func goTest(c *counts, what string, args ...string) {
	c.begin(what)
	start(what, args...).finish(c)
}

// A run is a "go test" under way.
type run struct {
	what string
	cmd  *exec.Cmd
	out  io.ReadCloser
	err  error // it did not start
}

func start(what string, args ...string) *run {
	r := &run{what: what, cmd: exec.Command("go", append([]string{"test", "-json"}, args...)...)}
	r.cmd.Stderr = os.Stderr
	if r.out, r.err = r.cmd.StdoutPipe(); r.err == nil {
		r.err = r.cmd.Start()
	}
	return r
}

// finish counts what it says until its end.
func (r *run) finish(c *counts) {
	if r.err != nil {
		c.fail(r.what, r.err.Error())
		return
	}
	before := c.failed
	err := errors.Join(readEvents(r.out, os.Stdout, c.add), r.cmd.Wait())
	if err != nil && c.failed == before {
		c.fail(r.what, err.Error())
	}
}
