package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestCounts(t *testing.T) {
	tests := []struct {
		name     string
		events   string // package action [test [output]]
		want     string
		failures []string
		shown    string // part of what is printed meanwhile
	}{
		{"a pass", "p run A; p pass A; p pass", "1 passed, 0 failed, 0 skipped", nil, ""},
		{"a skip with its reason", "p run A; p output A why not; p skip A; p pass", "0 passed, 0 failed, 1 skipped", nil, "skip p A\n    why not\n"},
		{"a failure with its output", "p run A; p output A oh; p fail A; p fail", "0 passed, 1 failed, 0 skipped", []string{"p A"}, "FAIL p A\n    oh\n"},
		{"only leaves count", "p run A; p run A/x; p run A/x/y; p pass A/x/y; p pass A/x; p pass A; p pass", "1 passed, 0 failed, 0 skipped", nil, ""},
		{"a failed subtest is one failure", "p run A; p run A/x; p run A/y; p fail A/x; p pass A/y; p fail A; p fail", "1 passed, 1 failed, 0 skipped", []string{"p A/x"}, ""},
		{"a test that fails beside its subtests", "p run A; p run A/x; p pass A/x; p fail A; p fail", "1 passed, 1 failed, 0 skipped", []string{"p A"}, ""},
		{"slashes in a name", "p run A; p run A/x/y; p pass A/x/y; p pass A; p pass", "1 passed, 0 failed, 0 skipped", nil, ""},
		{"packages at once", "p run A; q run A; p fail A; q pass A; q pass; p fail", "1 passed, 1 failed, 0 skipped", []string{"p A"}, ""},
		{"the same test again", "p run A; p pass A; p pass; p run A; p pass A; p pass", "2 passed, 0 failed, 0 skipped", nil, ""},
		{"no tests", "p skip", "0 passed, 0 failed, 0 skipped", nil, ""},
		{"a package that fails beside its tests", "p run A; p pass A; p output - leak; p fail", "1 passed, 1 failed, 0 skipped", []string{"p"}, "FAIL p\n    leak\n"},
		{"a test that never ended", "p run A; p run A/x; p output A/x panic; p fail", "0 passed, 1 failed, 0 skipped", []string{"p A/x"}, "    panic\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var events strings.Builder
			for _, ev := range strings.Split(tt.events, "; ") {
				f := append(strings.SplitN(ev, " ", 4), "", "")
				if f[2] == "-" {
					f[2] = ""
				}
				fmt.Fprintf(&events, `{"Package":%q,"Action":%q,"Test":%q,"Output":%q}`+"\n", f[0], f[1], f[2], f[3])
			}
			check(t, events.String(), tt.want, tt.failures, tt.shown)
		})
	}
}

func TestCountsFailedBuild(t *testing.T) {
	const events = `{"ImportPath":"p [p.test]","Action":"build-output","Output":"x.go:1: undefined: y\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Package":"p","Action":"output","Output":"FAIL\tp [build failed]\n"}
{"Package":"p","Action":"fail","FailedBuild":"p [p.test]"}
`
	check(t, events, "0 passed, 1 failed, 0 skipped", []string{"p (build)"}, "x.go:1: undefined: y")
}

func TestReadEventsPassesOtherLinesOn(t *testing.T) {
	var other strings.Builder
	err := readEvents(strings.NewReader("go: no such thing\n{\"Package\":\"p\"}\n{not JSON"), &other, func(event) {})
	if want := "go: no such thing\n{not JSON"; err != nil || other.String() != want {
		t.Errorf("%q, %v; want %q", other.String(), err, want)
	}
}

// check feeds events and compares the last line, the names of failures, and part
// of the output.
func check(t *testing.T, events, want string, failures []string, shown string) {
	t.Helper()
	var out strings.Builder
	c := newCounts(&out)
	if err := readEvents(strings.NewReader(events), &out, c.add); err != nil {
		t.Fatal(err)
	}
	c.print()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if got := lines[len(lines)-1]; got != want {
		t.Errorf("last line %q, want %q", got, want)
	}
	if !slices.Equal(c.failures, failures) {
		t.Errorf("failures %q, want %q", c.failures, failures)
	}
	if !strings.Contains(out.String(), shown) {
		t.Errorf("%q is missing in:\n%s", shown, out.String())
	}
}
