package client

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/makeflags"
)

// DeviceVar is the environment variable that names the token file to use.
const DeviceVar = "STEVE_DEVICE"

// Find opens a steve's token file: the one at device, or at $STEVE_DEVICE, if that is given. Otherwise it is the first
// of these behind which a steve answers: the one MAKEFLAGS names, root's, the user's own.
//
// The error is an *OpenError. A file that is there but may not be opened ends the search: going on would hide that the
// machine has a steve, and run the build beside it.
func Find(device string) (*ctl.Conn, error) {
	if device == "" {
		device = os.Getenv(DeviceVar)
	}
	if device != "" {
		c, err := ctl.Open(device)
		return c, openError(device, err)
	}

	var first *OpenError
	for _, path := range candidates() {
		c, err := ctl.Open(path)
		if err == nil {
			return c, nil
		}
		failed := &OpenError{Path: path, Err: err}
		if errors.Is(err, unix.EACCES) {
			return nil, failed
		}
		// Root's is the failure to tell of, unless there is simply nothing and the user's own path has more to say.
		missing := errors.Is(err, unix.ENOENT)
		if path == ctl.RootPath || first != nil && errors.Is(first.Err, unix.ENOENT) && !missing {
			first = failed
		}
	}
	return nil, first
}

func candidates() []string {
	var paths []string
	if path, ok := strings.CutPrefix(makeflags.Auth(os.Getenv("MAKEFLAGS")), "fifo:"); ok {
		paths = append(paths, path)
	}
	paths = append(paths, ctl.RootPath)
	if dir := ctl.UserDir(); ctl.Private(dir) == nil {
		paths = append(paths, filepath.Join(dir, "steve"))
	}
	return paths
}

// An OpenError says why the token file at Path cannot be used.
type OpenError struct {
	Path string
	Err  error
}

func openError(path string, err error) error {
	if err == nil {
		return nil
	}
	return &OpenError{Path: path, Err: err}
}

func (e *OpenError) Unwrap() error { return e.Err }

// Error is worded as by perror, behind a phrase that scripts look for, with a hint where permission is missing.
func (e *OpenError) Error() string {
	text := fmt.Sprintf("unable to open %s: %s", e.Path, strerror(e.Err))
	if errors.Is(e.Err, unix.EACCES) {
		text += e.whoMay()
	}
	return text
}

// Hint is what may help, empty where Error says it all.
func (e *OpenError) Hint() string {
	if !errors.Is(e.Err, unix.EACCES) {
		return ""
	}
	return strings.Trim(e.whoMay(), " ()")
}

func (e *OpenError) whoMay() string {
	info, err := os.Stat(e.Path)
	if err != nil {
		return ""
	}
	groups, err := os.Getgroups()
	if err != nil {
		return ""
	}
	return whoMay(info.Sys().(*syscall.Stat_t), os.Geteuid(), append(groups, os.Getegid()))
}

// whoMay says who may open a file, to a user of that id and those groups who may not.
func whoMay(st *syscall.Stat_t, uid int, gids []int) string {
	const rw = 0o6
	class := st.Mode // its last three bits are those that count for this user
	switch {
	case uid == int(st.Uid):
		class >>= 6
	case slices.Contains(gids, int(st.Gid)):
		class >>= 3
	}
	if uid == 0 || class&rw == rw {
		return " (its steve cannot see this process: run steve outside of any pid namespace)"
	}
	if st.Gid == 0 && st.Mode>>3&rw == rw {
		return " (only group root may: have steve started with --group GROUP)"
	}
	if st.Mode>>3&rw != rw {
		name := strconv.Itoa(int(st.Uid))
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		return fmt.Sprintf(" (only its owner, %s, may)", name)
	}
	name := strconv.Itoa(int(st.Gid))
	if g, err := user.LookupGroupId(name); err == nil {
		name = g.Name
	}
	return fmt.Sprintf(" (group %s may: usermod -aG %[1]s USER, then log in again)", name)
}

// strerror words an error as the C library does; Go's texts of error numbers differ in the first letter.
func strerror(err error) string {
	var errno syscall.Errno
	switch {
	case errors.Is(err, ctl.ErrNotSteve):
		return ctl.ErrNotSteve.Error()
	case errors.As(err, &errno):
		text := errno.Error()
		return strings.ToUpper(text[:1]) + text[1:]
	}
	return err.Error()
}
