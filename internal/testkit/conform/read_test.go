package conform

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// readCases are about how reads, opens and their flags behave.
var readCases = []testCase{
	{name: "every way to open", run: testOpens, anybody: true},
	{name: "open again through proc", run: testReopen, anybody: true},
	{name: "O_NONBLOCK is each read's own", run: testNonblock, anybody: true},
	{name: "no end of file", args: []string{"-j2"}, run: testNoEOF},
	{name: "read with RWF_NOWAIT", run: testNowait},
	{name: "write while a read waits on the same open file", run: testReadDoesNotBlockWrite, anybody: true},
	{name: "other file operations", run: testFileOperations},
}

func testOpens(t *testing.T, s *server) {
	main := newClient(t).on("")
	for _, flags := range []int{
		unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR,
		unix.O_RDWR | unix.O_NONBLOCK, unix.O_WRONLY | unix.O_TRUNC, unix.O_WRONLY | unix.O_APPEND, unix.O_WRONLY | unix.O_CREAT,
		unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC,
	} {
		fd := main.open(s.path, flags)
		if flags&unix.O_ACCMODE != unix.O_WRONLY {
			main.takes(fd)
			s.has(1)
			if flags&unix.O_ACCMODE == unix.O_RDONLY {
				main.write(fd, "+").is(t, "write to what is open for reading", 0, unix.EBADF)
				w := main.open(s.path, unix.O_WRONLY)
				main.gives(w, 1)
				main.close(w)
			} else {
				main.gives(fd, 1)
			}
		} else {
			main.read(fd).is(t, "read of what is open for writing", 0, unix.EBADF)
		}
		s.has(0)
		main.close(fd)
	}
}

func testReopen(t *testing.T, s *server) {
	main := newClient(t).on("")
	first := main.open(s.path, unix.O_RDWR)
	second := main.open(fmt.Sprintf("/proc/self/fd/%d", first), unix.O_RDWR|unix.O_NONBLOCK)
	main.takes(first)
	main.read(second).is(t, "read without waiting", 0, unix.EAGAIN) // the flag is its own
	main.gives(second, 1)
	main.close(first)
	main.takes(second)
	third := main.open(fmt.Sprintf("/dev/fd/%d", second), unix.O_WRONLY)
	main.close(second)
	main.gives(third, 1)
	s.has(0)
}

func testNonblock(t *testing.T, s *server) {
	shared, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	holder := newClient(t)
	h := holder.on("").open(s.path, unix.O_RDWR)
	holder.on("").takes(h)

	const fd = 3
	a, b := newClient(t, inherits(shared)), newClient(t, inherits(shared))
	waits := a.on("reader").blocks(fd)
	s.waiting(1)
	b.on("").setFlags(fd, unix.O_NONBLOCK)
	a.on("").read(fd).is(t, "read of a shared open file now O_NONBLOCK", 0, unix.EAGAIN)
	b.on("").read(fd).is(t, "read of a shared open file now O_NONBLOCK", 0, unix.EAGAIN)
	waits.waits() // it began before
	a.on("").setFlags(fd, 0)
	also := b.on("reader").blocks(fd)
	s.waiting(2)
	holder.on("").gives(h, 1)
	waits.gets() // it has waited longest
	also.waits()
	a.on("").gives(fd, 1)
	also.gets()
	b.on("").gives(fd, 1)
}

func testNoEOF(t *testing.T, s *server) {
	c := newClient(t) // nobody has it open for writing, but the test
	fd := c.on("").open(s.path, unix.O_RDONLY)
	c.on("").takes(fd)
	c.on("").takes(fd)
	read := c.on("reader").blocks(fd)
	s.waiting(1)
	s.resize(1)
	s.waiting(1)
	read.waits()
	w := c.on("").open(s.path, unix.O_WRONLY)
	c.on("").gives(w, 1) // taken out of the pool
	c.on("").close(w)
	s.waiting(1)
	read.waits()
	s.resize(2)
	read.gets()
}

func testNowait(t *testing.T, s *server) {
	main := newClient(t).on("")
	fd := main.open(s.path, unix.O_RDWR)
	nowait := func() result { return main.op("nowait", []memory{{Arg: 1, Size: 1}}, uintptr(fd)).wait() }
	switch r := nowait(); {
	case r.errno == 0 && r.n == 1:
		s.has(1)
		main.gives(fd, 1)
	case r.errno != unix.EOPNOTSUPP:
		t.Fatalf("with a token free: %v", r)
	}
	s.has(0)
	main.takes(fd)
	if r := nowait(); r.errno != unix.EOPNOTSUPP && r.errno != unix.EAGAIN {
		t.Fatalf("with none free: %v", r)
	}
	main.gives(fd, 1)
}

func testReadDoesNotBlockWrite(t *testing.T, s *server) {
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	for range 3 {
		c.on("").takes(fd)
		read := c.on("reader").blocks(fd)
		s.waiting(1)
		if got := c.on("").polls(fd, unix.POLLIN|unix.POLLOUT); got != unix.POLLOUT {
			t.Fatalf("poll says %#x", got)
		}
		c.on("").gives(fd, 1)
		read.gets()
		s.has(1)
		c.on("").gives(fd, 1)
	}
}

func testFileOperations(t *testing.T, s *server) {
	info, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if device := info.Mode()&os.ModeCharDevice != 0; device != (s.transport == cuse) || !device && !info.Mode().IsRegular() {
		t.Errorf("file type %v", info.Mode().Type())
	}
	main := newClient(t).on("")
	fd := main.open(s.path, unix.O_RDWR)
	for name, call := range map[string]*pending{
		"fsync":     main.sys("fsync", unix.SYS_FSYNC, nil, uintptr(fd)),
		"ftruncate": main.sys("ftruncate", unix.SYS_FTRUNCATE, nil, uintptr(fd), 0),
		"fallocate": main.sys("fallocate", unix.SYS_FALLOCATE, nil, uintptr(fd), 0, 0, 1),
		"lseek":     main.sys("lseek", unix.SYS_LSEEK, nil, uintptr(fd), 100, 0),
		"pread":     main.sys("pread of nothing", unix.SYS_PREAD64, []memory{{Arg: 1, Size: 1}}, uintptr(fd), 0, 0, 0),
		"flock":     main.sys("flock", unix.SYS_FLOCK, nil, uintptr(fd), unix.LOCK_SH),
		"xattr":     main.sys("fgetxattr", unix.SYS_FGETXATTR, []memory{{Arg: 1, Data: []byte("user.x\x00")}, {Arg: 2, Size: 8}}, uintptr(fd), 0, 0, 8),
		"dup":       main.sys("dup", unix.SYS_DUP, nil, uintptr(fd)),
	} {
		t.Logf("%s: %v", name, call.wait()) // what it gives is the kernel's business; that it ends and moves no token is ours
		s.has(0)
	}
	main.takes(fd)
	s.has(1)
}
