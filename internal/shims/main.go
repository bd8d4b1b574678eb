package shims

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"steve/internal/cli"
	"steve/internal/jobserver"
	"steve/internal/makeflags"
	"steve/internal/programs"
)

// Exit statuses of a shim that could not call its program, as those of env(1).
const (
	statusNotExecutable = 126
	statusNotFound      = 127
)

// Called says whether name, what this process was called by, is that of a shim.
func Called(name string) bool { return slices.Contains(names, filepath.Base(name)) }

// Main calls the real program in place of which this process was called with args, and so returns only if it cannot.
//
// The program has this process's id, descriptors, limits and signals. Of signals that were ignored, Go's runtime keeps
// only HUP, INT and those of job control that way.
func Main(args []string) error {
	name := filepath.Base(args[0])
	path, err := find(name)
	if err != nil {
		return failure(name, err)
	}
	c := call{path: path, args: args, env: os.Environ()}
	if err := c.prepare(); err != nil {
		// The build goes on, with one job at a time.
		fmt.Fprintf(os.Stderr, "stevie: %s runs without a jobserver: %v\n", name, err)
	}
	err = unix.Exec(c.path, c.args, c.env)
	if errors.Is(err, unix.ENOEXEC) {
		// A script without "#!", as execvp(3) treats it.
		err = unix.Exec("/bin/sh", append([]string{"sh", c.path}, c.args[1:]...), c.env)
	}
	return failure(name, err)
}

func failure(name string, err error) error {
	status := statusNotExecutable
	if errors.Is(err, unix.ENOENT) {
		status = statusNotFound
	}
	return cli.Errorf(status, "unable to run %s: %w", name, err)
}

// find finds the real program called name. What is before the shims on PATH has had its turn: it may be a script that
// calls the next program of its name, and were it to be called from here the two would call each other for ever.
func find(name string) (string, error) {
	dirs, shims := pathDirs(), os.Getenv(DirVar)
	for i := len(dirs) - 1; i >= 0; i-- {
		if below(dirs[i], shims) {
			dirs = dirs[i+1:]
			break
		}
	}
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", err
	}
	return programs.LookIn(name, slices.DeleteFunc(dirs, func(dir string) bool { return isShim(filepath.Join(dir, name), self) }))
}

// isShim says whether path is a shim, of this stevie, whose file is self, or another.
func isShim(path string, self os.FileInfo) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false // LookIn sees for itself
	}
	target, err := os.Readlink(path)
	return os.SameFile(info, self) || err == nil && filepath.Base(target) == "stevie"
}

// A call is what a shim executes.
type call struct {
	path string
	args []string
	env  []string
	// inherited are files that are not to be collected, and so closed, before the program is called.
	inherited []*os.File
}

// prepare makes the program a client of the jobserver, if there is one. After an error it is none.
func (c *call) prepare() error {
	j := jobserver.Jobserver{Path: c.getenv(JobserverVar)}
	j.In, j.Out, _ = strings.Cut(c.getenv(PairVar), ",")
	info, err := os.Stat(j.Path)
	if err != nil {
		return nil // the stevie has ended, or this is none of its build
	}
	switch kind := programs.KindOf(c.args[0]); {
	case kind == programs.Make && !kind.IsSerial(c.args[1:]):
		return c.prepareMake(j)
	case kind == programs.Ninja && kind.NinjaJobs(c.args[1:], 1) > 1:
		c.prepareNinja(j, formOf(info))
	}
	return nil
}

func formOf(info os.FileInfo) programs.Form {
	switch mode := info.Mode(); {
	case mode&os.ModeNamedPipe != 0:
		return programs.FIFO
	case mode&os.ModeCharDevice != 0:
		return programs.CharDevice
	}
	return programs.RegularFile
}

func (c *call) prepareMake(j jobserver.Jobserver) error {
	value := c.getenv("MAKEFLAGS")
	auth := makeflags.Auth(value)
	if auth == "" && programs.Serial(makeflags.Jobs(value)) {
		return nil // below a "make -j1"
	}
	c.dropJobs(programs.Make)
	switch {
	case j.In == "":
		c.setenv("MAKEFLAGS", makeflags.Compose(value, j.ByPath()))
	case !j.Inherited(auth):
		files, auth, err := j.Open()
		c.inherited = files
		if err != nil {
			c.setenv("MAKEFLAGS", makeflags.Clean(value))
			return err
		}
		c.setenv("MAKEFLAGS", makeflags.Compose(value, auth))
	}
	return nil
}

func (c *call) prepareNinja(j jobserver.Jobserver, form programs.Form) {
	if programs.Probe(c.path).Accepts(form) {
		c.dropJobs(programs.Ninja)
		c.setenv("MAKEFLAGS", makeflags.Compose(c.getenv("MAKEFLAGS"), j.ByPath()))
		return
	}
	// This file may have no name any more.
	c.args = append([]string{"stevie", "run", "--", c.path}, c.args[1:]...)
	c.path = "/proc/self/exe"
}

func (c *call) dropJobs(kind programs.Kind) {
	kept, _ := kind.DropJobs(c.args[1:])
	c.args = append(c.args[:1:1], kept...)
}

func (c *call) getenv(name string) string {
	for _, e := range c.env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

func (c *call) setenv(name, value string) {
	c.env = slices.DeleteFunc(c.env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	c.env = append(c.env, name+"="+value)
}
