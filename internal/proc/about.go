package proc

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// About is what people want to know of a process besides its command line.
type About struct {
	// UID is the effective user id.
	UID int
	// Started is when the process started, on CLOCK_BOOTTIME, to 10 ms.
	Started time.Duration
	// Cgroup is its path below the root of the cgroup file system: of version 2, or else that which systemd uses.
	// Empty where there is neither. Who made it chose its name: it is not fit for a terminal.
	Cgroup string
}

// About returns facts about a process, ErrGone if there is none.
func (fs FS) About(pid int) (About, error) {
	var a About
	var err error
	if a.UID, err = fs.uid(pid); err != nil {
		return About{}, err
	}
	start, err := fs.StartTime(pid)
	if err != nil {
		return About{}, err
	}
	a.Started = time.Duration(start) * tick
	buf := make([]byte, 4096) // some lines, each with a path that may be as long as PATH_MAX but never is
	b, err := fs.read(pid, "cgroup", buf)
	if err != nil && err != ErrGone { // ErrGone: a kernel without cgroups has no such file
		return About{}, err
	}
	a.Cgroup = cgroup(string(b))
	return a, nil
}

func (fs FS) uid(pid int) (int, error) {
	var buf [512]byte // as in status
	b, err := fs.read(pid, "status", buf[:])
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) == 5 && string(f[0]) == "Uid:" { // real, effective, saved, file system
			return strconv.Atoi(string(f[2]))
		}
	}
	return 0, fmt.Errorf("%s/%d/status has no Uid", fs, pid)
}

// cgroup finds the path in the contents of a cgroup file: lines of ID:CONTROLLERS:PATH (cgroups(7)).
func cgroup(lines string) string {
	v1 := ""
	for line := range strings.Lines(lines) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(f) < 3:
		case f[0] == "0" && f[1] == "" && f[2] != "/":
			return f[2]
		case f[1] == "name=systemd":
			v1 = f[2]
		case f[0] == "0" && v1 == "": // a root of version 2 is also what hybrid hierarchies have
			v1 = f[2]
		}
	}
	return v1
}
