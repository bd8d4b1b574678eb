package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/front/cuse"
	"steve/internal/proc"
)

// upgradeTimeout is longer than a keeper takes to give up on a program that does not start.
const upgradeTimeout = 15 * time.Second

// Upgrade makes the steve that serves the file of c go on as the program that is installed now, and returns when it has.
func Upgrade(c Config) error {
	path := cuse.Path(c.DevName) // root's
	if own := filepath.Join(ctl.UserDir(), c.DevName); os.Geteuid() != 0 {
		if _, err := os.Lstat(own); err == nil {
			path = own
		}
	}
	conn, err := ctl.Open(path)
	if err != nil {
		return err
	}
	defer conn.Close()
	before, err := conn.Server()
	if err != nil {
		return fmt.Errorf("%s is served by a steve that cannot be upgraded while it runs; restart it when no build uses it: %w", path, err)
	}
	target := before.Keeper
	switch {
	case before.Keeper == 0:
		return fmt.Errorf("%s is served by a steve without a keeper (--keeper none); restart it when no build uses it", path)
	case before.Started == 0: // a service manager starts the next
		target = before.Worker
	}
	if err := handOver(target, before.Started); err != nil {
		return fmt.Errorf("tell steve (PID %d) to hand over: %w", target, err)
	}
	for deadline := time.Now().Add(upgradeTimeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		now, err := conn.Server()
		if err != nil {
			return err
		}
		if now.Worker != before.Worker && (before.Started == 0 || follows(before.Keeper, now.Worker)) {
			return nil
		}
	}
	return fmt.Errorf("steve (PID %d) goes on as it was; its log says why", target)
}

// follows says whether the keeper runs the new program by now, as its worker does, and heeds signals. It goes there by an
// exec, in the first moments after which a signal would end it. Its name is the last thing that it sets.
func follows(keeper, worker int) bool {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", keeper))
	if err != nil || !bytes.Contains(args, fmt.Appendf(nil, "worker=%d,", worker)) {
		return false
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", keeper))
	return err == nil && string(name) != "exe\n"
}

// handOver sends SIGUSR2 to a process, if that started at the given time, or whenever if it is 0.
func handOver(pid int, started uint64) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if is, err := proc.Root.StartTime(pid); err != nil || started != 0 && is != started {
		return errors.Join(err, errors.New("its process is not visible from here; run this where steve runs"))
	}
	return unix.PidfdSendSignal(fd, unix.SIGUSR2, nil, 0)
}
