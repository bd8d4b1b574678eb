package client

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// divertSignals sends the signals that concern a running command to a channel.
func divertSignals() <-chan os.Signal {
	// Room for one of each kind: a signal that finds the channel full is lost.
	signals := make(chan os.Signal, 8)
	catch(signals, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGTERM)
	return signals
}

// catch sends signals to a channel, save those this process was started to ignore (nohup, "&" in a shell without job
// control): the command is to inherit that.
//
// They are caught, not ignored: exec resets what is caught, and passes on what is ignored.
func catch(to chan<- os.Signal, signals ...syscall.Signal) {
	mask := ignored()
	for _, s := range signals {
		if mask>>(s-1)&1 == 0 {
			signal.Notify(to, s)
		}
	}
}

// ignored is the set of signals that are ignored, signal n in bit n-1, as far as the Go runtime has left that alone: that
// of HUP, INT and job control. signal.Ignored does not know of the last. Without a /proc it is empty.
func ignored() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, field, _ := strings.Cut(string(status), "\nSigIgn:")
	var mask uint64
	fmt.Sscanf(field, "%x", &mask)
	return mask
}

// run starts the command with what it is handed, waits for its end, and returns its exit status.
//
// The command is in this process's group and so in the foreground of the same terminal. What the terminal sends, ^C, ^\
// and ^Z, reaches both. So an INT is not passed on, or the command would have it twice, unless it came before the command
// did. QUIT and HUP are passed on, like TERM: they may come from elsewhere, there is no telling, and twice is better than
// not at all.
func (c *command) run(h *handed, signals <-chan os.Signal, stops chan os.Signal) (int, error) {
	// From here on job control must not stop this process by itself, see stopped.
	catch(stops, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)

	p, err := c.start(h.env)
	for _, f := range h.inherited {
		f.Close()
	}
	if err != nil {
		return 0, err
	}
	defer p.Release()
	h.started(p.Pid)
	settle()
	passQueued(p, signals)
	passQueued(p, stops)

	states := make(chan unix.WaitStatus)
	go func() {
		for {
			var s unix.WaitStatus
			// Not os.Process.Wait, which does not see a process stop.
			_, err := unix.Wait4(p.Pid, &s, unix.WUNTRACED, nil)
			if err == unix.EINTR {
				continue
			}
			states <- s
			if !s.Stopped() {
				return
			}
		}
	}()

	for {
		select {
		case s := <-signals:
			if s != unix.SIGINT {
				p.Signal(s)
			}
		case s := <-states:
			switch {
			case s.Stopped():
				if byJobControl(s.StopSignal(), stops) {
					stopped(p, h)
				}
			case s.Signaled():
				return StatusSignal + int(s.Signal()), nil
			default:
				return s.ExitStatus(), nil
			}
		}
	}
}

// settle returns when the signals sent to this process so far are in their channels. Without it, one from before the
// command may be seen later: threads of a busy machine take their time to run handlers.
//
// Linux gives out standard signals before real-time ones, see signal(7), the highest of which so comes behind all others.
func settle() {
	const highest = syscall.Signal(64)
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, highest)
	defer signal.Stop(arrived)
	if unix.Kill(os.Getpid(), highest) == nil {
		<-arrived
	}
}

// passQueued passes on all signals that are queued, among which may be some that came before the command.
func passQueued(p *os.Process, signals <-chan os.Signal) {
	for {
		select {
		case s := <-signals:
			p.Signal(s)
		default:
			return
		}
	}
}

// byJobControl says whether it was the terminal's job control that had the command stopped, as its signals, which all of the
// process group gets, have come here too. The command may have stopped itself by SIGSTOP then: those do that which have a
// screen to tidy up first, and a stevie. Otherwise a command stopped by SIGSTOP was meant by name, and whoever did
// that will continue it by name.
func byJobControl(by syscall.Signal, stops <-chan os.Signal) bool {
	settle()
	select {
	case <-stops:
		return true
	default:
	}
	// The command may have a process group of its own.
	return by == unix.SIGTSTP || by == unix.SIGTTIN || by == unix.SIGTTOU
}

// stopped stops this process after job control has stopped the command, so that the shell sees its job stopped and takes
// the terminal back; and continues the command when this process is continued.
//
// Job control's own signals do not stop this process: that might come first, then the shell continues both, and only then
// the command's stop is noticed and stops this process once more, for good.
func stopped(p *os.Process, h *handed) {
	h.pause()
	stop()
	h.resume()
	p.Signal(unix.SIGCONT)
}

// stop stops this process until it is continued.
func stop() {
	// Sent to this very thread, the signal takes effect before the call returns.
	runtime.LockOSThread()
	unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
	runtime.UnlockOSThread()
}

// start starts the command.
func (c *command) start(env []string) (*os.Process, error) {
	attr := &os.ProcAttr{Env: env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}}
	p, err := os.StartProcess(c.path, c.args, attr)
	if errors.Is(err, unix.ENOEXEC) {
		// A script without "#!", as execvp(3) treats it.
		p, err = os.StartProcess("/bin/sh", append([]string{"sh", c.path}, c.args[1:]...), attr)
	}
	if err != nil {
		return nil, execError(c.args[0], err)
	}
	return p, nil
}
