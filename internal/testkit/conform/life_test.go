package conform

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lifeCases are about starts, ends and reports.
var lifeCases = []testCase{
	{name: "SIGTERM while processes wait", args: []string{"-j2"}, run: testStop(unix.SIGTERM), anybody: true},
	{name: "SIGINT while processes wait", args: []string{"-j2"}, run: testStop(unix.SIGINT)},
	{name: "SIGHUP while processes wait", args: []string{"-j2"}, run: testStop(unix.SIGHUP)},
	{name: "stop while nobody waits", run: testStopIdle},
	{name: "start after SIGKILL", args: []string{"-j2"}, run: testStartAfterKill, anybody: true},
	{name: "second steve of the same name", run: testSecond, anybody: true},
	{name: "name of something else", run: testNameTaken},
	{name: "SIGUSR1 reports", args: []string{"-j3"}, run: testReport, anybody: true},
	{name: "SIGUSR1 at the start", run: testReportAtStart},
}

// optionCases are about the command line.
var optionCases = []testCase{
	{name: "absurd options", run: testOptions},
}

func testStop(sig unix.Signal) func(*testing.T, *server) {
	return func(t *testing.T, s *server) {
		holder, h := empties(t, s)
		var reads, polls []*pending
		var others []thread
		for i := range 2 {
			c := newClient(t)
			fd := c.on("").open(s.path, unix.O_RDWR)
			reads = append(reads, c.on("reader").blocks(fd), c.on("another").blocks(fd))
			p := c.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
			polls = append(polls, c.on("poller").poll(p, unix.POLLIN, -1).arrived())
			s.waiting(i + 1)
			others = append(others, c.on(""))
		}
		s.stop(sig)
		for _, r := range reads {
			r.fails(unix.ECONNABORTED)
		}
		for _, p := range polls {
			if got := polled(p.wait()); got&unix.POLLERR == 0 {
				t.Errorf("poll says %#x", got)
			}
		}
		for what, r := range map[string]result{
			"read": holder.read(h), "write": holder.write(h, "+"), "ioctl": holder.ioctl(h, unix.TCGETS, make([]byte, 64)),
		} {
			if r.errno != unix.ECONNABORTED && r.errno != unix.ENOTCONN {
				t.Errorf("%s after the end: %v", what, r)
			}
		}
		if got := holder.polls(h, unix.POLLIN); got&unix.POLLERR == 0 {
			t.Errorf("poll after the end says %#x", got)
		}
		others[0].tryOpen(s.path, unix.O_RDWR).is(t, "open after the end", 0, unix.ENOENT)
		others[0].close(3) // and no close hangs
	}
}

func testStopIdle(t *testing.T, s *server) {
	s.ctl.Close()
	s.stop(unix.SIGTERM)
}

func testStartAfterKill(t *testing.T, s *server) {
	for range 3 {
		holder, h := empties(t, s)
		c := newClient(t)
		fd := c.on("").open(s.path, unix.O_RDWR)
		read := c.on("").blocks(fd)
		poll := c.on("poller").poll(fd, unix.POLLIN, -1).arrived()
		s.waiting(1)
		s.kill()
		read.fails(unix.ECONNABORTED)
		if got := polled(poll.wait()); got&unix.POLLERR == 0 {
			t.Errorf("poll says %#x", got)
		}
		holder.write(h, "+").is(t, "write to the dead", 0, unix.ENOTCONN)
		if s.transport == fuse { // what is left at the path is no token file
			holder.tryOpen(s.path, unix.O_RDWR).is(t, "open of the dead", 0, unix.ENOTCONN)
		}

		next := launch(t, s.transport, s.name, []string{"-j2"})
		next.serves()
		next.connect()
		holder.takes(holder.open(next.path, unix.O_RDWR))
		next.has(1)
		holder.write(h, "+").is(t, "write to the dead", 0, unix.ENOTCONN)
		next.has(1)
		s = next
	}
	s.stop(unix.SIGTERM)
}

// one fails the test unless the server ended with status and one line of error, and returns that.
func (s *server) one(status int) string {
	s.t.Helper()
	if got := s.exit(); got != status {
		s.t.Errorf("exit status %d, want %d", got, status)
	}
	s.stderr.await(s.t, regexp.MustCompile(`\n`), nil)
	line := s.stderr.String()
	if !strings.HasPrefix(line, "steve: ") || strings.Count(line, "\n") != 1 || strings.HasSuffix(line, ".\n") {
		s.t.Errorf("standard error is no line of ours:\n%s", line)
	}
	if out := s.stdout.String(); out != "" {
		s.t.Errorf("standard output:\n%s", out)
	}
	return line
}

func testSecond(t *testing.T, s *server) {
	holder, h := empties(t, s)
	for range 3 {
		second := launch(t, s.transport, s.name, nil)
		if line := second.one(1); !strings.Contains(line, s.name) || !strings.Contains(line, "--dev-name") {
			t.Errorf("no name, or no way out: %s", line)
		}
	}
	s.has(1)
	holder.gives(h, 1)
	holder.takes(holder.open(s.path, unix.O_RDWR))
}

func testNameTaken(t *testing.T, s *server) {
	name := newName()
	path := "/dev/" + name
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	launch(t, s.transport, name, nil).one(1)
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("a file of somebody else's: %q, %v", b, err)
	}
}

func testReport(t *testing.T, s *server) {
	const arg = "a \x1b[31m\nb\x80é"
	holder, waiter, poller := newClient(t, named(arg)), newClient(t), newClient(t)
	h := holder.on("").open(s.path, unix.O_RDWR)
	for range 3 {
		holder.on("").takes(h)
	}
	waiter.on("").blocks(waiter.on("").open(s.path, unix.O_RDWR))
	s.waiting(1)
	poller.on("").poll(poller.on("").open(s.path, unix.O_RDWR), unix.POLLIN, -1).arrived()
	s.waiting(2)
	command := regexp.QuoteMeta(testBinary + " client")
	const seconds = `[0-9]+(\.[0-9]+)?(e-[0-9]+)?s`
	s.signal(unix.SIGUSR1)
	s.stdout.await(t, regexp.MustCompile(fmt.Sprintf(`(?m)^steve: currently 0 tokens available out of 3
PID %d \(%s a \\x1b\[31m\\x0ab\\x80é\) holds 3 tokens:
  job 0x02 running for %[5]s
  job 0x01 running for %[5]s
  job 0x00 running for %[5]s
PID %[3]d \(%[2]s\) holds 0 tokens, waiting for %[5]s:
PID %[4]d \(%[2]s\) holds 0 tokens, waiting for %[5]s:
`, holder.pid, command, waiter.pid, poller.pid, seconds)), s.ended)

	for _, c := range []*client{waiter, poller} {
		c.kill()
	}
	holder.on("").gives(h, 2)
	s.waiting(0)
	s.signal(unix.SIGUSR1)
	s.stdout.await(t, regexp.MustCompile(fmt.Sprintf(`(?m)^steve: currently 2 tokens available out of 3
PID %d \(.*\) holds 1 tokens:
  job 0x0[0-2] running for %s
`, holder.pid, seconds)), s.ended)
}

// testReportAtStart sends SIGUSR1, as killall does, from the first moment at which Go catches it.
func testReportAtStart(t *testing.T, s *server) {
	for range 3 {
		early := launch(t, s.transport, newName(), nil)
		pid := early.process.Pid
		for caught := uint64(0); caught>>(unix.SIGUSR1-1)&1 == 0; {
			status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
			if err != nil {
				t.Fatal(err)
			}
			_, mask, _ := strings.Cut(string(status), "SigCgt:\t")
			mask, _, _ = strings.Cut(mask, "\n")
			caught, _ = strconv.ParseUint(mask, 16, 64)
		}
		for !running.MatchString(early.stdout.String()) {
			early.signal(unix.SIGUSR1)
			time.Sleep(100 * time.Microsecond)
			select {
			case <-early.ended:
				t.Fatal("it ended")
			default:
			}
		}
		early.serves()
		early.stop(unix.SIGTERM)
	}
}

func testOptions(t *testing.T, s *server) {
	for _, options := range []string{
		"-j0", "-j -1", "-jmany", "-j1.5", "-j99999999999999999999", "-j1048577", "-j",
		"-m -1", "-m 1048577", "-l nan", "-l inf", "-l high", "-r 0", "-r -1", "-r nan", "-r 1e300", "-r 86401",
		"-a much", "-a 99999999999999999999", "-p -1", "-p 1048577",
		"--mode 999", "--mode 1777", "--mode rw", "--group no-such-group-here", "--user no-such-user-here",
		"--dev-name a/b", "--dev-name /dev/steve", "--dev-name ../x", "--dev-name ..", "--dev-name=", "--dev-name a,b",
		"--dev-name -x", "--transport pipe", "--transport=", "--no-such-option", "--m 3", "-Z", "--verbose=perhaps", "word", "-- word",
	} {
		t.Run(options, func(t *testing.T) {
			launch(t, s.transport, newName(), strings.Fields(options)).one(2)
		})
	}
	s.has(0)
}
