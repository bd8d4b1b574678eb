// Package internal_test holds what is to be true of all packages together: the
// imports between them point one way, as docs/ARCHITECTURE.md draws it.
package internal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// imports maps packages of this module, without its name, to the packages
// outside the standard library that each imports or may import.
type imports map[string][]string

const (
	unix  = "golang.org/x/sys/unix"
	pflag = "github.com/spf13/pflag"
)

// allowed is the rule, for all packages that the programs consist of. Those not
// in it are forbidden, the test kit among them.
var allowed = imports{
	"cmd/steve":          {"internal/cli", "internal/daemon", "internal/load", "internal/pool", "internal/version"},
	"cmd/stevie":         {"internal/bridge", "internal/cli", "internal/client", "internal/ctl", "internal/doctor", "internal/embed", "internal/pool", "internal/proc", "internal/report", "internal/shims", "internal/version", pflag},
	"internal/bridge":    {"internal/ctl", "internal/jobserver", unix},
	"internal/broker":    {"internal/journal", "internal/pool", unix},
	"internal/cli":       {pflag},
	"internal/client":    {"internal/bridge", "internal/cli", "internal/ctl", "internal/embed", "internal/jobserver", "internal/load", "internal/makeflags", "internal/pool", "internal/programs", "internal/shims", unix},
	"internal/ctl":       {"internal/pool", unix},
	"internal/daemon":    {"internal/broker", "internal/ctl", "internal/front", "internal/front/*", "internal/fuseconn", "internal/fusewire", "internal/journal", "internal/keeper", "internal/load", "internal/pool", "internal/proc", "internal/report", "internal/systemd", unix},
	"internal/doctor":    {"internal/bridge", "internal/client", "internal/ctl", "internal/makeflags", "internal/proc", "internal/programs", unix},
	"internal/embed":     {"internal/broker", "internal/ctl", "internal/pool", "internal/proc", unix},
	"internal/front":     {"internal/ctl", "internal/fuseconn", "internal/fusewire", "internal/journal", "internal/pool", "internal/proc", unix},
	"internal/front/*":   {"internal/front", "internal/fuseconn", "internal/fusewire", "internal/journal", unix},
	"internal/fuseconn":  {"internal/fusewire", unix},
	"internal/fusewire":  {},
	"internal/jobserver": {unix},
	"internal/journal":   {unix},
	"internal/keeper":    {unix},
	"internal/load":      {unix},
	"internal/makeflags": {},
	"internal/pool":      {},
	"internal/proc":      {unix},
	"internal/programs":  {"internal/makeflags", unix},
	"internal/report":    {"internal/ctl", "internal/pool", "internal/proc", unix},
	"internal/shims":     {"internal/cli", "internal/ctl", "internal/jobserver", "internal/makeflags", "internal/programs", unix},
	"internal/systemd":   {unix},
	"internal/version":   {},
}

// violations returns a line for each import in graph that rule does not allow.
func (rule imports) violations(graph imports) []string {
	var lines []string
	for pkg, imported := range graph {
		var may []string
		found := false
		for pattern, packages := range rule {
			if matches(pattern, pkg) {
				may, found = append(may, packages...), true
			}
		}
		if !found {
			lines = append(lines, pkg+" is not in the table of packages")
			continue
		}
		for _, to := range imported {
			if !slices.ContainsFunc(may, func(pattern string) bool { return matches(pattern, to) }) {
				lines = append(lines, fmt.Sprintf("%s must not import %s", pkg, to))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// matches reports whether a pattern of the table, as by path.Match, fits a package.
func matches(pattern, pkg string) bool {
	ok, err := path.Match(pattern, pkg)
	return err == nil && ok
}

func TestImportsPointOneWay(t *testing.T) {
	graph, err := programImports()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range allowed.violations(graph) {
		t.Error(line)
	}
}

// programImports lists the packages of this module that its programs consist of.
func programImports() (imports, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Module", "../cmd/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	graph := imports{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
			Module     *struct {
				Path string
				Main bool
			}
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			return graph, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if pkg.Module == nil || !pkg.Module.Main {
			continue
		}
		var imported []string
		for _, to := range pkg.Imports {
			own, isOwn := strings.CutPrefix(to, pkg.Module.Path+"/")
			first, _, _ := strings.Cut(to, "/")
			if isOwn || strings.Contains(first, ".") { // no dot: standard library
				imported = append(imported, own)
			}
		}
		graph[strings.TrimPrefix(pkg.ImportPath, pkg.Module.Path+"/")] = imported
	}
}

func TestViolations(t *testing.T) {
	rule := imports{
		"cmd/a":   {"core", "front/*"},
		"front/*": {"core", unix},
		"core":    {},
	}
	tests := []struct {
		name  string
		graph imports
		want  []string
	}{
		{"as allowed", imports{"cmd/a": {"core", "front/x"}, "front/x": {"core", unix}, "core": nil}, nil},
		{"the wrong way", imports{"core": {"front/x"}}, []string{"core must not import front/x"}},
		{"among equals", imports{"front/x": {"front/y"}}, []string{"front/x must not import front/y"}},
		{"a foreign module", imports{"core": {unix}}, []string{"core must not import " + unix}},
		{"a new package", imports{"extra": nil}, []string{"extra is not in the table of packages"}},
		{"below a pattern", imports{"front/x/y": nil}, []string{"front/x/y is not in the table of packages"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := rule.violations(tt.graph); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
