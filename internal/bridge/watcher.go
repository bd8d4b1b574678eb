package bridge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watcherVerb is the first argument by which the program runs as the watcher of a bridge, with its directory after it. It
// is no command for users.
const watcherVerb = "watch-bridge"

// Helper returns what this process is to do, if args, without the program's name, say that a bridge started it to help.
func Helper(args []string) func() error {
	if len(args) == 2 && args[0] == watcherVerb {
		return func() error { return watch(args[1], os.Stdin) }
	}
	return nil
}

// EnvVar names the directory of the bridge in the environment of its build.
const EnvVar = "STEVE_BRIDGE"

// A watcher is the other process of a bridge. It sees this one end, by the end of a pipe, and if that was without a
// word, then it ends the build: the server has given the tokens in its FIFOs to others.
type watcher struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

// Messages to the watcher.
const (
	msgCommand = 'c' // the build's first process is that of the number in the next four bytes
	msgDismiss = 'd' // the build has ended, or is somebody else's from now on
)

func startWatcher(h *home) (*watcher, error) {
	cmd := exec.Command("/proc/self/exe", watcherVerb, h.path)
	cmd.Args[0] = "stevie" // whatever this one is called by
	cmd.Dir = "/"
	// None of the variables by which it, or a watcher of an outer bridge, would take it for a part of the build.
	cmd.Env = []string{}
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{h.lock} // nobody is to remove the directory before it has
	// A session of its own: neither what a terminal sends nor a kill of the whole process group is for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		in.Close()
		return nil, fmt.Errorf("unable to run the watcher of the FIFO: %w", err)
	}
	return &watcher{cmd, in}, nil
}

func (w *watcher) command(pid int) error {
	_, err := w.in.Write(binary.NativeEndian.AppendUint32([]byte{msgCommand}, uint32(pid)))
	return err
}

// dismiss ends the watcher. If it was killed, that is no trouble any more.
func (w *watcher) dismiss() {
	w.in.Write([]byte{msgDismiss})
	w.in.Close()
	w.cmd.Wait()
}

// watch is the watcher of the bridge in directory dir.
func watch(dir string, input io.Reader) error {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2,
		unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
	v := &victims{dir: dir, found: map[string]*victim{}}
	for {
		var msg [5]byte
		if _, err := io.ReadFull(input, msg[:1]); err != nil {
			break
		}
		if msg[0] == msgDismiss {
			return nil
		}
		if _, err := io.ReadFull(input, msg[1:]); err != nil {
			break
		}
		// Its number is its own as long as its parent has not waited for it, which was so when this was sent.
		v.add(strconv.Itoa(int(binary.NativeEndian.Uint32(msg[1:]))), func() bool { return true })
	}
	for _, name := range fileNames {
		if f, err := openFIFO(dir + "/" + name); err == nil {
			v.files = append(v.files, f)
		}
	}
	v.finder = &finder{files: v.files}
	fmt.Fprintln(os.Stderr, "stevie: killed; ending what it has run, whose tokens are given to others now")
	v.end()
	return (&home{path: dir, lock: os.NewFile(3, dir)}).remove()
}

// termTimeout is how long processes have to end after SIGTERM.
const termTimeout = 5 * time.Second

// victims are the processes of a build that is to be ended.
type victims struct {
	dir    string
	files  []*fifo
	finder *finder
	found  map[string]*victim // by process id
	// deadline is when they are killed that have not ended.
	deadline time.Time
}

type victim struct {
	pidfd int
	told  bool // SIGTERM was sent
}

// end ends the build, and returns when none of it is left.
func (v *victims) end() {
	v.deadline = time.Now().Add(termTimeout)
	for {
		for _, f := range v.files {
			f.take(f.count()) // no token for those that are left
		}
		v.signal(unix.SIGSTOP) // what is known already is not to go on while the rest is looked for
		v.search()
		if len(v.found) == 0 {
			return
		}
		sig := unix.SIGTERM
		if time.Now().After(v.deadline) {
			sig = unix.SIGKILL
		}
		var polled []unix.PollFd
		// Stopped first, none of them sees another one end and starts something in its place. But a process that stays stopped
		// does not end.
		v.signal(unix.SIGSTOP)
		v.signal(sig)
		v.signal(unix.SIGCONT)
		for _, victim := range v.found {
			victim.told = true
			polled = append(polled, unix.PollFd{Fd: int32(victim.pidfd), Events: unix.POLLIN})
		}
		// Until one ends, but not for long: others may have begun meanwhile.
		unix.Poll(polled, 100)
		for pid, victim := range v.found {
			if victim.ended() {
				unix.Close(victim.pidfd)
				delete(v.found, pid)
			}
		}
	}
}

// signal sends s to all that have not been told to end, or, once time is up, to all.
func (v *victims) signal(s unix.Signal) {
	for _, victim := range v.found {
		if !victim.told || time.Now().After(v.deadline) {
			unix.PidfdSendSignal(victim.pidfd, s, nil, 0)
		}
	}
}

func (v *victim) ended() bool {
	p := []unix.PollFd{{Fd: int32(v.pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return n > 0 && err == nil
}

// search finds the processes that have one of the FIFOs open, or have the directory in their environment.
func (v *victims) search() {
	self := selfPID()
	eachProcess(func(pid string) bool {
		if pid != self && pid != "1" && v.found[pid] == nil && v.belongs(pid) {
			v.add(pid, func() bool { return v.belongs(pid) })
		}
		return true
	})
}

func (v *victims) belongs(pid string) bool {
	if env, err := os.ReadFile("/proc/" + pid + "/environ"); err == nil && names(env, v.dir) {
		return true
	}
	return v.finder.holds(pid)
}

// names says whether an environment is that of the build whose bridge is in dir.
func names(env []byte, dir string) bool {
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		name, value, _ := strings.Cut(string(entry), "=")
		switch name {
		case EnvVar:
			if value == dir {
				return true
			}
		case "MAKEFLAGS", "CARGO_MAKEFLAGS":
			if strings.Contains(value, "=fifo:"+dir+"/") {
				return true
			}
		}
	}
	return false
}

// add adds a process, if it is what it should be: between a look at its number and the call that holds on to it, another
// one may have got that.
func (v *victims) add(pid string, check func() bool) {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return
	}
	fd, err := unix.PidfdOpen(n, 0)
	if err != nil {
		return
	}
	if !check() {
		unix.Close(fd)
		return
	}
	v.found[pid] = &victim{pidfd: fd}
}
