package builds

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"steve/internal/ctl"
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
	oldMake       = client{name: "make 4.3 by stevie", command: makes(flatMakefile, make43), stevie: true, waits: true}
	oldMakeNested = client{name: "make 4.3 by stevie, nested", command: makes(nestedMakefiles, make43), stevie: true}
	cargo         = client{name: "cargo", command: cargoCommand}
	ctest         = client{name: "ctest", command: ctestCommand}
)

// makes returns the command of a make.
func makes(makefile func(t *testing.T, dir string), path func(*testing.T) string) func(*testing.T, string) []string {
	return func(t *testing.T, dir string) []string {
		t.Helper()
		makefile(t, dir)
		return []string{path(t)}
	}
}

func make44(t *testing.T) string {
	t.Helper()
	return need.Client(t, "make-4.4")
}

// make43 returns a make that knows a jobserver only by descriptors.
func make43(t *testing.T) string {
	t.Helper()
	path := need.Tool(t, "make")
	version := run(t, path, "--version")
	if !regexp.MustCompile(`^GNU Make 4\.[0-3]\b`).MatchString(version) {
		line, _, _ := strings.Cut(version, "\n")
		need.Missing(t, "make 4.0 to 4.3 on PATH, which has "+line)
	}
	return path
}

func flatMakefile(t *testing.T, dir string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "Makefile"), `
jobs = 1 2 3 4 5 6
all: $(jobs)
$(jobs): ; @$(JOB)
`)
}

func nestedMakefiles(t *testing.T, dir string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "Makefile"), `
dirs = a b
all: $(dirs)
$(dirs): ; @$(MAKE) --no-print-directory -C $@
.PHONY: $(dirs)
`)
	for _, sub := range []string{"a", "b"} {
		writeFile(t, filepath.Join(dir, sub, "Makefile"), `
jobs = 1 2 3
all: $(jobs)
$(jobs): ; @$(JOB)
`)
	}
}

func cargoCommand(t *testing.T, dir string) []string {
	tool := need.Tool(t, "cargo")
	var members []string
	for i := range jobCount {
		name := fmt.Sprintf("job%d", i)
		members = append(members, `"`+name+`"`)
		writeFile(t, filepath.Join(dir, name, "Cargo.toml"),
			fmt.Sprintf("[package]\nname = %q\nversion = \"0.1.0\"\nedition = \"2021\"\n", name))
		writeFile(t, filepath.Join(dir, name, "src", "lib.rs"), "")
	}
	writeFile(t, filepath.Join(dir, "Cargo.toml"), "[workspace]\nresolver = \"2\"\nmembers = ["+strings.Join(members, ", ")+"]\n")
	return []string{tool, "build", "--offline"}
}

func ctestCommand(t *testing.T, dir string) []string {
	var tests strings.Builder
	for i := range jobCount {
		fmt.Fprintf(&tests, "add_test(%d %s)\n", i, filepath.Join(tools(t), "slot"))
	}
	writeFile(t, filepath.Join(dir, "CTestTestfile.cmake"), tests.String())
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
func (c client) start(t *testing.T, s *server, slots *counter, g *gate, jobTime time.Duration) *process {
	t.Helper()
	dir := t.TempDir()
	argv, env := c.command(t, dir), s.direct()
	if c.stevie {
		argv, env = append([]string{filepath.Join(tools(t), "stevie"), "run", "--"}, argv...), s.forStevie()
	}
	env = append(env,
		"JOB="+filepath.Join(tools(t), "slot"),
		"RUSTC_WRAPPER="+filepath.Join(tools(t), "rustc"),
		"SLOTS="+slots.file.Name(),
		"GATE="+g.file.Name(),
		fmt.Sprintf("JOB_MS=%d", jobTime.Milliseconds()),
	)
	return start(t, dir, env, argv...)
}

// awaitBusy returns when want jobs run and all tokens are out.
func (s *server) awaitBusy(t *testing.T, slots *counter, want int) {
	t.Helper()
	s.await(t, fmt.Sprintf("client with all tokens and %d jobs", want), func(status ctl.Status) bool {
		return status.Held == s.jobs && slots.running(t) == want
	})
}

// testClients has each client run alone, with fewer tokens than jobs.
func testClients(t *testing.T, transport string) {
	s := startSteve(t, transport, 3)
	for _, c := range []client{newMake, newMakeNested, newMakeStevie, oldMake, oldMakeNested, cargo, ctest} {
		t.Run(c.name, func(t *testing.T) {
			slots, g := newCounter(t), newGate(t)
			want := c.peak(s.jobs)
			const jobTime = 400 * time.Millisecond
			rounds := (jobCount + want - 1) / want
			p := c.start(t, s, slots, g, jobTime)
			s.awaitBusy(t, slots, want)
			opened := time.Now()
			g.open(t)
			p.succeed(t)
			if took := time.Since(opened); took < time.Duration(rounds)*jobTime {
				t.Errorf("%d jobs took %v, want at least %d times %v", jobCount, took, rounds, jobTime)
			}
			s.awaitAll(t)
			if peak := slots.peak(t); peak != want {
				t.Errorf("at most %d jobs at one time, want %d", peak, want)
			}
			if strings.Contains(p.output(t), "warning") {
				t.Errorf("it complains:\n%s", p.output(t))
			}
		})
	}
}

// testRustc has rustc, which asks for tokens for its own threads, wait for them.
func testRustc(t *testing.T, transport string) {
	rustc := need.Tool(t, "rustc")
	s := startSteve(t, transport, 3)
	take(t, s, 3)
	dir := t.TempDir()
	var source strings.Builder
	for i := range 60 {
		fmt.Fprintf(&source, "pub mod m%d { pub fn f(n: u64) -> String { (0..n).map(|i| format!(\"{i}-{n}\")).collect() } }\n", i)
	}
	writeFile(t, filepath.Join(dir, "lib.rs"), source.String())
	p := start(t, dir, s.direct(), rustc, "--crate-type=lib", "-Ccodegen-units=16", "-Copt-level=1", "lib.rs")
	s.await(t, "rustc that waits", func(status ctl.Status) bool { return status.Waiters == 1 })
	giveBack(t, s, 3)
	p.succeed(t)
	s.awaitAll(t)
	if text := p.output(t); text != "" {
		t.Errorf("it complains:\n%s", text)
	}
}

// take takes n tokens for this process.
func take(t *testing.T, s *server, n int) {
	t.Helper()
	for range n {
		if got, err := s.conn.File().Read(make([]byte, 1)); got != 1 {
			t.Fatalf("read: %d, %v", got, err)
		}
	}
}

// giveBack gives back n tokens of this process.
func giveBack(t *testing.T, s *server, n int) {
	t.Helper()
	if _, err := s.conn.File().Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
}
