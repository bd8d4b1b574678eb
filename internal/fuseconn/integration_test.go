package fuseconn_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"steve/internal/fuseconn"
	"steve/internal/fusewire"
	"steve/internal/testkit/guest"
	"steve/internal/testkit/need"
)

// clientEnv makes the test's program a client of the mounted file: what it does is the value, the file the argument.
// The process that serves the file must not open it, or it could not be killed any more.
const clientEnv = "FUSECONN_TEST_CLIENT"

// namespaceEnv is set in the process that mounts. It has a mount namespace of its own: nobody else's new namespace gets
// a copy of the mount, which would outlive the unmounting, and nothing stays behind if it is killed.
const namespaceEnv = "FUSECONN_TEST_NAMESPACE"

// patience bounds every wait for another process; it is not waited for when all is well.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if what := os.Getenv(clientEnv); what != "" {
		if err := client(what, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// client does one thing with the file at path and prints what came of it.
func client(what, path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_TRUNC|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 100)
	n := 0
	switch what {
	case "read":
		n, err = unix.Read(fd, b)
	case "read without waiting":
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
		n, err = unix.Read(fd, b)
	case "write":
		n, err = unix.Write(fd, []byte("++"))
		copy(b, "++")
	case "poll":
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int(patience.Milliseconds())); err != nil {
			return err
		}
		n = copy(b, fmt.Sprintf("%#x", fds[0].Revents))
	case "ioctl":
		var data [8]byte
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlCmd, uintptr(unsafe.Pointer(&data)))
		if errno != 0 {
			return errno
		}
		n = copy(b, fmt.Sprintf("%d %s", r, data[:]))
	case "stat":
		var st unix.Stat_t
		var fs unix.Statfs_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if err := unix.Fstatfs(fd, &fs); err != nil {
			return err
		}
		n = copy(b, fmt.Sprintf("%o %d %d %d", st.Mode, st.Size, st.Mtim.Sec, fs.Namelen))
	default:
		return fmt.Errorf("unknown order %q", what)
	}
	if err != nil {
		return err
	}
	fmt.Printf("%s", b[:n])
	return nil
}

const ioctlCmd = 2<<30 | 8<<16 | 'S'<<8 | 77 // _IOR('S', 77, char[8])

// server is a token file in its simplest form.
type server struct {
	*fuseconn.Conn
	tokens  int
	waiting []uint64 // READs
	pollers []uint64 // kh
	seen    chan fusewire.Opcode
	asked   bool // for the INTERRUPT to be sent again
}

// serve answers until the mount is gone.
func (s *server) serve(fd fuseconn.FD) error {
	for {
		req, err := s.Next()
		switch err {
		case nil:
			if err := s.answer(req); err != nil {
				return fmt.Errorf("%v: %w", req.Opcode, err)
			}
			s.seen <- req.Opcode
		case fuseconn.ErrEmpty:
			if err := fd.WaitUntil(time.Now().Add(patience)); err != nil {
				return err
			}
		case fuseconn.ErrEnd:
			return nil
		default:
			return err
		}
	}
}

func (s *server) answer(req fusewire.Request) error {
	switch req.Opcode {
	case fusewire.OpOpen:
		return s.Reply(req.Unique, fusewire.AppendOpen(nil, fusewire.OpenOut{Fh: 7, OpenFlags: fusewire.DirectIO |
			fusewire.Nonseekable | fusewire.Stream | fusewire.Noflush | fusewire.ParallelDirectWrites}))
	case fusewire.OpRead:
		in, err := fusewire.ParseRead(req.Body)
		if err != nil || in.Fh != 7 || in.Size != 100 || req.PID == 0 {
			return fmt.Errorf("%+v, %+v, %v", req.Header, in, err)
		}
		if in.Flags&unix.O_NONBLOCK != 0 {
			return s.Fail(req.Unique, syscall.EAGAIN)
		}
		s.waiting = append(s.waiting, req.Unique)
		return nil
	case fusewire.OpWrite:
		in, err := fusewire.ParseWrite(req.Body)
		if err != nil || string(in.Data) != "++" {
			return fmt.Errorf("%+v, %v", in, err)
		}
		if err := s.Reply(req.Unique, fusewire.AppendWrite(nil, in.Size)); err != nil {
			return err
		}
		if err := s.Reply(req.Unique, fusewire.AppendWrite(nil, in.Size)); err != fuseconn.ErrGone {
			return fmt.Errorf("answered twice: %v, want ErrGone", err)
		}
		return s.give()
	case fusewire.OpPoll:
		in, err := fusewire.ParsePoll(req.Body)
		if err != nil {
			return err
		}
		if s.tokens == 0 {
			s.pollers = append(s.pollers, in.Kh)
		}
		return s.Reply(req.Unique, fusewire.AppendPoll(nil, uint32(s.tokens)*unix.POLLIN))
	case fusewire.OpInterrupt:
		in, err := fusewire.ParseInterrupt(req.Body)
		if err != nil {
			return err
		}
		if !s.asked {
			s.asked = true
			return s.Again(req.Unique)
		}
		s.waiting = s.waiting[:0]
		return s.Fail(in.Unique, syscall.EINTR)
	case fusewire.OpIoctl:
		in, err := fusewire.ParseIoctl(req.Body)
		if err != nil || in.Cmd != ioctlCmd || in.OutSize != 8 || len(in.Data) != 0 {
			return fmt.Errorf("%+v, %v", in, err)
		}
		return s.Reply(req.Unique, fusewire.AppendIoctl(nil, 42, []byte("eight by")))
	case fusewire.OpGetattr, fusewire.OpSetattr:
		return s.Reply(req.Unique, fusewire.AppendAttr(nil, 0, fusewire.Attr{Ino: 1, Size: 3, Mtime: fusewire.Time{Sec: 1234},
			Mode: unix.S_IFREG | 0o640, Nlink: 1, Blksize: 4096}))
	case fusewire.OpStatfs:
		return s.Reply(req.Unique, fusewire.AppendStatfs(nil, fusewire.Statfs{Bsize: 4096, Frsize: 4096, Namelen: 99}))
	case fusewire.OpRelease:
		if in, err := fusewire.ParseRelease(req.Body); err != nil || in.Fh != 7 {
			return fmt.Errorf("%+v, %v", in, err)
		}
		return s.Reply(req.Unique, nil)
	}
	if !req.Opcode.HasReply() {
		return nil
	}
	return s.Fail(req.Unique, syscall.ENOSYS)
}

// give hands out a token, to a READ that waits or a poller.
func (s *server) give() error {
	if len(s.waiting) > 0 {
		unique := s.waiting[0]
		s.waiting = s.waiting[1:]
		return s.Reply(unique, []byte("+"))
	}
	s.tokens = 1
	for _, kh := range s.pollers {
		if err := s.WakePollers(kh); err != nil {
			return err
		}
	}
	return s.WakePollers(1 << 50) // which no kernel has given out
}

// wait returns when the server has answered a request of this kind, or written it down.
func (s *server) wait(t *testing.T, op fusewire.Opcode) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case got := <-s.seen:
			if got == op {
				return
			}
		case <-timeout:
			t.Fatalf("no %v came", op)
		}
	}
}

// start serves raw, which it closes in the end, and returns when the handshake is done. What the function it returns
// waits for, the end of the device, must have been brought about before.
func start(t *testing.T, raw int, handshake func(c *fuseconn.Conn, wait func() error) error) (s *server, ended func()) {
	t.Helper()
	fd := fuseconn.FD(raw)
	s = &server{Conn: fuseconn.New(fd), seen: make(chan fusewire.Opcode, 1000)}
	if err := handshake(s.Conn, func() error { return fd.WaitUntil(time.Now().Add(patience)) }); err != nil {
		unix.Close(raw)
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		err := s.serve(fd)
		unix.Close(raw) // after an error: whoever still waits for an answer could not be killed otherwise
		served <- err
	}()
	return s, func() {
		t.Helper()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if n := s.Malformed(); n != 0 {
			t.Errorf("%d messages of the kernel did not parse", n)
		}
	}
}

// clients starts processes that use the file.
type clients struct {
	*testing.T
	ctx  context.Context
	path string
}

func (c clients) start(what string) (finish func(want string), kill func() error) {
	c.Helper()
	cmd := exec.CommandContext(c.ctx, os.Args[0], c.path)
	// The Go runtime preempts threads by a signal, and one that finds the thread in a read(2) ends that with EINTR. Under
	// the race detector a program sleeps for a second at its exit.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GORACE=atexit_sleep_ms=0", clientEnv+"="+what)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	return func(want string) {
		c.Helper()
		cmd.Wait()
		if got := out.String(); got != want {
			c.Errorf("%s: %q, want %q", what, got, want)
		}
	}, cmd.Process.Kill
}

func (c clients) run(what, want string) {
	c.Helper()
	finish, _ := c.start(what)
	finish(want)
}

// exercise has the kernel send every kind of request that is not peculiar to one kind of device.
func (c clients) exercise(s *server) {
	c.Helper()
	c.run("ioctl", "42 eight by")
	c.run("read without waiting", "resource temporarily unavailable\n")

	finish, _ := c.start("read")
	s.wait(c.T, fusewire.OpRead) // the one without waiting
	s.wait(c.T, fusewire.OpRead)
	c.run("write", "++")
	finish("+")

	finish, kill := c.start("read")
	s.wait(c.T, fusewire.OpRead)
	kill()
	s.wait(c.T, fusewire.OpInterrupt)
	s.wait(c.T, fusewire.OpInterrupt)
	finish("")

	finish, _ = c.start("poll")
	s.wait(c.T, fusewire.OpPoll)
	c.run("write", "++")
	finish("0x1")
}

// open opens a device for serving, or skips the test.
func open(t *testing.T, path string) int {
	t.Helper()
	need.Root(t)
	raw, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		err = &os.PathError{Op: "open", Path: path, Err: err}
		need.Missing(t, err.Error())
	}
	return raw
}

// TestIntegrationMount serves a FUSE mount over one file to other processes: the kernel must agree to everything.
func TestIntegrationMount(t *testing.T) {
	raw := open(t, "/dev/fuse")
	if os.Getenv(namespaceEnv) == "" {
		unix.Close(raw)
		cmd := exec.Command(os.Args[0], "-test.run=^TestIntegrationMount$")
		cmd.Env = append(os.Environ(), namespaceEnv+"=own")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=0100640,user_id=0,group_id=0,allow_other", raw)
	if err := unix.Mount("fuseconn", path, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Fatal(err)
	}
	s, ended := start(t, raw, (*fuseconn.Conn).HandshakeFile)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer func() {
		cancel()
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			t.Error(err)
		}
		ended()
	}()
	c := clients{t, ctx, path}
	c.run("stat", "100640 3 1234 99")
	c.exercise(s)
}

// TestIntegrationCUSE does the same with a character device.
func TestIntegrationCUSE(t *testing.T) {
	if !guest.Enter(t) {
		return
	}
	raw := open(t, "/dev/cuse")
	name := fmt.Sprintf("fuseconn-test-%d", os.Getpid())
	s, ended := start(t, raw, func(c *fuseconn.Conn, wait func() error) error { return c.HandshakeCUSE(name, wait) })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer func() {
		cancel()
		if err := os.WriteFile("/sys/class/cuse/"+name+"/abort", []byte("1"), 0); err != nil {
			t.Error(err)
		}
		ended()
	}()
	clients{t, ctx, "/dev/" + name}.exercise(s)
}
