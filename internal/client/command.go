package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/cli"
	"steve/internal/ctl"
	"steve/internal/makeflags"
)

// A command is a program to run, and what has to be done for it to work with a jobserver.
type command struct {
	path string
	args []string // the first is the name it was called by
	// wantsDescriptors says that it cannot open the token file by its name.
	wantsDescriptors bool
}

func newCommand(args []string) (*command, error) {
	path, err := lookPath(args[0])
	if err != nil {
		return nil, execError(args[0], err)
	}
	return &command{path: path, args: args}, nil
}

// lookPath finds a program as execvp(3) does: where there is none to be found on PATH, but one that may not be executed,
// the error is EACCES. A directory of PATH may be relative.
func lookPath(name string) (string, error) {
	if name == "" {
		return "", unix.ENOENT
	}
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	var result error = unix.ENOENT
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if dir == "" {
			dir = "."
		}
		path := dir + "/" + name
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if errors.Is(err, unix.EACCES) {
			result = err
		}
	}
	return "", result
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return unix.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

// execError is the failure to execute the program called name.
func execError(name string, err error) error {
	status := StatusNotExecutable
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		status = StatusNotFound
	}
	return cli.Errorf(status, "unable to run %s: %s", name, strerror(err))
}

// adapt does what the command needs that is known to get a jobserver wrong, and tells the user.
func (c *command) adapt(conn *ctl.Conn, o Options) {
	var strip func([]string) (kept, removed []string)
	switch filepath.Base(c.args[0]) {
	case "make", "gmake", "gnumake":
		strip = makeflags.StripJobs
		major, minor, ok := c.version(makeVersion)
		c.wantsDescriptors = ok && (major < 4 || major == 4 && minor < 4)
	case "ninja", "ninja-build":
		strip = stripNinjaJobs
		c.warnNinja(conn, o)
	default:
		return
	}
	if o.KeepJobs {
		return
	}
	kept, removed := strip(c.args[1:])
	if len(removed) > 0 {
		c.args = append(c.args[:1:1], kept...)
		say(o.Messages, "dropped %s from the arguments of %s, which would leave the jobserver with it (--keep-j keeps it)",
			strings.Join(removed, " "), c.args[0])
	}
}

// warnNinja tells the user when ninja is going to ignore the token file and run as many jobs as it sees fit: before
// version 1.13 it knows no jobserver, up to 1.13.2 only a FIFO will do, and later ones take a character device, but no
// regular file, which is what FUSE serves.
func (c *command) warnNinja(conn *ctl.Conn, o Options) {
	info, err := conn.File().Stat()
	if err != nil {
		return
	}
	why := "a FUSE file is none to it"
	if !info.Mode().IsRegular() {
		major, minor, ok := c.version(ninjaVersion)
		if !ok || major > 1 || minor >= 14 {
			return
		}
		why = fmt.Sprintf("version %d.%d takes no character device for one", major, minor)
	}
	say(o.Messages, "ninja will ignore the jobserver (%s) and run jobs of its own, bound them with --keep-j and -jN", why)
}

// What programs say first, asked for their version.
var (
	makeVersion  = regexp.MustCompile(`^GNU Make ([0-9]+)\.([0-9]+)`)
	ninjaVersion = regexp.MustCompile(`^([0-9]+)\.([0-9]+)`)
)

// version asks the command for its version, which it says in the way of pattern.
func (c *command) version(pattern *regexp.Regexp) (major, minor int, ok bool) {
	// Bounded, for it may be anything of that name.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, "--version")
	cmd.WaitDelay = time.Second
	// Only the question. What the variables say is to be obeyed later, and make 4.3 would not survive "fifo:".
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); !strings.HasSuffix(name, "MAKEFLAGS") && name != "MFLAGS" {
			cmd.Env = append(cmd.Env, e)
		}
	}
	out, err := cmd.Output()
	if err != nil {
		return 0, 0, false
	}
	m := pattern.FindSubmatch(out)
	if m == nil {
		return 0, 0, false
	}
	major, err = strconv.Atoi(string(m[1]))
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.Atoi(string(m[2]))
	return major, minor, err == nil
}

// descriptors names one open file for both directions, as make does two.
func descriptors(fd int) string { return fmt.Sprintf("%d,%[1]d", fd) }

// stripNinjaJobs takes the job count out of the arguments of a ninja: with it, ninja does not look for a jobserver.
func stripNinjaJobs(args []string) (kept, removed []string) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(kept, args[i:]...), removed
		}
		if !strings.HasPrefix(arg, "-") || strings.HasPrefix(arg, "--") {
			kept = append(kept, arg)
			continue
		}
		// A dash and letters; the first of those that have an argument takes the rest, or the next word.
		n := strings.IndexAny(arg, "dfjkltwC")
		hasArg := n > 0
		attached := hasArg && n < len(arg)-1
		if hasArg && arg[n] == 'j' {
			if n > 1 {
				kept = append(kept, arg[:n])
			}
			count := "-" + arg[n:]
			if !attached && i+1 < len(args) {
				i++
				count += " " + args[i]
			}
			removed = append(removed, count)
			continue
		}
		kept = append(kept, arg)
		if hasArg && !attached && i+1 < len(args) {
			i++
			kept = append(kept, args[i])
		}
		if hasArg && arg[n] == 't' {
			// What follows is the tool's.
			return append(kept, args[i+1:]...), removed
		}
	}
	return kept, removed
}
