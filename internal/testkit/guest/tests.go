package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"steve/internal/testkit/need"
)

// insideVar is set to 1 in the environment of tests that run in a guest.
const insideVar = "STEVE_IN_GUEST"

// Inside reports whether this process runs in a guest.
func Inside() bool { return os.Getenv(insideVar) == "1" }

// Oldest reports whether this process runs in a guest with the first of Kernels.
func Oldest() bool {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	return Inside() && err == nil && strings.HasPrefix(string(release), Kernels[0]+".")
}

// DisableIOUring keeps io_uring from all processes, those of ctest above all: user-mode Linux 7.2 does not survive
// mappings of its rings ("Bad page map", then a panic). Before Linux 6.6 it cannot be disabled, and need not be.
func DisableIOUring(t testing.TB) {
	t.Helper()
	err := os.WriteFile("/proc/sys/kernel/io_uring_disabled", []byte("2"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// Enter makes a test run in guests instead of on the host: it runs the same test
// of the same test binary in a guest of each of the kernels, by default Kernels, and
// its subtests there come back as subtests here, below the kernel's name. It returns
// true in the guest, where the test goes on, and false on the host, where the test is
// over:
//
//	func TestIntegrationCUSE(t *testing.T) {
//		if !guest.Enter(t) {
//			return
//		}
//		…
//	}
//
// The guests run at the same time. The test binary must be without race detector,
// which needs more address space than the kernel 6.1 has there.
func Enter(t *testing.T, kernels ...string) bool {
	t.Helper()
	if Inside() {
		return true
	}
	if len(kernels) == 0 {
		kernels = Kernels
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := t.Name()
	for _, kernel := range kernels {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel() // most guests have one processor
			tests := runTests(t, kernel, self, "-test.run="+exactly(name))
			if test := tests.find(name); test != nil {
				test.report(t)
			} else {
				t.Errorf("%s did not start", name)
			}
		})
	}
	return false
}

// RunTests runs a test binary, as "go test -c" makes it, in a guest with the
// kernel and reports its tests as subtests of t. The arguments are flags with
// the prefix "-test.". The working directory is that of the caller.
func RunTests(t *testing.T, kernel, binary string, args ...string) {
	t.Helper()
	tests := runTests(t, kernel, binary, args...)
	for _, test := range tests.children {
		t.Run(test.name, test.report)
	}
}

// exactly is the -test.run pattern for one test or subtest.
func exactly(name string) string {
	levels := strings.Split(name, "/")
	for i, level := range levels {
		levels[i] = "^" + regexp.QuoteMeta(level) + "$"
	}
	return strings.Join(levels, "/")
}

// runTests returns what the tests of a binary said; what is wrong beside them it
// reports to t.
func runTests(t *testing.T, kernel, binary string, args ...string) *result {
	t.Helper()
	dir := need.Guest(t, kernel)
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// Three deadlines in this order, so that the innermost gets to tell: the
	// test binary's, which dumps its goroutines, the guest's, and this process's.
	const grace = 15 * time.Second
	deadline, ok := t.Deadline()
	if !ok {
		deadline = time.Now().Add(10 * time.Minute)
	}
	ctx, cancel := context.WithDeadline(t.Context(), deadline.Add(-grace))
	defer cancel()
	limit := time.Until(deadline) - 2*grace

	// test2json splits the output by test.
	events := exec.CommandContext(ctx, "go", "tool", "test2json", "-t")
	var decoded, raw bytes.Buffer
	events.Stdout, events.Stderr = &decoded, os.Stderr
	encoded, err := events.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Start(); err != nil {
		t.Fatal(err)
	}
	status, runErr := Run(ctx, Config{
		Kernel:  dir,
		Job:     append([]string{binary, "-test.v=test2json", fmt.Sprintf("-test.timeout=%s", limit)}, args...),
		Env:     append(os.Environ(), insideVar+"=1", "STEVE_TEST_CACHE="+need.Cache()),
		WorkDir: wd,
		Memory:  2048,
		Output:  io.MultiWriter(&raw, encoded),
	})
	if err := errors.Join(encoded.Close(), events.Wait()); err != nil {
		t.Fatalf("test2json: %v", err)
	}
	if runErr != nil {
		t.Errorf("%v", runErr)
	}
	tests, err := readResults(&decoded)
	if err != nil {
		t.Fatal(err)
	}
	if runErr != nil || status != 0 && !tests.failed() {
		t.Errorf("exit status %d; the output:\n%s", status, raw.Bytes())
	}
	return tests
}

// A result is what became of one test, or as the root of them all of a binary.
type result struct {
	path     string // as by testing.T.Name
	name     string // the part of path after the parent's
	action   string // pass, fail, skip; "" if it did not end
	seconds  float64
	output   strings.Builder
	children []*result
}

// readResults reads the events of test2json.
func readResults(events io.Reader) (*result, error) {
	root := &result{}
	for dec := json.NewDecoder(events); ; {
		var ev struct {
			Action, Test, Output string
			Elapsed              float64
		}
		if err := dec.Decode(&ev); errors.Is(err, io.EOF) {
			return root, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the events of a guest's tests: %w", err)
		}
		if ev.Test == "" {
			continue
		}
		test := root.find(ev.Test)
		switch ev.Action {
		case "run":
			parent := root.parentOf(ev.Test)
			name := strings.TrimPrefix(strings.TrimPrefix(ev.Test, parent.path), "/")
			parent.children = append(parent.children, &result{path: ev.Test, name: name})
		case "pass", "fail", "skip":
			if test != nil {
				test.action, test.seconds = ev.Action, ev.Elapsed
			}
		case "output":
			if test != nil && !framing(ev.Output) {
				test.output.WriteString(ev.Output)
			}
		}
	}
}

// framing reports whether a line of output is the testing package's own.
func framing(line string) bool {
	line = strings.TrimLeft(line, " ")
	return strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ")
}

// find returns the result for a test's path, or nil.
func (r *result) find(path string) *result {
	if p := r.parentOf(path + "/"); p.path == path {
		return p
	}
	return nil
}

// parentOf returns the innermost test that path is below of; a test's own name
// may have slashes in it.
func (r *result) parentOf(path string) *result {
	for _, c := range r.children {
		if strings.HasPrefix(path, c.path+"/") {
			return c.parentOf(path)
		}
	}
	return r
}

func (r *result) failed() bool {
	for _, c := range r.children {
		if c.action == "fail" || c.failed() {
			return true
		}
	}
	return false
}

// report makes t end as the test did in the guest, with subtests like its own.
func (r *result) report(t *testing.T) {
	t.Helper()
	for _, c := range r.children {
		t.Run(c.name, c.report)
	}
	if r.output.Len() > 0 {
		t.Logf("in the guest, %.2fs:\n%s", r.seconds, r.output.String())
	}
	switch r.action {
	case "pass":
	case "fail":
		t.Fail()
	case "skip":
		t.SkipNow()
	default:
		t.Error("did not end")
	}
}
