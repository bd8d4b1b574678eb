package matrix

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// README has the table between these lines.
const (
	tableBegin = "<!-- matrix -->\n"
	tableEnd   = "<!-- /matrix -->\n"
)

var readmePath = filepath.Join("..", "..", "..", "README.md")

// readReadme returns README in three parts, the second of which is the table.
func readReadme(t *testing.T) (before, table, after string) {
	t.Helper()
	text, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), tableBegin)
	table, after, closed := strings.Cut(rest, tableEnd)
	if !found || !closed {
		t.Fatalf("README has no place for the table, which is between the lines %q and %q", tableBegin, tableEnd)
	}
	return before, table, after
}

// writeReadme puts the table into README, unless there is something wrong with it.
func writeReadme(t *testing.T, table *table) {
	t.Helper()
	before, _, after := readReadme(t)
	switch {
	case t.Failed():
		t.Error("README is left as it is, for something is wrong")
	case len(table.names) != len(rows()):
		t.Errorf("README is left as it is, for only %d of %d clients were tried", len(table.names), len(rows()))
	default:
		if err := os.WriteFile(readmePath, []byte(before+tableBegin+table.String()+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A table is one in Markdown.
type table struct {
	text  strings.Builder
	names []string
}

func newTable() *table {
	t := &table{}
	t.text.WriteString("| client | version |")
	for _, c := range columns("") {
		t.text.WriteString(" " + c.name + " |")
	}
	t.text.WriteString("\n" + strings.Repeat("|---", 2+len(columns(""))) + "|\n")
	return t
}

func (t *table) add(r row, version string, cells []string) {
	t.names = append(t.names, r.name)
	fmt.Fprintf(&t.text, "| %s | %s | %s |\n", r.name, version, strings.Join(cells, " | "))
}

func (t *table) String() string { return t.text.String() }

// outline is the table without what was measured.
func outline(table string) string {
	var out strings.Builder
	for i, line := range strings.Split(strings.TrimSuffix(table, "\n"), "\n") {
		if i >= 2 {
			line, _, _ = strings.Cut(line+" | ", " | ")
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}

func TestReadme(t *testing.T) {
	want := newTable()
	for _, r := range rows() {
		want.add(r, "", nil)
	}
	_, got, _ := readReadme(t)
	if outline(got) != outline(want.String()) {
		t.Errorf("README has the table of\n%swant\n%srun make matrix", outline(got), outline(want.String()))
	}
}
