package daemon

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// highest is the nice value of the thread that serves. A compiler that has to wait for its token waits for that thread, and
// it needs a few microseconds at a time, while its clients keep every processor busy.
const highest = -20

// ahead calls f on a thread of highest priority, if nobody chose another for this process and it may be raised: root may,
// and whoever has RLIMIT_NICE. Elsewhere steve is as fast while a processor is idle.
func ahead(f func()) {
	runtime.LockOSThread() // for good: the thread ends with the goroutine, and its priority is nobody else's
	// Both are about this thread alone (setpriority(2), "C library/kernel differences"). The kernel says 20 - nice.
	if nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil && nice == 20 {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, highest)
	}
	f()
}
