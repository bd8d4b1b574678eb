package shims

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/jobserver"
	"steve/internal/testkit/need"
)

// A build is a directory with a jobserver and shims for the programs in tools.
type build struct {
	*testing.T
	dir string
	j   jobserver.Jobserver
	env []string
}

// fill makes a FIFO with n tokens.
func fill(t *testing.T, path string, n int) *os.File {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(strings.Repeat("+", n)); err != nil {
		t.Fatal(err)
	}
	return f
}

// newBuild makes a jobserver of n tokens and shims for what is in the directory tools.
func newBuild(t *testing.T, n int, pair bool, tools string) *build {
	t.Helper()
	b := &build{T: t, dir: t.TempDir()}
	b.j.Path = filepath.Join(b.dir, "fifo")
	fill(t, b.j.Path, n)
	if pair {
		b.j.In, b.j.Out = filepath.Join(b.dir, "in"), filepath.Join(b.dir, "out")
		in, out := fill(t, b.j.In, n), fill(t, b.j.Out, 0)
		go io.Copy(in, out) // ends when the test closes them
	}
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	vars, err := Create(filepath.Join(b.dir, "shims"), b.j)
	if err != nil {
		t.Fatal(err)
	}
	b.env = append(os.Environ(), vars...)
	return b
}

// run runs a shell script in the build's directory and returns what it prints, on both outputs.
func (b *build) run(script string, vars ...string) string {
	b.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = b.dir
	cmd.Env = append(append(b.env, "MAKEFLAGS=", "MAKELEVEL=", "LC_ALL=C"), vars...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Errorf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func (b *build) write(name, text string) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o666); err != nil {
		b.Fatal(err)
	}
}

// checkPeak checks that at most want jobs ran at a time, and more than one where that is more; on a busy machine it may
// be less.
func (b *build) checkPeak(script string, want int) {
	b.Helper()
	if got := b.peak(); got > want || got == 1 && want > 1 {
		b.Errorf("%s: %d jobs at a time, want %d", script, got, want)
	}
}

// peak is how many jobs ran at a time. Each appends "+" to the file log first and "-" last.
func (b *build) peak() int {
	b.Helper()
	log, err := os.ReadFile(filepath.Join(b.dir, "log"))
	if err := errors.Join(err, os.Remove(filepath.Join(b.dir, "log"))); err != nil {
		b.Fatal(err)
	}
	running, peak := 0, 0
	for _, c := range strings.Fields(string(log)) {
		switch c {
		case "+":
			running++
			peak = max(peak, running)
		case "-":
			running--
		}
	}
	if running != 0 || len(log) != 8*4 {
		b.Errorf("log %q, want eight jobs", log)
	}
	return peak
}

// awaitTokens waits until the FIFO at path has want tokens: those returned through another one take a moment.
func (b *build) awaitTokens(script, path string, want int) {
	b.Helper()
	for end := time.Now().Add(10 * time.Second); b.tokens(path) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%s: left %d tokens, want %d", script, b.tokens(path), want)
		}
	}
}

// tokens is how many tokens are in the FIFO at path.
func (b *build) tokens(path string) int {
	b.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

const job = "echo + >>log; sleep 0.05; echo - >>log"

const makefile = `
jobs: 1 2 3 4 5 6 7 8
1 2 3 4 5 6 7 8:; @` + job + `
nested:; +@$(MAKE) --no-print-directory jobs
# As dh calls it: descriptors closed, the jobserver taken out of MAKEFLAGS.
dh:; @MAKEFLAGS= make -j9 jobs
# By a make that is not known to be one, with the variable left.
left:; @make jobs
ninja:; @ninja -j9
# Remade, make calls itself by its name once more.
ifdef REMADE
include remade.mk
remade.mk:; @echo X=1 >$@
endif
`

const ninjafile = `rule job
 command = ` + job + `
build 1: job
build 2: job
build 3: job
build 4: job
build 5: job
build 6: job
build 7: job
build 8: job
`

// TestMakeJobs has real makes run eight jobs with two tokens, and so three at a time.
func TestMakeJobs(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(testing.TB) string
		pair bool
	}{
		{name: "system", make: func(t testing.TB) string { return need.Tool(t, "make") }, pair: true},
		{name: "4.4", make: func(t testing.TB) string { return need.Client(t, "make-4.4") }},
		{name: "4.4 pair", make: func(t testing.TB) string { return need.Client(t, "make-4.4") }, pair: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBuild(t, 2, tt.pair, filepath.Dir(tt.make(t)))
			b.write("Makefile", makefile)
			path := b.j.Path
			if tt.pair {
				path = b.j.In
			}
			for _, session := range []struct {
				script string
				want   int
			}{
				{script: "make -j9 jobs", want: 3},
				{script: "make jobs", want: 3},
				{script: "make nested", want: 3},
				{script: "make dh", want: 3},
				{script: "make left", want: 3},
				{script: "make REMADE=1 -j9 nested; rm remade.mk", want: 3},
				{script: "MAKEFLAGS=-j4 make jobs", want: 3},
				{script: `MAKEFLAGS="-j --jobserver-fds=fifo:$STEVE_JOBSERVER --jobserver-auth=fifo:$STEVE_JOBSERVER" make jobs`, want: 3},
				{script: "MAKEFLAGS='--jobserver-auth=0,1' make jobs", want: 3},
				{script: "$STEVE_SHIMS/make/make -j9 nested", want: 3},
				// One at a time, as it was asked for.
				{script: "make -j1 jobs", want: 1},
				{script: "make -j1 nested", want: 1},
				{script: "MAKEFLAGS=-j1 make jobs", want: 1},
			} {
				out := b.run(session.script)
				if strings.Contains(out, "warning") {
					t.Errorf("%s: %s", session.script, out)
				}
				b.checkPeak(session.script, session.want)
				b.awaitTokens(session.script, path, 2)
			}
		})
	}
}

// TestNinjaJobs does it with a ninja, below a shell and below a make that knows descriptors only.
func TestNinjaJobs(t *testing.T) {
	tools := filepath.Dir(need.Client(t, "ninja-1.13"))
	need.Tool(t, "make")
	b := newBuild(t, 2, true, tools)
	b.write("Makefile", makefile)
	b.write("build.ninja", ninjafile)
	for script, want := range map[string]int{
		"ninja -j9":  3,
		"make ninja": 3,
		"MAKEFLAGS='-j --jobserver-fds=fifo:/x --jobserver-auth=3,4' ninja": 3,
		"ninja -j1": 1,
	} {
		b.run(script)
		b.checkPeak(script, want)
		if n := b.tokens(b.j.Path); n != 2 {
			t.Fatalf("%s: left %d tokens, want 2", script, n)
		}
	}
}

// TestNinjaClientless: a ninja that knows no jobserver is run by stevie, unless it builds nothing or one job at a time.
func TestNinjaClientless(t *testing.T) {
	tools := tool(t, "ninja", `[ "$*" = --version ] && echo 1.11.1 || echo real "$*"`)
	b := newBuild(t, 2, false, tools)
	for script, want := range map[string]string{
		"ninja -j9 all":    "[stevie run -- " + tools + "/ninja -j9 all]\n",
		"ninja -j1 all":    "real -j1 all\n",
		"ninja --version":  "1.11.1\n",
		"ninja -t targets": "real -t targets\n",
	} {
		if got := b.run(script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}

// TestExec: the program is called as the shim was, in all but what keeps it from the jobserver.
func TestExec(t *testing.T) {
	tools := tool(t, "make", `echo "$0 $* [$MAKEFLAGS] $(cat <&9) $(grep SigIgn /proc/$$/status | tail -c 3)"; exit ${STATUS:-0}`)
	b := newBuild(t, 2, false, tools)
	fifo := "--jobserver-auth=fifo:" + b.j.Path
	const script = "trap '' HUP INT; echo nine >file; make -kj8 'a b' 9<file"
	for _, tt := range []struct{ vars, args, flags string }{
		{args: "-k a b", flags: fifo},
		{vars: "MAKEFLAGS=k -- X=1", args: "-k a b", flags: "-k " + fifo + " -- X=1"},
		{vars: JobserverVar + "=" + b.dir + "/gone", args: "-kj8 a b"},
		{vars: JobserverVar + "=", args: "-kj8 a b"},
	} {
		want := tools + "/make " + tt.args + " [" + tt.flags + "] nine 03\n"
		if got := b.run(script, tt.vars); got != want {
			t.Errorf("%+v: %q, want %q", tt, got, want)
		}
	}
	if got, want := b.run("STATUS=7 make 9</dev/null >/dev/null || echo $?"), "7\n"; got != want {
		t.Errorf("exit status %q, want %q", got, want)
	}
}

// TestExecScript calls a program that is a script without "#!".
func TestExecScript(t *testing.T) {
	tools := t.TempDir()
	if err := os.WriteFile(filepath.Join(tools, "make"), []byte("echo script $*\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, want := newBuild(t, 2, false, tools).run("make -j8 all"), "script all\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestExecFails tells of what cannot be called, and of a jobserver that is dead.
func TestExecFails(t *testing.T) {
	tools := tool(t, "make", `echo "$* [$MAKEFLAGS]"`)
	b := newBuild(t, 2, true, tools)
	dead := filepath.Join(b.dir, "dead")
	closed := t.TempDir()
	err := errors.Join(unix.Mkfifo(dead, 0o600), os.WriteFile(filepath.Join(closed, "make"), nil, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	const path = "PATH=$STEVE_SHIMS/make"
	for script, want := range map[string]string{
		path + " make || echo $?":                "stevie: unable to run make: no such file or directory\n127\n",
		path + ":" + closed + " make || echo $?": "stevie: unable to run make: permission denied\n126\n",
		"MAKEFLAGS='k --jobserver-auth=3,4' " + PairVar + "=" + b.j.In + "," + dead + " make -kj8": "stevie: make runs without a jobserver: open " + dead + ": no such device or address\n-k [-k]\n",
	} {
		if got := b.run(script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}
