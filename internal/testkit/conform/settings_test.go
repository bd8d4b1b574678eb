package conform

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// settingsCases are about ioctls, and what they change.
var settingsCases = []testCase{
	{name: "ioctls of others", run: testForeignIoctls, anybody: true},
	{name: "FIONREAD", run: testFIONREAD, cannot: map[transport]string{
		fuse: "the kernel answers it, from the file's size, and asks nobody"}},
	{name: "ioctl with a bad address", run: testIoctlBadAddress},
	{name: "settings are taken whole", args: []string{"-j4", "-m2", "-p3", "-r2"}, run: testSetAtomic, anybody: true},
	{name: "bad settings change nothing", args: []string{"-j4", "-m2"}, run: testSetBad},
	{name: "memory limit with a minimum", args: []string{"-j4", "-m2", "-a", "1000000000"}, run: testMemoryLimit},
	{name: "memory limit without a minimum", args: []string{"-j2", "-m0", "-a", "1000000000"}, run: testMemoryLimitNoMinimum},
}

func testForeignIoctls(t *testing.T, s *server) {
	main := newClient(t).on("")
	fd := main.open(s.path, unix.O_RDWR)
	size := func(n uint) uint { return n << 16 }
	for name, cmd := range map[string]uint{
		"TCGETS":                     unix.TCGETS,
		"TIOCGWINSZ":                 unix.TIOCGWINSZ,
		"BLKGETSIZE64":               unix.BLKGETSIZE64,
		"another number":             ctl.CmdStatus + 100,
		"another type":               ctl.CmdStatus&^(0xff<<8) | 'T'<<8,
		"status of another size":     ctl.CmdStatus + size(8),
		"status without a size":      ctl.CmdStatus &^ size(0x3fff),
		"settings of another size":   ctl.CmdSet - size(8),
		"settings, in the other way": ctl.CmdSet ^ 3<<30,
		"version, both ways":         ctl.CmdVersion | 1<<30,
		"nest, to be read":           ctl.CmdNest &^ (1 << 30),
		"nest of another size":       ctl.CmdNest + size(8),
		"relay of another size":      ctl.CmdRelay - size(8),
		"status, with no way":        ctl.CmdStatus &^ (3 << 30),
		"a page, to be read":         size(4096) | 2<<30,
		"a page, to be written":      size(4096) | 1<<30,
	} {
		main.ioctl(fd, cmd, make([]byte, 1<<14)).is(t, name, 0, unix.ENOTTY)
	}
	s.has(0)
}

func testFIONREAD(t *testing.T, s *server) {
	main := newClient(t).on("")
	fd := main.open(s.path, unix.O_RDWR)
	main.ioctl(fd, unix.TIOCINQ, make([]byte, 8)).is(t, "FIONREAD", 0, unix.ENOTTY)
}

func testIoctlBadAddress(t *testing.T, s *server) {
	main := newClient(t).on("")
	fd := main.open(s.path, unix.O_RDWR)
	before := s.status()
	for _, cmd := range []uint{ctl.CmdVersion, ctl.CmdStatus, ctl.CmdSet, ctl.CmdNest, ctl.CmdRelay} {
		main.ioctl(fd, cmd, nil).is(t, "ioctl of memory that is none", 0, unix.EFAULT)
	}
	if after := s.status(); after != before {
		t.Errorf("%+v became %+v", before, after)
	}
	// Nor do reads and writes of such memory take or return anything.
	main.sys("read", unix.SYS_READ, nil, uintptr(fd), 0, 1).fails(unix.EFAULT)
	s.has(0)
	main.takes(fd)
	main.sys("write", unix.SYS_WRITE, nil, uintptr(fd), 0, 1).fails(unix.EFAULT)
	s.has(1)
}

func testSetAtomic(t *testing.T, s *server) {
	want := pool.Limits{Jobs: 4, MinJobs: 2, RecheckTimeout: 2 * time.Second, PerProcess: 3}
	check := func() {
		t.Helper()
		if got := s.status().Limits; got != want {
			t.Fatalf("limits are %+v, want %+v", got, want)
		}
	}
	check()
	next := pool.Limits{Jobs: 7, MinJobs: 9, LoadAverage: 1e9, RecheckTimeout: time.Second, MinMemory: 1, PerProcess: 5}
	for i := range 6 { // one field, the others as they were
		mask := pool.Field(1 << i)
		s.set(mask, next)
		want = want.With(mask, next)
		check()
	}
	last := pool.Limits{Jobs: 1, MinJobs: 0, LoadAverage: -1, RecheckTimeout: 10 * time.Millisecond, MinMemory: -5}
	s.set(pool.AllFields, last)
	want = last
	check()
	s.set(0, next)
	check()
}

func testSetBad(t *testing.T, s *server) {
	main := newClient(t).on("")
	fd := main.open(s.path, unix.O_RDWR)
	good := pool.Limits{Jobs: 3, MinJobs: 1, LoadAverage: 2, RecheckTimeout: time.Second, MinMemory: 7, PerProcess: 1}
	before := s.status()
	for name, change := range map[string]func(*pool.Limits){
		"no jobs":              func(l *pool.Limits) { l.Jobs = 0 },
		"jobs below none":      func(l *pool.Limits) { l.Jobs = -1 },
		"jobs beyond all":      func(l *pool.Limits) { l.Jobs = pool.MaxJobs + 1 },
		"jobs far beyond":      func(l *pool.Limits) { l.Jobs = math.MaxInt },
		"minimum below none":   func(l *pool.Limits) { l.MinJobs = -1 },
		"minimum beyond all":   func(l *pool.Limits) { l.MinJobs = math.MinInt },
		"load is no number":    func(l *pool.Limits) { l.LoadAverage = math.NaN() },
		"load without end":     func(l *pool.Limits) { l.LoadAverage = math.Inf(1) },
		"no time":              func(l *pool.Limits) { l.RecheckTimeout = 0 },
		"time backward":        func(l *pool.Limits) { l.RecheckTimeout = -time.Second },
		"too much time":        func(l *pool.Limits) { l.RecheckTimeout = math.MaxInt64 },
		"per process below":    func(l *pool.Limits) { l.PerProcess = -1 },
		"per process too much": func(l *pool.Limits) { l.PerProcess = pool.MaxJobs + 1 },
	} {
		l := good
		change(&l)
		if err := s.ctl.Set(pool.AllFields, l); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v, want EINVAL", name, err)
		}
		if after := s.status(); after != before {
			t.Fatalf("%s: %+v became %+v", name, before, after)
		}
	}
	record := ctl.AppendSettings(nil, pool.AllFields, good)
	for name, change := range map[string]func([]byte){
		"unknown field": func(b []byte) { binary.LittleEndian.PutUint32(b, uint32(pool.AllFields)+1) },
		"all fields":    func(b []byte) { binary.LittleEndian.PutUint32(b, math.MaxUint32) },
		"padding":       func(b []byte) { b[4] = 1 },
	} {
		b := append([]byte(nil), record...)
		change(b)
		main.ioctl(fd, ctl.CmdSet, b).is(t, name, 0, unix.EINVAL)
		if after := s.status(); after != before {
			t.Fatalf("%s: %+v became %+v", name, before, after)
		}
	}
	main.ioctl(fd, ctl.CmdSet, record).is(t, "good settings", 0, 0)
	if got := s.status().Limits; got != good {
		t.Errorf("limits are %+v, want %+v", got, good)
	}
}

func testMemoryLimit(t *testing.T, s *server) {
	a, b := newClient(t), newClient(t)
	fa, fb := a.on("").open(s.path, unix.O_RDWR|unix.O_NONBLOCK), b.on("").open(s.path, unix.O_RDWR)
	a.on("").takes(fa)
	a.on("").takes(fa)
	a.on("").read(fa).is(t, "read beyond the minimum", 0, unix.EAGAIN)
	if got := a.on("").polls(fa, unix.POLLIN); got != 0 {
		t.Errorf("readable beyond the minimum: %#x", got)
	}
	read := b.on("").blocks(fb)
	poll := a.on("poller").poll(fa, unix.POLLIN, -1).arrived()
	s.waiting(2)
	a.on("").gives(fa, 1)
	read.gets() // within the minimum again
	s.has(2)
	poll.waits()
	s.set(pool.FieldMinJobs, pool.Limits{MinJobs: 3})
	if got := polled(poll.wait()); got != unix.POLLIN {
		t.Errorf("after a higher minimum: %#x", got)
	}
	a.on("").takes(fa)
	a.on("").read(fa).is(t, "read beyond the minimum", 0, unix.EAGAIN)
	read = b.on("").blocks(fb)
	s.waiting(2) // its poll was answered for nothing, so that it counts on
	s.set(pool.FieldMinMemory, pool.Limits{MinMemory: 1})
	read.gets()
	s.has(4)
	s.set(pool.FieldMinJobs, pool.Limits{MinJobs: 1000}) // means all
}

func testMemoryLimitNoMinimum(t *testing.T, s *server) {
	c := newClient(t)
	fd := c.on("").open(s.path, unix.O_RDWR)
	read := c.on("").blocks(fd)
	s.waiting(1)
	s.set(pool.FieldRecheckTimeout, pool.Limits{RecheckTimeout: 10 * time.Millisecond})
	s.waiting(1)
	read.waits()
	s.set(pool.FieldMinMemory, pool.Limits{})
	read.gets()
}
