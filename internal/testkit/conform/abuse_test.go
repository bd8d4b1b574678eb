package conform

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
)

// abuseCases are about clients that ask for too much.
var abuseCases = []testCase{
	{name: "10000 descriptors", args: []string{"-j2"}, run: testManyDescriptors},
	{name: "flood of reads", run: testFlood},
	{name: "write of a megabyte", args: []string{"-j3"}, run: testMegabyte, anybody: true},
	{name: "server out of descriptors", run: testOutOfDescriptors},
}

func itoa(n int) string { return strconv.Itoa(n) }

func testManyDescriptors(t *testing.T, s *server) {
	const many = 10000
	limit := &unix.Rlimit{Cur: many + 100, Max: many + 100}
	c, other := newClient(t), newClient(t)
	if err := unix.Prlimit(c.pid, unix.RLIMIT_NOFILE, limit, nil); err != nil {
		t.Fatal(err)
	}
	main := c.on("")
	r := main.op("open", []memory{{Arg: 1, Data: []byte(s.path)}}, many).wait()
	if r.errno != 0 {
		t.Fatalf("open: %v", r)
	}
	last, first := r.n, r.n-many+10 // the runtime's own may be among the first
	main.takes(last)
	o := other.on("").open(s.path, unix.O_RDWR)
	other.on("").takes(o)
	poll := c.on("poller").op("pollmany", nil, uintptr(first), many-10)
	s.waiting(1)
	// 10000 polls that wait are one process, and cost the next one in turn a moment.
	read := other.on("").blocks(o)
	s.waiting(2)
	main.gives(first, 1)
	read.gets()
	s.becomes("all of them were told, or one has the token", func(st ctl.Status) bool { return st.Held == 2 })
	begin := time.Now()
	other.on("").gives(o, 1)
	if r := poll.wait(); r.errno != 0 || r.n < 1 {
		t.Errorf("poll of %d: %v", many, r)
	}
	t.Logf("%d polls were woken in %v", many, time.Since(begin))
	s.holds(1)
	main.takes(last)
	c.kill()
	s.holds(1)
	other.on("").takes(o)
	s.has(2)
}

// testFlood has four processes ask without pause, and looks that another is served and ends are noticed all the same.
func testFlood(t *testing.T, s *server) {
	holder, _ := empties(t, s)
	for range 4 {
		c := newClient(t)
		flood := c.on("").op("flood", nil, uintptr(c.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)))
		<-flood.begun
	}
	var longest time.Duration
	for range 10 {
		begin := time.Now()
		s.status()
		longest = max(longest, time.Since(begin))
	}
	t.Logf("a question was answered within %v", longest)
	if longest > soon() {
		t.Errorf("a question was answered after %v", longest)
	}
	longest = 0
	for range 10 {
		c := newClient(t)
		fd := c.on("").open(s.path, unix.O_RDWR)
		read := c.on("").blocks(fd)
		begin := time.Now()
		holder.cmd.Process.Kill()
		read.gets() // after each of those that ask all the time, at most, had its turn
		longest = max(longest, time.Since(begin))
		holder.kill()
		holder = c.on("")
	}
	t.Logf("the token of a killed process was another's within %v", longest)
	if longest > soon() {
		t.Errorf("the token of a killed process was another's after %v", longest)
	}
}

func testMegabyte(t *testing.T, s *server) {
	c := newClient(t)
	main := c.on("")
	fd := main.open(s.path, unix.O_RDWR)
	megabyte := strings.Repeat("+", 1<<20)
	main.takes(fd)
	main.takes(fd)
	main.write(fd, megabyte).is(t, "write of a megabyte with 2 held", 2, 0)
	s.has(0)
	main.write(fd, megabyte).is(t, "write of a megabyte with none held", 0, unix.ENOSPC)
	s.has(0)
	lender := newClient(t).on("")
	l := lender.open(s.path, unix.O_RDWR)
	lender.write(l, megabyte).is(t, "write of a megabyte by who took nothing", 1, 0)
	s.has(0)
	main.startRead(fd, 1<<20).gets()
	s.has(1)
}

// fewDescriptors starts the server with a limit on its descriptors.
func fewDescriptors(s *server) {
	s.cmd.Args = append([]string{"sh", "-c", `ulimit -n 40 && exec "$0" "$@"`}, s.cmd.Args...)
	s.cmd.Path = "/bin/sh"
}

func testOutOfDescriptors(t *testing.T, first *server) {
	s := start(t, first.transport, []string{"-j64"}, fewDescriptors)
	var holders []*client
	denied := 0
	for range 30 {
		c := newClient(t)
		fd := c.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK)
		r := c.on("").read(fd)
		if r.errno == unix.EAGAIN {
			denied++
			c.kill()
			continue
		}
		r.is(t, "read", 1, 0)
		holders = append(holders, c)
	}
	s.has(len(holders))
	t.Logf("%d processes were given a token, %d denied", len(holders), denied)
	if denied == 0 || len(holders) < 5 {
		t.Fatalf("%d were given a token, %d denied", len(holders), denied)
	}
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	read := c.on("").startRead(fd, 1)
	s.becomes("the reader waits", func(st ctl.Status) bool { return st.Waiters == 1 })
	s.has(len(holders))
	holders[0].kill()
	read.gets()
	s.holds(len(holders))
	s.reclaims(c, len(holders)-1)
	for _, h := range holders {
		h.kill()
	}
	s.holds(0)
	s.signal(unix.SIGUSR1)
	s.stdout.await(t, regexp.MustCompile(`(?m)^steve: currently 64 tokens available out of 64$`), s.ended)
	s.stop(unix.SIGTERM)
}
