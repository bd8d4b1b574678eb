package matrix

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/jobs"
	"steve/internal/testkit/need"
)

var (
	whole  = flag.Bool("whole", false, "try all clients, and end them in every way")
	readme = flag.Bool("readme", false, "write the table into README")
)

func TestMain(m *testing.M) { jobs.Main(m) }

// TestIntegrationMatrix fills the table.
func TestIntegrationMatrix(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	jobs.Tools(t)
	table := newTable()
	for _, r := range rows() {
		if !*whole && !r.always {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			version, cells := try(t, r, "fuse")
			table.add(r, version, cells)
		})
	}
	t.Logf("with %d tokens and %d jobs:\n%s", tokenCount, jobCount, table)
	if *readme {
		writeReadme(t, table)
	}
}

// TestIntegrationMatrixCUSE has a character device for some clients: those that are particular about what they open, or
// about how they wait.
func TestIntegrationMatrixCUSE(t *testing.T) {
	jobs.Tools(t)
	if !guest.Enter(t, "newest") { // clients that do not know the kernel from another
		return
	}
	need.CUSE(t)
	guest.DisableIOUring(t)
	for _, r := range rows() {
		if r.particular {
			t.Run(r.name, func(t *testing.T) { try(t, r, "cuse") })
		}
	}
}

// try fills one row, and returns the version of the client and a cell for each column.
func try(t *testing.T, r row, transport string) (version string, cells []string) {
	if r.version != nil {
		version = r.version(t)
	}
	prepared := t.TempDir()
	if r.prepare != nil {
		r.prepare(t, prepared)
	}
	for _, c := range columns(transport) {
		if guest.Inside() && c.name == "embedded" {
			continue // which has nothing to do with the transport
		}
		cell := &cell{row: r, column: c, prepared: prepared}
		t.Run(c.name, cell.fill)
		cells = append(cells, cell.String())
	}
	return version, cells
}

// A cell is a client with one kind of jobserver.
type cell struct {
	row
	column
	prepared string

	peak   int      // most jobs at one time
	leased string   // the -j that stevie gave a client that does not take this jobserver, with as many tokens
	failed []string // endings after which something was wrong
}

func (c *cell) fill(t *testing.T) {
	for _, e := range endings {
		if !*whole && !e.always {
			continue
		}
		if !t.Run(e.name, func(t *testing.T) { c.end(t, e) }) {
			c.failed = append(c.failed, e.name)
		}
	}
}

// String is what the table says.
func (c *cell) String() string {
	jobs, back := fmt.Sprint(c.peak), "all back"
	if c.leased != "" {
		jobs += " by " + c.leased
	}
	if len(c.failed) > 0 {
		back = "**wrong: " + strings.Join(c.failed, ", ") + "**"
	}
	return jobs + ", " + back
}

// environ is the environment of a run.
func (l *launch) environ(t *testing.T, more ...string) []string {
	return slices.Concat(l.env, []string{
		"PATH=" + l.bin + ":" + os.Getenv("PATH"),
		"JOB=" + jobs.Tools(t) + "/slot",
		fmt.Sprintf("ROUNDS=%d", jobCount),
	}, more)
}
