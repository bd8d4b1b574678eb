package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/testkit/jobs"
	"steve/internal/testkit/need"
)

const (
	unit    = "steve.service"
	device  = "/dev/steve"
	program = "/usr/bin/steve"
	log     = "/run/steve.log"
	tokens  = 4
)

// root is the module's directory.
const root = "../../.."

// install installs steve as a package would: "make install", then what the files of sysusers.d and udev's rules.d bring
// about. The guest's files are its own.
func install(t *testing.T) {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"steve", "stevie"} {
		jobs.Run(t, "install", "-D", filepath.Join(jobs.Tools(t), name), filepath.Join(dir, "bin", name))
	}
	jobs.Run(t, "env", "-u", "MAKEFLAGS", need.Tool(t, "make"), "-C", dir, "-o", "build", "install", "PREFIX=/usr", "UNITDIR=/run/systemd/system")
	jobs.Run(t, "systemd-sysusers", "/usr/lib/sysusers.d/steve.conf")
	jobs.Run(t, "chown", "steve", "/dev/cuse")
	configure(t, "")
	// There is no journal to write to.
	jobs.WriteFile(t, "/run/systemd/system/"+unit+".d/guest.conf", "[Service]\nStandardOutput=append:"+log+"\nStandardError=append:"+log+"\n")
	systemctl(t, "daemon-reload")
}

// configure sets the options that the unit has from the administrator.
func configure(t *testing.T, options string) {
	t.Helper()
	jobs.WriteFile(t, "/etc/conf.d/steve", fmt.Sprintf("STEVE_OPTS=\"--jobs=%d %s\"\n", tokens, options))
}

// systemctl runs systemctl, which must succeed.
func systemctl(t *testing.T, args ...string) {
	t.Helper()
	jobs.Run(t, append([]string{"systemctl"}, args...)...)
}

// show returns a property of the unit.
func show(t *testing.T, property string) string {
	t.Helper()
	return strings.TrimSpace(jobs.Run(t, "systemctl", "show", "--value", "--property="+property, unit))
}

// mainPID is that of the steve that serves; 0 if none does.
func mainPID(t *testing.T) int {
	t.Helper()
	all := jobs.Run(t, "systemctl", "show", "--property=ActiveState,MainPID", unit)
	if !strings.Contains(all, "ActiveState=active\n") {
		return 0
	}
	_, rest, _ := strings.Cut(all, "MainPID=")
	var pid int
	if _, err := fmt.Sscan(rest, &pid); err != nil {
		t.Fatalf("%v in %q", err, all)
	}
	return pid
}

// awaitState returns when the unit is in that state.
func awaitState(t *testing.T, state string) {
	t.Helper()
	jobs.Await(t, state+" "+unit, func() (bool, string) {
		got := show(t, "ActiveState")
		return got == state, got
	})
}

// stored is how many descriptors systemd keeps for the unit.
func stored(t *testing.T) string {
	t.Helper()
	return show(t, "NFileDescriptorStore")
}

// start starts steve, and returns a connection to it.
func start(t *testing.T) *ctl.Conn {
	t.Helper()
	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	systemctl(t, "start", unit)
	t.Cleanup(func() {
		exec.Command("systemctl", "stop", unit).Run() // it may have failed
		if text, err := os.ReadFile(log); t.Failed() && err == nil {
			t.Logf("what steve said:\n%s", text)
		}
	})
	conn, err := ctl.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// await returns when steve's counts satisfy ok.
func await(t *testing.T, conn *ctl.Conn, what string, ok func(ctl.Status) bool) {
	t.Helper()
	jobs.Await(t, what, func() (bool, string) {
		s, err := conn.Status()
		if err != nil {
			t.Fatal(err)
		}
		return ok(s), fmt.Sprintf("%+v", s)
	})
}

// awaitAll returns when all tokens are back.
func awaitAll(t *testing.T, conn *ctl.Conn) {
	t.Helper()
	await(t, conn, "return of all tokens", func(s ctl.Status) bool {
		return s.Free == tokens && s.Held == 0 && s.Holders == 0 && s.Waiters == 0
	})
}

// identity is that of the device's node: a device that is made anew has another.
func identity(t *testing.T) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("inode %d, %d:%d", st.Ino, unix.Major(st.Rdev), unix.Minor(st.Rdev))
}
