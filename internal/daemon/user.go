package daemon

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// private returns an error unless dir is a directory of this user's that nobody else can write: in a shared one another
// user could put a file in the place of ours.
func private(dir string) error {
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

// credentials are what a process is to become.
type credentials struct {
	uid, gid int
	groups   []int
}

func lookUpUser(name string) (credentials, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return credentials{}, fmt.Errorf("user %q is unknown; create it (useradd --system %s) or name another", name, name)
		}
	}
	c := credentials{}
	ids, err := u.GroupIds()
	if err != nil {
		return credentials{}, fmt.Errorf("groups of user %q: %w", name, err)
	}
	for _, text := range append([]string{u.Uid, u.Gid}, ids...) {
		id, err := strconv.Atoi(text)
		if err != nil {
			return credentials{}, fmt.Errorf("user %q: %w", name, err)
		}
		c.groups = append(c.groups, id)
	}
	c.uid, c.gid, c.groups = c.groups[0], c.groups[1], c.groups[2:]
	return c, nil
}

// become makes the whole process another user, for good.
func (c credentials) become() error {
	if err := syscall.Setgroups(c.groups); err != nil {
		return os.NewSyscallError("setgroups", err)
	}
	if err := syscall.Setgid(c.gid); err != nil {
		return os.NewSyscallError("setgid", err)
	}
	return os.NewSyscallError("setuid", syscall.Setuid(c.uid))
}
