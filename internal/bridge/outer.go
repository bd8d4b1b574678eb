package bridge

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/jobserver"
)

// Jobserver is what to hand to the build.
func (b *Bridge) Jobserver() jobserver.Jobserver { return at(b.Dir()) }

func at(dir string) jobserver.Jobserver {
	return jobserver.Jobserver{
		Path: filepath.Join(dir, pathName),
		In:   filepath.Join(dir, readName),
		Out:  filepath.Join(dir, writeName),
	}
}

// Find returns the jobserver of the bridge whose directory is dir, another process's, as EnvVar tells it to those below.
// It is an error if that bridge has ended.
func Find(dir string) (jobserver.Jobserver, error) {
	j := at(dir)
	if err := ctl.Private(dir); err != nil {
		return j, err
	}
	var stat unix.Stat_t
	if err := unix.Lstat(j.Path, &stat); err != nil {
		return j, &os.PathError{Op: "lstat", Path: j.Path, Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFIFO {
		return j, fmt.Errorf("%s is no FIFO", j.Path)
	}
	return j, nil
}
