package bridge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
)

// A home is the private directory of a bridge. It is locked (flock(2)) as long as the bridge or its watcher lives.
type home struct {
	path string
	lock *os.File
}

// homePrefix begins the name of every home.
const homePrefix = "stevie-"

// makeHome makes a home in parent, and removes from it those whose owners are gone.
func makeHome(parent string) (*home, error) {
	if err := os.Mkdir(parent, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("no place for a FIFO: %w", err)
	}
	if err := ctl.Private(parent); err != nil {
		return nil, err
	}
	if err := ctl.CheckPath(parent); err != nil {
		return nil, fmt.Errorf("no FIFO can be in %s, %w", parent, err)
	}
	removeStale(parent)
	for {
		path, err := os.MkdirTemp(parent, homePrefix)
		if err != nil {
			return nil, fmt.Errorf("no place for a FIFO: %w", err)
		}
		// Another bridge may have taken it for one whose owner is gone, between the two calls, and removes it.
		lock, err := lockHome(path)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			os.Remove(path)
			return nil, err
		}
		return &home{path: path, lock: lock}, nil
	}
}

// lockHome locks the directory at path. It fails with EWOULDBLOCK if its owner lives, and with os.ErrNotExist if it is gone.
func lockHome(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	dir := os.NewFile(uintptr(fd), path)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		dir.Close()
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	var locked, named unix.Stat_t
	if err = unix.Fstat(fd, &locked); err == nil {
		err = unix.Lstat(path, &named)
	}
	if err == nil && idOf(&locked) != idOf(&named) {
		err = unix.ENOENT
	}
	if err != nil {
		dir.Close()
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return dir, nil
}

// removeStale removes the homes in parent that no process has locked. Where that fails there is just more to remove.
func removeStale(parent string) {
	paths, err := filepath.Glob(filepath.Join(parent, homePrefix+"*"))
	if err != nil {
		return
	}
	for _, path := range paths {
		if lock, err := lockHome(path); err == nil {
			(&home{path, lock}).remove()
		}
	}
}

// remove removes the home and what a bridge makes in it, nothing else, and unlocks it.
func (h *home) remove() error {
	var errs []error
	for _, name := range fileNames {
		if err := os.Remove(filepath.Join(h.path, name)); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := os.Remove(h.path); !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	errs = append(errs, h.lock.Close())
	return errors.Join(errs...)
}
