package bridge

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
)

// A build is a real client with a number of jobs, in a directory of its own.
type build struct {
	t   testing.TB
	dir string
	cmd *exec.Cmd
}

// newBuild prepares a client in dir, which is told of a jobserver by auth.
func newBuild(t testing.TB, dir, auth string, command ...string) *build {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MAKEFLAGS= -j --jobserver-auth="+auth, "MFLAGS=", "CARGO_MAKEFLAGS=")
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	return &build{t, dir, cmd}
}

// run runs the build and returns how long it took and how many of its jobs ran at once at most.
func (b *build) run() (took time.Duration, peak int) {
	b.t.Helper()
	timer := time.AfterFunc(deadline, func() { b.cmd.Process.Kill() })
	defer timer.Stop()
	began := time.Now()
	out, err := b.cmd.CombinedOutput()
	took = time.Since(began)
	if err != nil {
		b.t.Fatalf("%v: %v\n%s", b.cmd.Args, err, out)
	}
	return took, b.peak()
}

// peak is how many jobs ran at once: each appends a + to the log when it starts, and a - when it ends.
func (b *build) peak() int {
	log, err := os.ReadFile(filepath.Join(b.dir, "log"))
	if err != nil {
		b.t.Fatal(err)
	}
	running, most := 0, 0
	for _, c := range string(log) {
		switch c {
		case '+':
			running++
		case '-':
			running--
		}
		most = max(most, running)
	}
	return most
}

const job = "printf + >>log; sleep %s; printf - >>log"

func makefile(t testing.TB, jobs int, seconds string) string {
	t.Helper()
	dir := t.TempDir()
	var names []string
	for i := range jobs {
		names = append(names, fmt.Sprintf("job%d", i))
	}
	all := strings.Join(names, " ")
	text := fmt.Sprintf("all: %s\n%s: ; @%s\n", all, all, fmt.Sprintf(job, seconds))
	write(t, filepath.Join(dir, "Makefile"), text)
	return dir
}

func ninjaFile(t testing.TB, jobs int, seconds string) string {
	t.Helper()
	dir := t.TempDir()
	text := "rule job\n  command = " + fmt.Sprintf(job, seconds) + "\n"
	for i := range jobs {
		text += fmt.Sprintf("build job%d: job\n", i)
	}
	write(t, filepath.Join(dir, "build.ninja"), text)
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// oldMake returns a make that takes descriptors only.
func oldMake(t testing.TB) string {
	t.Helper()
	path := need.Tool(t, "make")
	version, err := exec.Command(path, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^GNU Make 4\.[0-3]\b`).Match(version) {
		need.Missing(t, "make 4.0 to 4.3 on PATH")
	}
	return path
}

// TestIntegrationClients: clients run as many jobs as there are tokens, and one, and leave none in use.
func TestIntegrationClients(t *testing.T) {
	const tokens, jobs = 3, 12
	tests := []struct {
		name        string
		descriptors bool
		prepare     func(t testing.TB) (dir string, command []string)
	}{
		{"make 4.3", true, func(t testing.TB) (string, []string) {
			return makefile(t, jobs, "0.2"), []string{oldMake(t)}
		}},
		{"make 4.4", false, func(t testing.TB) (string, []string) {
			return makefile(t, jobs, "0.2"), []string{need.Client(t, "make-4.4")}
		}},
		{"ninja 1.13", false, func(t testing.TB) (string, []string) {
			return ninjaFile(t, jobs, "0.2"), []string{need.Client(t, "ninja-1.13")}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, command := tt.prepare(t)
			m := newMachine(t, tokens)
			b, _ := open(t, m)
			auth := "fifo:" + b.Jobserver().Path
			if tt.descriptors {
				auth, _ = inherit(t, b)
			}
			took, peak := newBuild(t, dir, auth, command...).run()
			if peak != tokens+1 {
				t.Errorf("%d jobs at once", peak)
			}
			t.Logf("%v, %+v", took, b.Stats())
			if n := b.Stats().InUse; n != 0 {
				t.Errorf("%d tokens in use", n)
			}
		})
	}
}

// inherit has the programs that are started inherit descriptors, until they are closed.
func inherit(t *testing.T, b *Bridge) (auth string, closeFiles func()) {
	t.Helper()
	files, auth, err := b.Jobserver().Open()
	if err != nil {
		t.Fatal(err)
	}
	closeFiles = func() {
		for _, f := range files {
			f.Close()
		}
	}
	t.Cleanup(closeFiles)
	return auth, closeFiles
}

// TestIntegrationDescriptorsClose: when all that have inherited descriptors are gone, the tokens are, too.
func TestIntegrationDescriptorsClose(t *testing.T) {
	m := newMachine(t, 3)
	b, _ := open(t, m)
	auth, closeFiles := inherit(t, b)
	build := newBuild(t, makefile(t, 6, "0.2"), auth, oldMake(t))
	if err := build.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	closeFiles()
	eventually(t, "all tokens in use", func() bool { return b.Stats().InUse == 3 })
	build.cmd.Process.Kill()
	build.cmd.Wait()
	eventually(t, "all tokens free", func() bool { return b.Stats().InUse == 0 })
	if s := b.Stats(); s.Restored != 3 {
		t.Errorf("%+v", s)
	}
}

// TestIntegrationNewcomer: ninja, which has all tokens, shares them with one that comes later.
func TestIntegrationNewcomer(t *testing.T) {
	const tokens = 6
	ninja := need.Client(t, "ninja-1.13")
	m := newMachine(t, tokens)
	b, server := open(t, m)
	build := newBuild(t, ninjaFile(t, 200, "0.3"), "fifo:"+b.Jobserver().Path, ninja)
	if err := build.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all tokens in use", func() bool { return b.Stats().InUse == tokens })
	newcomer := m.join()
	began := time.Now()
	for i := range tokens / 2 {
		if err := newcomer.Take(); err != nil {
			t.Fatal(err)
		}
		t.Logf("token %d after %v", i, time.Since(began))
	}
	if n := server.held(); n != tokens/2 {
		t.Errorf("%d tokens held", n)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("took %v", d)
	}
	t.Logf("%+v", b.Stats())
	build.cmd.Process.Signal(unix.SIGINT)
	build.cmd.Wait()
	eventually(t, "the rest", func() bool { return b.Stats().InUse == 0 })
}

// TestIntegrationRampUp: how long it takes ninja, which does not wait for tokens but looks for them now and then, to have
// all its jobs running.
func TestIntegrationRampUp(t *testing.T) {
	const tokens, jobs = 31, 32
	ninja := need.Client(t, "ninja-1.13")
	f, err := makeFIFO(t.TempDir(), "fifo")
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.put(tokens)
	plain, _ := newBuild(t, ninjaFile(t, 2*jobs, "0.3"), "fifo:"+f.path, ninja).run()
	t.Logf("%d jobs of 0.3 s, %d at once: %v with a FIFO", 2*jobs, jobs, plain)
	for _, window := range []int{1, 8, 32} {
		m := newMachine(t, tokens)
		b, err := New(m.join(), Options{Dir: t.TempDir(), Window: window})
		if err != nil {
			t.Fatal(err)
		}
		took, peak := newBuild(t, ninjaFile(t, 2*jobs, "0.3"), "fifo:"+b.Jobserver().Path, ninja).run()
		t.Logf("window %d: %v, %d at once", window, took, peak)
		if window >= defaultWindow && peak != jobs {
			t.Errorf("window %d: %d jobs at once, %+v", window, peak, b.Stats())
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestIntegrationMemberKilled: a member of the build is killed with tokens, the build goes on, and they are back in the end.
func TestIntegrationMemberKilled(t *testing.T) {
	const tokens = 4
	newMake := need.Client(t, "make-4.4")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, tokens)
	b, _ := open(t, m)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "Makefile"), fmt.Sprintf("all: killed b c d e\nkilled: ; @%s=killed %s %s 2\nb c d e: ; @%s\n",
		childVar, exe, b.Jobserver().Path, fmt.Sprintf(job, "0.1")))
	build := newBuild(t, dir, "fifo:"+b.Jobserver().Path, newMake, "-k")
	out, err := build.cmd.CombinedOutput()
	if err == nil || strings.Count(string(out), ": killed] ") != 1 { // "Killed" or "Error 137"
		t.Fatalf("%v\n%s", err, out)
	}
	if log, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || strings.Count(string(log), "-") != 4 {
		t.Errorf("jobs: %q, %v", log, err)
	}
	eventually(t, "both tokens restored", func() bool { s := b.Stats(); return s.Restored == 2 && s.InUse == 0 })
}
