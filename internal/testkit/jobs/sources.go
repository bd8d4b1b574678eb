package jobs

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"steve/internal/testkit/need"
)

// OldMake returns a make that knows a jobserver only by descriptors: the machine's, if that is one.
func OldMake(t testing.TB) string {
	t.Helper()
	path := need.Tool(t, "make")
	version := Run(t, path, "--version")
	if !regexp.MustCompile(`^GNU Make 4\.[0-3]\b`).MatchString(version) {
		line, _, _ := strings.Cut(version, "\n")
		need.Missing(t, "make 4.0 to 4.3 on PATH, which has "+line)
	}
	return path
}

// Makefile writes one with n targets that run $(JOB).
func Makefile(t testing.TB, dir string, n int) {
	t.Helper()
	var targets strings.Builder
	for i := range n {
		fmt.Fprintf(&targets, " %d", i)
	}
	WriteFile(t, filepath.Join(dir, "Makefile"), "jobs ="+targets.String()+"\nall: $(jobs)\n$(jobs): ; @$(JOB)\n")
}

// CargoWorkspace writes one with n crates whose names begin with "job".
func CargoWorkspace(t testing.TB, dir string, n int) {
	t.Helper()
	var members []string
	for i := range n {
		name := fmt.Sprintf("job%d", i)
		members = append(members, `"`+name+`"`)
		WriteFile(t, filepath.Join(dir, name, "Cargo.toml"),
			fmt.Sprintf("[package]\nname = %q\nversion = \"0.1.0\"\nedition = \"2021\"\n", name))
		WriteFile(t, filepath.Join(dir, name, "src", "lib.rs"), "")
	}
	WriteFile(t, filepath.Join(dir, "Cargo.toml"), "[workspace]\nresolver = \"2\"\nmembers = ["+strings.Join(members, ", ")+"]\n")
}

// RustModules returns the source of a library with n modules, enough for as many codegen units.
func RustModules(n int) string {
	var source strings.Builder
	for i := range n {
		fmt.Fprintf(&source, "pub mod m%d { pub fn f(n: u64) -> String { (0..n).map(|i| format!(\"{i}-{n}\")).collect() } }\n", i)
	}
	return source.String()
}

// CTests writes a test file of n tests that are jobs.
func CTests(t testing.TB, dir string, n int) {
	t.Helper()
	var tests strings.Builder
	for i := range n {
		fmt.Fprintf(&tests, "add_test(%d %s)\n", i, filepath.Join(Tools(t), "slot"))
	}
	WriteFile(t, filepath.Join(dir, "CTestTestfile.cmake"), tests.String())
}
