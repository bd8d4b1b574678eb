package systemd

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Descriptor is one that the service manager has given to this process.
type Descriptor struct {
	Name string // as it was stored
	FD   int
}

// firstFD is the first descriptor that is given, SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstFD = 3

// Inherited returns the descriptors that the service manager has given to this process, in its order, of which the same
// name can be there twice. They are the caller's, who has to close, and Remove, what it has no use for; they are closed
// on exec. Call it once, before there are children: it takes what was said about them out of the environment.
//
// The error says what is wrong with what was said; then there are none.
func Inherited() ([]Descriptor, error) {
	const pidVar, countVar, namesVar = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"
	pid, count, names := os.Getenv(pidVar), os.Getenv(countVar), os.Getenv(namesVar)
	for _, name := range []string{pidVar, "LISTEN_PIDFDID", countVar, namesVar} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // said to another process, whose environment this one has got
	}
	n, err := strconv.ParseUint(count, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%s is %q, must be a number", countVar, count)
	}
	split := strings.Split(names, ":")
	var given []Descriptor
	for i := range int(n) {
		d := Descriptor{FD: firstFD + i}
		if _, err := unix.FcntlInt(uintptr(d.FD), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return nil, fmt.Errorf("%s is %d, but descriptor %d is not open", countVar, n, d.FD)
		}
		if i < len(split) {
			d.Name = split[i]
		}
		given = append(given, d)
	}
	return given, nil
}
