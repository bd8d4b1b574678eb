package torture

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/jobs"
	"steve/internal/testkit/need"
)

// stevies runs a job with a token, again and again.
func stevies(c *client) (func() error, error) {
	return func() error { return c.stevie(filepath.Join(c.Tools, "slot"), "true") }, nil
}

// makes builds real source.
func makes(c *client) (func() error, error) {
	return func() error {
		if err := c.run("make-4.4", "--silent", "clean"); err != nil {
			return err
		}
		if err := c.stevie("make-4.4", "--silent", "CFLAGS=-O0", "libz.a"); err != nil {
			return err
		}
		_, err := os.Stat(filepath.Join(c.Dir, "libz.a"))
		return err
	}, nil
}

// smallMakes has make run some jobs, where a compiler would take its time.
func smallMakes(c *client) (func() error, error) {
	return func() error { return c.stevie("make-4.4", "--silent", "JOB="+filepath.Join(c.Tools, "slot")+" true") }, nil
}

// cargos builds a workspace.
func cargos(c *client) (func() error, error) {
	return func() error {
		if err := os.RemoveAll(filepath.Join(c.Dir, "target")); err != nil {
			return err
		}
		// Kept, cargo has nothing to be told of makes that a build script could run.
		return c.stevie("--keep-j", "cargo", "build", "--offline", "--quiet")
	}, nil
}

// stevie runs a command by stevie, with a token for its implicit slot.
func (c *client) stevie(argv ...string) error {
	return c.run(append([]string{filepath.Join(c.Tools, "stevie"), "run"}, argv...)...)
}

// run runs a program, which must succeed and have nothing to say.
func (c *client) run(argv ...string) error {
	return c.ask(command, func() error {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = c.Dir
		out, err := cmd.CombinedOutput()
		if err != nil || len(out) > 0 {
			return fmt.Errorf("%q: %v\n%s", argv, err, out)
		}
		return nil
	})
}

// prepare puts the source that clients of a kind build into their directory.
func prepare(t *testing.T, kind, dir string) {
	t.Helper()
	switch kind {
	case "make":
		jobs.Run(t, "cp", "-a", need.Source(t, "zlib")+"/.", dir)
	case "small make":
		jobs.Makefile(t, dir, 4)
	case "cargo":
		need.Tool(t, "cargo")
		crates := 4
		if guest.Inside() {
			crates = 2
		}
		jobs.CargoWorkspace(t, dir, crates)
	}
}

// programs returns a directory for PATH in which the programs are found that clients run; gcc is the one that is counted.
func programs(t *testing.T, tools string) string {
	t.Helper()
	bin := t.TempDir()
	for name, target := range map[string]string{
		"make-4.4": need.Client(t, "make-4.4"),
		"gcc":      filepath.Join(tools, "slot"),
	} {
		if err := os.Symlink(target, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}
