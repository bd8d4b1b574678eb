package report

import (
	"os"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/proc"
)

// LookUp finds out who stands behind the processes of r, which this process has just asked for at source.
func LookUp(r ctl.Report, source string, fs proc.FS) Report {
	report := Report{Source: source, Status: r.Status, Foreign: r.Caller != os.Getpid()}
	now := sinceBoot()
	for _, p := range r.Processes {
		found := Process{Process: p}
		if !report.Foreign {
			found.Who = who(fs, p, now)
		}
		report.Processes = append(report.Processes, found)
	}
	return report
}

// coarse is how far the times of two clocks may be apart: processes start at ticks of 10 ms.
const coarse = 20 * time.Millisecond

// who looks p up, now, on the clock by which processes start. It is nil if there is no such process, or one that is too
// young: the pid is another's by now.
func who(fs proc.FS, p ctl.Process, now time.Duration) *Who {
	about, err := fs.About(p.PID)
	if err != nil || about.Started > now-p.Age()+coarse {
		return nil
	}
	command, err := fs.CommandLine(p.PID)
	if err != nil {
		return nil
	}
	w := &Who{Command: command, UID: about.UID, Cgroup: about.Cgroup}
	if u, err := user.LookupId(strconv.Itoa(w.UID)); err == nil {
		w.User = u.Username
	}
	return w
}

// sinceBoot is the clock by which processes start, in the time namespace of this process as they are.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // this clock is there, and the address good
	}
	return time.Duration(t.Nano())
}
