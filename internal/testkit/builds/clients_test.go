package builds

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steve/internal/ctl"
	"steve/internal/testkit/jobs"
	"steve/internal/testkit/need"
)

// A client runs jobCount jobs in parallel, as far as it gets tokens.
type client struct {
	name string
	// stevie says that it is started by stevie, with a token for its implicit slot.
	stevie bool
	// waits says that after a signal that it can catch it ends when its jobs have, and not before.
	waits bool
	// command writes what it needs into dir and returns its command line.
	command func(t *testing.T, dir string) []string
}

const jobCount = 6

var (
	newMake       = client{name: "make 4.4", command: makes(flatMakefile, make44), waits: true}
	newMakeNested = client{name: "make 4.4, nested", command: makes(nestedMakefiles, make44)}
	newMakeStevie = client{name: "make 4.4 by stevie", command: makes(flatMakefile, make44), stevie: true}
	oldMake       = client{name: "make 4.3 by stevie", command: makes(flatMakefile, jobs.OldMake), stevie: true, waits: true}
	oldMakeNested = client{name: "make 4.3 by stevie, nested", command: makes(nestedMakefiles, jobs.OldMake), stevie: true}
	cargo         = client{name: "cargo", command: cargoCommand}
	ctest         = client{name: "ctest", command: ctestCommand}
)

// makes returns the command of a make.
func makes(makefile func(t *testing.T, dir string), path func(testing.TB) string) func(*testing.T, string) []string {
	return func(t *testing.T, dir string) []string {
		t.Helper()
		makefile(t, dir)
		return []string{path(t)}
	}
}

func make44(t testing.TB) string {
	t.Helper()
	return need.Client(t, "make-4.4")
}

func flatMakefile(t *testing.T, dir string) {
	t.Helper()
	jobs.Makefile(t, dir, jobCount)
}

func nestedMakefiles(t *testing.T, dir string) {
	t.Helper()
	jobs.WriteFile(t, filepath.Join(dir, "Makefile"), `
dirs = a b
all: $(dirs)
$(dirs): ; @$(MAKE) --no-print-directory -C $@
.PHONY: $(dirs)
`)
	for _, sub := range []string{"a", "b"} {
		jobs.WriteFile(t, filepath.Join(dir, sub, "Makefile"), `
jobs = 1 2 3
all: $(jobs)
$(jobs): ; @$(JOB)
`)
	}
}

func cargoCommand(t *testing.T, dir string) []string {
	tool := need.Tool(t, "cargo")
	jobs.CargoWorkspace(t, dir, jobCount)
	return []string{tool, "build", "--offline"}
}

func ctestCommand(t *testing.T, dir string) []string {
	jobs.CTests(t, dir, jobCount)
	return []string{need.Client(t, "ctest-3.31"), "--output-on-failure", "-j"}
}

// peak is how many jobs it runs at one time with that many tokens.
func (c client) peak(tokens int) int {
	if c.stevie {
		return tokens
	}
	return tokens + 1
}

// start starts the client in a directory of its own. Its jobs wait for the gate.
func (c client) start(t *testing.T, s *jobs.Server, slots *jobs.Counter, g *jobs.Gate, jobTime time.Duration) *jobs.Process {
	t.Helper()
	dir := t.TempDir()
	argv, env := c.command(t, dir), s.Direct()
	if c.stevie {
		argv, env = append([]string{filepath.Join(jobs.Tools(t), "stevie"), "run", "--"}, argv...), s.ForStevie()
	}
	env = append(env,
		"JOB="+filepath.Join(jobs.Tools(t), "slot"),
		"RUSTC_WRAPPER="+filepath.Join(jobs.Tools(t), "rustc"),
		slots.Env(),
		g.Env(),
		fmt.Sprintf("JOB_MS=%d", jobTime.Milliseconds()),
	)
	return jobs.Start(t, dir, env, argv...)
}

// testClients has each client run alone, with fewer tokens than jobs.
func testClients(t *testing.T, transport string) {
	s := jobs.StartSteve(t, transport, 3)
	for _, c := range []client{newMake, newMakeNested, newMakeStevie, oldMake, oldMakeNested, cargo, ctest} {
		t.Run(c.name, func(t *testing.T) {
			slots, g := jobs.NewCounter(t), jobs.NewGate(t)
			want := c.peak(s.Jobs)
			const jobTime = 400 * time.Millisecond
			rounds := (jobCount + want - 1) / want
			p := c.start(t, s, slots, g, jobTime)
			s.AwaitBusy(t, slots, want)
			opened := time.Now()
			g.Open(t)
			p.Succeed(t)
			if took := time.Since(opened); took < time.Duration(rounds)*jobTime {
				t.Errorf("%d jobs took %v, want at least %d times %v", jobCount, took, rounds, jobTime)
			}
			s.AwaitAll(t)
			if peak := slots.Peak(t); peak != want {
				t.Errorf("at most %d jobs at one time, want %d", peak, want)
			}
			if strings.Contains(p.Output(t), "warning") {
				t.Errorf("it complains:\n%s", p.Output(t))
			}
		})
	}
}

// testRustc has rustc, which asks for tokens for its own threads, wait for them.
func testRustc(t *testing.T, transport string) {
	rustc := need.Tool(t, "rustc")
	s := jobs.StartSteve(t, transport, 3)
	take(t, s, 3)
	dir := t.TempDir()
	jobs.WriteFile(t, filepath.Join(dir, "lib.rs"), jobs.RustModules(60))
	p := jobs.Start(t, dir, s.Direct(), rustc, "--crate-type=lib", "-Ccodegen-units=16", "-Copt-level=1", "lib.rs")
	s.Await(t, "rustc that waits", func(status ctl.Status) bool { return status.Waiters == 1 })
	giveBack(t, s, 3)
	p.Succeed(t)
	s.AwaitAll(t)
	if text := p.Output(t); text != "" {
		t.Errorf("it complains:\n%s", text)
	}
}

// take takes n tokens for this process.
func take(t *testing.T, s *jobs.Server, n int) {
	t.Helper()
	for range n {
		if got, err := s.Conn.File().Read(make([]byte, 1)); got != 1 {
			t.Fatalf("read: %d, %v", got, err)
		}
	}
}

// giveBack gives back n tokens of this process.
func giveBack(t *testing.T, s *jobs.Server, n int) {
	t.Helper()
	if _, err := s.Conn.File().Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
}
