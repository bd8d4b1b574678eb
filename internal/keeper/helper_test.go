package keeper

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is also the program that is kept: with dirEnv set it is a main process, a keeper or a worker. What a
// worker does is in the file of that directory that has the name of the program's version. The version is what
// follows the last versionMark in the program's file, so that a copy of the file can be another version.
const (
	dirEnv      = "KEEPER_TEST_DIR"
	versionMark = "\x00keeper test version "
	firstTag    = "v1"
)

// What a worker can do. Where it is two words, the first is how far it gets.
const (
	serves       = "serves"
	crashes      = "crashes"       // at start
	crashesReady = "ready crashes" // having said that it is ready
	crashesTurn  = "turn crashes"  // when nobody else serves
	panics       = "serving panics"
	panicsOnOld  = "serving panics unless fresh"
	isFatal      = "fatal"
	isDeaf       = "deaf" // serves, and does nothing that it is told to
	hangs        = "hangs"
	hangsReady   = "ready hangs"
	parks        = "parks" // at start
)

// testBounds are short, but long enough for a busy machine where a test is to succeed within them.
var testBounds = bounds{
	firstBackoff: time.Millisecond, lastBackoff: 50 * time.Millisecond, settle: 100 * time.Millisecond,
	outage: 6 * time.Second, start: 3 * time.Second, park: 500 * time.Millisecond, stop: 3 * time.Second, stopped: 300 * time.Millisecond,
}

func TestMain(m *testing.M) {
	dir := os.Getenv(dirEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2)
	role, err := RoleOf(os.Args[1:])
	if err != nil {
		say("end status=1 error=%v", err)
		os.Exit(1)
	}
	switch role.Verb {
	case Worker:
		os.Exit(work(dir, role, signals))
	case Main:
		// The write end of the test's pipe is the device. The journal is there to be locked.
		journal, err := unix.MemfdCreate("journal", unix.MFD_CLOEXEC)
		if err != nil {
			panic(err)
		}
		unix.CloseOnExec(3)
		role.FDs = []FD{{"device", 3}, {"journal", journal}}
	}
	say("keeper %d program=%s verb=%q", os.Getpid(), version(), role.Verb)
	program := self
	if b, err := os.ReadFile(filepath.Join(dir, "self")); err == nil {
		program = string(b)
	}
	k := newKeeper(Config{
		Role: role, Disk: filepath.Join(dir, "program"), Signals: signals,
		Serving: func(pid int) { say("kept %d", pid) },
		Log:     slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}, program, testBounds)
	status, err := k.run()
	say("end status=%d error=%v", status, err)
	os.Exit(status)
}

// say writes a line that no other process writes into.
func say(format string, args ...any) { os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n") }

// version is that of the program that runs.
func version() string {
	f, err := os.Open(self)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	b := make([]byte, 64)
	f.Seek(-int64(len(b)), io.SeekEnd)
	io.ReadFull(f, b)
	if _, tag, ok := bytes.Cut(b, []byte(versionMark)); ok {
		return string(tag)
	}
	return firstTag
}

// work is what a daemon's worker is to do, without serving.
func work(dir string, role Role, signals <-chan os.Signal) (status int) {
	signal.Ignore(unix.SIGUSR1)
	b, err := os.ReadFile(filepath.Join(dir, version()))
	if err != nil {
		panic(err)
	}
	does := string(b)
	device, _ := role.FD("device")
	journal, _ := role.FD("journal")
	link := role.Link()
	say("worker %d started program=%s", os.Getpid(), version())
	switch does {
	case crashes:
		return 3
	case parks:
		return Parked
	case hangs:
		select {}
	case isFatal:
		link.Say(Fatal)
		return 2
	}
	if link.Say(Ready) != nil {
		return 1
	}
	switch does {
	case crashesReady:
		return 3
	case hangsReady:
		select {}
	}
	locked := make(chan error)
	go func() {
		locked <- unix.FcntlFlock(uintptr(journal), unix.F_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK})
	}()
	early := []Word{}
	for turn := false; !turn; {
		select {
		case err := <-locked:
			if err != nil {
				panic(err)
			}
			turn = true
		case w, ok := <-link.Words():
			if !ok {
				return 1 // who has the lock is the keeper now
			}
			early = append(early, w)
		}
	}
	if does == crashesTurn {
		return 3
	}
	if _, err := unix.Write(device, []byte{'.'}); err != nil {
		panic(err)
	}
	comm, _ := os.ReadFile("/proc/self/comm")
	say("worker %d serving program=%s fresh=%t keeper=%d comm=%s early=%v", os.Getpid(), version(), role.Fresh,
		os.Getppid(), strings.TrimSpace(string(comm)), early)
	if link.Say(Serving) != nil {
		return 1
	}
	if does == panics || does == panicsOnOld && !role.Fresh {
		panic("test")
	}
	if does == isDeaf {
		signal.Ignore(unix.SIGTERM, unix.SIGUSR2)
		select {}
	}
	for {
		select {
		case s := <-signals:
			if s == unix.SIGTERM {
				return 0
			}
		case w, ok := <-link.Words():
			if !ok {
				unix.FcntlFlock(uintptr(journal), unix.F_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
				say("worker %d failed to succeed: %v", os.Getpid(), Succeed(role.Args, role.FDs))
				return 1
			}
			say("worker %d told %s", os.Getpid(), w)
			switch w {
			case Stop:
				return 0
			case Park:
				return Parked
			}
		}
	}
}
