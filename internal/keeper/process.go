package keeper

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// self is the program that runs, whatever is on the disk by now.
const self = "/proc/self/exe"

// A process is a worker as its keeper sees it.
type process struct {
	pid  int
	link *Link
	said map[Word]bool
	// silent: it says nothing more.
	silent bool
	// since is when it said that it serves.
	since time.Time
	// trial: it runs the program from the disk, and has not served yet.
	trial bool
	// due is when it is killed unless it has done what it has to. Zero is never.
	due time.Time
	// overdue: it was killed for that.
	overdue bool
	// resumeBy is when it is killed unless it runs again after a SIGSTOP. Zero while it runs.
	resumeBy time.Time
}

// startWorker starts program as a worker with the descriptors of role.
func startWorker(program string, role Role) (*process, error) {
	link, theirs, err := newLink()
	if err != nil {
		return nil, err
	}
	defer unix.Close(theirs)
	files := []uintptr{0, 1, 2, uintptr(theirs)}
	role.Verb, role.link, role.worker = Worker, 3, 0
	var fds []FD
	for _, fd := range role.FDs {
		fds = append(fds, FD{fd.Name, len(files)})
		files = append(files, uintptr(fd.Num))
	}
	role.FDs = fds

	defer holdSignals()()
	pid, err := syscall.ForkExec(program, role.argv(), &syscall.ProcAttr{
		Env: os.Environ(), Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true}, // what a terminal sends is for the keeper
	})
	if err != nil {
		link.file.Close()
		return nil, &os.PathError{Op: "exec", Path: program, Err: err}
	}
	return &process{pid: pid, link: link, said: make(map[Word]bool)}, nil
}

// ended reports how the process ended, if it has.
func (p *process) ended() (status unix.WaitStatus, ended bool) {
	for {
		pid, err := unix.Wait4(p.pid, &status, unix.WNOHANG, nil)
		switch err {
		case unix.EINTR:
		case unix.ECHILD: // nobody knows how
			return unix.WaitStatus(unix.SIGKILL), true
		default:
			return status, pid == p.pid
		}
	}
}

// stopped reports whether the process is stopped at this moment. It leaves the kernel's note of it where it is, so that
// the next question, and the next keeper's, has the same answer.
func (p *process) stopped() bool {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.pid, &info, unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil && info.Signo != 0
		}
	}
}

func (p *process) kill() { unix.Kill(p.pid, unix.SIGKILL) }

// words are those of the process, if there is one.
func (p *process) words() <-chan Word {
	if p == nil || p.silent {
		return nil
	}
	return p.link.words
}

// describe says how the process ended.
func (p *process) describe(s unix.WaitStatus) string {
	switch {
	case p.overdue:
		return "killed by the keeper, as it hung"
	case s.Signaled():
		return "signal: " + s.Signal().String()
	}
	return fmt.Sprintf("exit status %d", s.ExitStatus())
}

// Succeed makes this process a keeper of fds, in the same program. It returns only if it cannot.
//
// A POSIX lock that the process has stays with it across execve(2), and must be given up before: the next worker waits for it.
func Succeed(args []string, fds []FD) error {
	return become(self, Role{Verb: Keeper, Args: args, FDs: fds})
}

// become replaces this process by program in another role. It returns only if it cannot.
func become(program string, role Role) error {
	defer holdSignals()()
	syscall.ForkLock.Lock() // whoever forks now must not pass them on
	defer syscall.ForkLock.Unlock()
	fds := role.FDs
	if role.link != 0 {
		fds = append([]FD{{linkName, role.link}}, fds...)
	}
	for _, fd := range fds {
		unix.FcntlInt(uintptr(fd.Num), unix.F_SETFD, 0)
		defer unix.CloseOnExec(fd.Num)
	}
	var limit unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	err := syscall.Exec(program, role.argv(), os.Environ())
	unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil) // Exec has lowered it to what it was before Go raised it
	return &os.PathError{Op: "exec", Path: program, Err: err}
}

// holdSignals keeps SIGUSR1 and SIGUSR2 from a program that this thread execs, in itself or in a child, until that program
// asks for them by signal.Notify: a mask survives execve(2), as do the signals that wait behind it. Else they would kill it
// in its first millisecond. Go's runtime takes SIGHUP, SIGINT and SIGTERM out of an inherited mask before it handles
// them, so one that comes in that millisecond does kill.
func holdSignals() (release func()) {
	runtime.LockOSThread()
	var set, old unix.Sigset_t
	set.Val[0] = 1<<(unix.SIGUSR1-1) | 1<<(unix.SIGUSR2-1)
	unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old)
	return func() {
		unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
		runtime.UnlockOSThread()
	}
}
