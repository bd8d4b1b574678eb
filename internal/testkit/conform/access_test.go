package conform

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
	"steve/internal/testkit/steved"
)

// accessCases are about who may use the file.
var accessCases = []testCase{
	{name: "mode and group", args: []string{"--mode", "0660", "--group", "12345"}, run: testMode},
	{name: "mode by default", run: testDefaultMode},
	{name: "mode changed while it runs", args: []string{"--mode", "0600"}, run: testChmod},
	{name: "a file that is missing", run: testMissing, anybody: true},
	{name: "served without privileges", args: []string{"-j2", "--user", "nobody", "--mode", "0666"}, run: testUser},
	{name: "caller outside of the pid namespace", run: testOutside},
}

func testMode(t *testing.T, s *server) {
	info, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != 0o660 || owner.Uid != 0 || owner.Gid != 12345 {
		t.Errorf("mode %v, owner %d, group %d", info.Mode().Perm(), owner.Uid, owner.Gid)
	}
	const somebody = 54321
	outsider := newClient(t, as(somebody, somebody)).on("")
	for _, flags := range []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR} {
		outsider.tryOpen(s.path, flags).is(t, "open by somebody outside of the group", 0, unix.EACCES)
	}
	member := newClient(t, as(somebody, somebody, 12345)).on("")
	fd := member.open(s.path, unix.O_RDWR)
	member.takes(fd)
	s.has(1)
	again := member.open("/proc/self/fd/"+itoa(fd), unix.O_WRONLY)
	member.gives(again, 1)
	member.takes(fd)
	s.reclaims(member.client, 0)
}

func testDefaultMode(t *testing.T, s *server) {
	info, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v", info.Mode().Perm())
	}
	newClient(t, as(nobody, nobody)).on("").tryOpen(s.path, unix.O_RDWR).is(t, "open by nobody", 0, unix.EACCES)
}

func testChmod(t *testing.T, s *server) {
	c := newClient(t, as(nobody, nobody)).on("")
	c.tryOpen(s.path, unix.O_RDWR).is(t, "open by nobody", 0, unix.EACCES)
	if err := os.Chmod(s.path, 0o666); err != nil {
		t.Fatal(err)
	}
	fd := c.open(s.path, unix.O_RDWR)
	c.takes(fd)
	if err := os.Chown(s.path, -1, nobody); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.path, 0o060); err != nil {
		t.Fatal(err)
	}
	c.gives(c.open(s.path, unix.O_RDWR), 1)
}

func testMissing(t *testing.T, s *server) {
	newClient(t).on("").tryOpen(s.path+"-missing", unix.O_RDWR).is(t, "open", 0, unix.ENOENT)
}

// testUser has a server that is nobody account for processes of root's, and leave nothing behind.
func testUser(t *testing.T, s *server) {
	for what, pid := range map[string]int{"keeper": s.process.Pid, "worker": steved.Worker(s.process.Pid)} {
		status, err := os.ReadFile("/proc/" + itoa(pid) + "/status")
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^Uid:\t65534\t65534\t65534\t65534$`).Match(status) {
			t.Errorf("the %s is not nobody:\n%s", what, status)
		}
	}
	for _, options := range [][]clientOption{nil, {as(nobody, nobody)}, {as(54321, 54321)}} {
		c := newClient(t, options...)
		fd := c.on("").open(s.path, unix.O_RDWR)
		c.on("").takes(fd)
		c.on("other").takes(fd)
		c.on("reader").blocks(fd)
		s.waiting(1)
		c.on("other").gives(fd, 1)
		s.has(2)
		s.reclaims(c, 0)
	}
	s.signal(unix.SIGUSR1)
	s.stdout.await(t, regexp.MustCompile(`(?m)^steve: currently 2 tokens available out of 2$`), s.ended)
}

// inNewPIDNamespace starts a server that sees the processes of a new pid namespace only.
func inNewPIDNamespace(s *server) {
	s.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWNS
	s.cmd.Args = append([]string{"sh", "-c", `mount --make-rprivate / && mount -t proc proc /proc && exec "$0" "$@"`}, s.cmd.Args...)
	s.cmd.Path = "/bin/sh"
}

func testOutside(t *testing.T, ordinary *server) {
	nsenter := need.Tool(t, "nsenter")
	s := launch(t, ordinary.transport, newName(), nil, inNewPIDNamespace)
	s.serves()
	c := newClient(t).on("")
	for range 3 {
		c.tryOpen(s.path, unix.O_RDWR).is(t, "open from outside", 0, unix.EACCES)
	}
	line := regexp.MustCompile(`(?m)^.*outside of this pid namespace.*$`)
	s.stderr.await(t, line, s.ended)
	if log := s.stderr.String(); strings.Count(log, "\n") != 1 {
		t.Errorf("one line wanted in the log:\n%s", log)
	}
	// One inside is served.
	inside := strings.TrimPrefix(s.path, rootOf(s.process.Pid))
	out, err := exec.Command(nsenter, "-t", itoa(s.process.Pid), "-m", "-p", "--", "sh", "-c",
		`exec 3<>"$0" && head -c 1 <&3 && printf + >&3 && head -c 1 <&3`, inside).CombinedOutput()
	if string(out) != "++" || err != nil {
		t.Errorf("inside: %q, %v", out, err)
	}
	s.stop(unix.SIGTERM)
}
