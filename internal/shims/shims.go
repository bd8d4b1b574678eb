// Package shims stands between a build and the make and ninja it calls by name: they are found first on PATH, are stevie
// under another name, and call the real program as it must be called to be a client of the jobserver.
//
// That is: without the job count with which it would leave the jobserver; with the jobserver in MAKEFLAGS where the build
// has taken it out, as dh does; and in the form it takes: "R,W" for a make older than 4.4, whose parents have closed the
// descriptors, "fifo:PATH" for ninja. A ninja that takes none is run by stevie itself.
//
// When a build is run so is for package client to decide, what programs are and take for package programs to know.
package shims

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/jobserver"
	"steve/internal/programs"
)

// Environment variables by which a stevie speaks to the shims below it. Without them, they only call the real program.
const (
	// DirVar is the directory given to Create.
	DirVar = "STEVE_SHIMS"
	// JobserverVar is the path for "fifo:PATH".
	JobserverVar = "STEVE_JOBSERVER"
	// PairVar is IN,OUT: the paths to open for "R,W", set where that is the form for make.
	PairVar = "STEVE_JOBSERVER_PAIR"
)

// names are the programs there may be shims for.
var names = []string{"make", "gmake", "ninja", "ninja-build"}

// Dir is the directory for shims that all of a user's builds share, and that outlives them: configure scripts keep the
// paths of the programs they find, so that in a directory of one build's own they would be gone for the next. The error
// says why there is none.
func Dir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	// A user without a home, whom builds are often run as, is not to get one.
	if _, err := os.Stat(filepath.Dir(cache)); err != nil {
		return "", err
	}
	return filepath.Join(cache, "steve", "shims"), nil
}

// Create makes shims in dir and returns the variables, NAME=VALUE, for a command to call them and for them to hand on j,
// whose In and Out are empty where no make is expected that takes descriptors only. Only
// programs that are on PATH get one, or a build would believe there are others.
//
// Each shim has a directory of its own below dir, and is a link to this program's file: PATH selects among them, so that
// any number of stevies may use dir at a time. Where a stevie was replaced the links lead to the new one; where it was
// removed they lead nowhere, and execvp(3) goes on to the next directory of PATH.
func Create(dir string, j jobserver.Jobserver) ([]string, error) {
	if !filepath.IsAbs(dir) || strings.Contains(dir, ":") {
		return nil, fmt.Errorf("%q cannot be a directory of PATH", dir)
	}
	// Path of the file even where it has been replaced since this process began.
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(self); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := ctl.Private(dir); err != nil {
		return nil, err
	}
	rest := slices.DeleteFunc(pathDirs(), func(d string) bool { return below(d, dir) })
	var path []string
	for _, name := range names {
		if _, err := programs.LookIn(name, rest); err != nil {
			continue
		}
		own := filepath.Join(dir, name)
		if err := link(self, own, name); err != nil {
			return nil, err
		}
		path = append(path, own)
	}
	env := Env(j)
	path = append(path, rest...)
	return append(env, DirVar+"="+dir, "PATH="+strings.Join(path, ":")), nil
}

// Env returns the variables that tell shims of another jobserver, for a stevie that is run below one that made them.
func Env(j jobserver.Jobserver) []string {
	pair := ""
	if j.In != "" {
		pair = j.In + "," + j.Out
	}
	return []string{JobserverVar + "=" + j.Path, PairVar + "=" + pair}
}

// link makes dir/name a symbolic link to target, in one step for those who look on.
func link(target, dir, name string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	path := filepath.Join(dir, name)
	if old, err := os.Readlink(path); err == nil && old == target {
		return nil
	}
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.Symlink(target, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// pathDirs are the directories of PATH.
func pathDirs() []string { return filepath.SplitList(os.Getenv("PATH")) }

// below says whether path is a directory below dir.
func below(path, dir string) bool {
	return dir != "" && strings.HasPrefix(filepath.Clean(path), filepath.Clean(dir)+"/")
}
