package daemon

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

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
