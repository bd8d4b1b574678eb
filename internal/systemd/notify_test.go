package systemd

import (
	"errors"
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A manager has the service manager's end of the socket.
type manager struct {
	*testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T, address string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv(socketVar, address)
	return &manager{t, conn}
}

// receive returns the next message and the descriptors that came with it.
func (m *manager) receive() (state string, fds []int) {
	m.Helper()
	b, rights := make([]byte, 1024), make([]byte, 1024)
	n, rightsN, _, _, err := m.conn.ReadMsgUnix(b, rights)
	if err != nil {
		m.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rightsN])
	if err != nil {
		m.Fatal(err)
	}
	for i := range messages {
		if fds, err = unix.ParseUnixRights(&messages[i]); err != nil {
			m.Fatal(err)
		}
	}
	return string(b[:n]), fds
}

// inode tells open files apart.
func inode(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// memfd is a descriptor of an open file of its own.
func memfd(t *testing.T) int {
	t.Helper()
	fd, err := unix.MemfdCreate("steve-test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestMessages(t *testing.T) {
	fd := memfd(t)
	for _, tt := range []struct {
		name  string
		send  func() error
		state string
		files int
	}{
		{"notify", func() error { return Notify("READY=1\nSTATUS=serving") }, "READY=1\nSTATUS=serving", 0},
		{"store", func() error { return Store("device", fd) }, "FDSTORE=1\nFDPOLL=0\nFDNAME=device", 1},
		{"remove", func() error { return Remove("device") }, "FDSTOREREMOVE=1\nFDNAME=device", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, address := range []string{filepath.Join(t.TempDir(), "notify"), "@steve-test-" + t.Name()} {
				m := newManager(t, address)
				if err := tt.send(); err != nil {
					t.Fatal(err)
				}
				state, fds := m.receive()
				if state != tt.state || len(fds) != tt.files {
					t.Errorf("the manager got %q with %d descriptors, want %q with %d", state, len(fds), tt.state, tt.files)
				}
				for _, got := range fds {
					if inode(t, got) != inode(t, fd) {
						t.Error("the manager got the descriptor of another file")
					}
					unix.Close(got)
				}
			}
		})
	}
}

func TestNoManager(t *testing.T) {
	fd := memfd(t)
	t.Setenv(socketVar, "")
	if err := Notify("READY=1"); err != nil {
		t.Errorf("Notify: %v", err)
	}
	for name, err := range map[string]error{
		"Store":  Store("device", fd),
		"Remove": Remove("device"),
	} {
		if !errors.Is(err, ErrNoManager) {
			t.Errorf("%s: %v, want %v", name, err, ErrNoManager)
		}
	}
	t.Setenv(socketVar, filepath.Join(t.TempDir(), "nobody"))
	if err := Notify("READY=1"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Notify with a manager that is gone: %v", err)
	}
}
