package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// Transport is how the token file is made.
type Transport string

// The transports.
const (
	Auto Transport = "auto" // CUSE where /dev/cuse can be opened, else FUSE
	CUSE Transport = "cuse"
	FUSE Transport = "fuse"
)

// KeptBy is who keeps the token file, and what happened, when the process that serves is killed, until another serves.
type KeptBy string

// The keepers.
const (
	KeptAuto      KeptBy = "auto"    // systemd where it offers to keep a device, else a process
	KeptByProcess KeptBy = "process" // one of our own, which starts the next
	KeptBySystemd KeptBy = "systemd" // systemd's descriptor store, for a device only
	KeptByNobody  KeptBy = "none"    // the builds end with the server
)

// Config is all that a command line says.
type Config struct {
	Limits    pool.Limits
	Transport Transport
	// DevName is the name of the token file in its directory.
	DevName string
	// Keeper is who keeps the token file while nobody serves it.
	Keeper KeptBy
	// User to become once the token file is there; empty for none.
	User string
	// Perm and Group are of the token file. Empty is the default: 0660 and the group jobserver, if there is one, for
	// root's; 0600 and its own group for a user's.
	Perm, Group string
	LogLevel    slog.Level
}

// nodeGroup is the group that may use root's token file, where it exists and no other is named.
const nodeGroup = "jobserver"

// devName is what clients can read in MAKEFLAGS: they split it at blanks and commas, and unescape nothing.
var devName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$`)

// Validate returns an error that says what is wrong and what is allowed.
func (c Config) Validate() error {
	if err := c.Limits.Validate(); err != nil {
		return err
	}
	switch c.Transport {
	case Auto, CUSE, FUSE:
	default:
		return fmt.Errorf("transport is %q, must be auto, cuse or fuse", c.Transport)
	}
	switch {
	case c.Keeper == KeptBySystemd && c.Transport == FUSE: // whoever looked at the mount while nobody serves would hang
		return errors.New("keeper is systemd, which can keep a character device only; use --transport cuse or --keeper process")
	case c.Keeper == KeptAuto, c.Keeper == KeptByProcess, c.Keeper == KeptBySystemd, c.Keeper == KeptByNobody:
	default:
		return fmt.Errorf("keeper is %q, must be auto, process, systemd or none", c.Keeper)
	}
	if !devName.MatchString(c.DevName) {
		return fmt.Errorf("dev-name is %q, must be 1 to 63 letters, digits, '.', '_' or '-', without a slash, not beginning with '.' or '-'", c.DevName)
	}
	if _, err := c.perm(false); err != nil {
		return err
	}
	if _, err := c.group(false); err != nil {
		return err
	}
	if c.User != "" {
		if _, err := lookUpUser(c.User); err != nil {
			return err
		}
		if os.Geteuid() != 0 {
			return errors.New("only root can become another user with --user")
		}
	}
	return nil
}

// perm is the mode of the token file.
func (c Config) perm(ofRoot bool) (os.FileMode, error) {
	if c.Perm == "" {
		if ofRoot {
			return 0o660, nil
		}
		return 0o600, nil
	}
	n, err := strconv.ParseUint(c.Perm, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("mode is %q, must be octal, 0 to 0777", c.Perm)
	}
	return os.FileMode(n), nil
}

// group is the group id of the token file.
func (c Config) group(ofRoot bool) (int, error) {
	name := c.Group
	if name == "" {
		if !ofRoot {
			return os.Getegid(), nil
		}
		name = nodeGroup
	}
	g, err := user.LookupGroup(name)
	if err == nil {
		return strconv.Atoi(g.Gid)
	}
	if c.Group == "" {
		return os.Getegid(), nil
	}
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	return 0, fmt.Errorf("group %q is unknown; create it (groupadd --system %s) or name another", name, name)
}

// place is where the FUSE file is, and where its lock is. The directories exist when it returns.
func (c Config) place() (path, runDir string, err error) {
	if os.Geteuid() == 0 {
		runDir = "/run/steve"
		return "/dev/" + c.DevName, runDir, os.MkdirAll(runDir, 0o755)
	}
	dir, err := userDir()
	return filepath.Join(dir, c.DevName), dir, err
}

// userDir is the directory of the user's token file, made where it may have to be.
func userDir() (string, error) {
	dir := ctl.UserDir()
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return dir, ctl.Private(dir)
}
