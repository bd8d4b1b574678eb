package ctl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
)

// RootPath is the token file of root's steve where no other name is given.
const RootPath = "/dev/steve"

// UserDir is the directory of an ordinary user's token file: $XDG_RUNTIME_DIR where clients can find it by MAKEFLAGS and
// only this user can write to it, otherwise /tmp/steve-UID. A server and its clients compute it alike, by effective user.
//
// The latter need not exist. As anyone can make it, Private must have its say before it is used.
func UserDir() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if filepath.IsAbs(dir) && CheckPath(dir) == nil && Private(dir) == nil {
		return filepath.Clean(dir)
	}
	return fmt.Sprintf("/tmp/steve-%d", os.Geteuid())
}

// Private returns an error unless dir is a directory of the effective user's that nobody else can write: in another,
// someone else could put a file in the place of the token file.
func Private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not a directory of this user's alone; remove it, or set XDG_RUNTIME_DIR to one that is", dir)
	}
	return nil
}

// CheckPath returns an error for a path that some client would not find in MAKEFLAGS: make expands "$" and takes "#" for
// a comment, all of them split at blanks, most of them know no backslash or quote, a comma makes it a pair of descriptors.
func CheckPath(path string) error {
	for _, r := range path {
		if strings.ContainsRune(`,$#\'"`, r) || unicode.IsSpace(r) || unicode.IsControl(r) {
			return fmt.Errorf("build tools stumble over the %q in MAKEFLAGS", r)
		}
	}
	return nil
}
