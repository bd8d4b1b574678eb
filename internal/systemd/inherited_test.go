package systemd

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// childVar makes this program a child that tells what it has inherited.
const childVar = "STEVE_TEST_SYSTEMD_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) == "" {
		os.Exit(m.Run())
	}
	if err := tell(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// An account is what a child says about itself.
type account struct {
	Given  []Descriptor
	Inodes []uint64 // of Given
	Error  string
	Left   []string // variables in the environment
	OnExec []int    // of Given, those that a child of it would get
}

func tell() error {
	var a account
	given, err := Inherited()
	if err != nil {
		a.Error = err.Error()
	}
	a.Given = given
	for _, d := range given {
		var st unix.Stat_t
		if err := unix.Fstat(d.FD, &st); err != nil {
			return err
		}
		a.Inodes = append(a.Inodes, st.Ino)
		flags, err := unix.FcntlInt(uintptr(d.FD), unix.F_GETFD, 0)
		if err != nil {
			return err
		}
		if flags&unix.FD_CLOEXEC == 0 {
			a.OnExec = append(a.OnExec, d.FD)
		}
	}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "LISTEN_") {
			a.Left = append(a.Left, kv)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}

func TestInherited(t *testing.T) {
	files := []int{memfd(t), memfd(t), memfd(t)}
	for _, tt := range []struct {
		name  string
		files int
		env   string // of the child; $$ is its process id
		want  []Descriptor
		err   string
	}{
		{"none", 0, "", nil, ""},
		{"two", 2, "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=device:journal LISTEN_PIDFDID=7", []Descriptor{{"device", 3}, {"journal", 4}}, ""},
		{"one name twice", 3, "LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=a:b:a", []Descriptor{{"a", 3}, {"b", 4}, {"a", 5}}, ""},
		{"too few names", 2, "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a", []Descriptor{{"a", 3}, {"", 4}}, ""},
		{"no names", 1, "LISTEN_PID=$$ LISTEN_FDS=1", []Descriptor{{"", 3}}, ""},
		{"too many names", 1, "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a:b", []Descriptor{{"a", 3}}, ""},
		{"fewer than said", 1, "LISTEN_PID=$$ LISTEN_FDS=100 LISTEN_FDNAMES=a", nil, "LISTEN_FDS is 100, but descriptor "},
		{"no number", 1, "LISTEN_PID=$$ LISTEN_FDS=-1", nil, `LISTEN_FDS is "-1", must be a number`},
		{"no count", 1, "LISTEN_PID=$$", nil, `LISTEN_FDS is "", must be a number`},
		{"another's", 1, "LISTEN_PID=1 LISTEN_FDS=1 LISTEN_FDNAMES=a", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := child(t, files[:tt.files], tt.env)
			if !reflect.DeepEqual(a.Given, tt.want) || !strings.HasPrefix(a.Error, tt.err) || (a.Error == "") != (tt.err == "") {
				t.Errorf("given %v, error %q; want %v, %q", a.Given, a.Error, tt.want, tt.err)
			}
			for i, ino := range a.Inodes {
				if want := inode(t, files[i]); ino != want {
					t.Errorf("%v is the file %d, want %d", a.Given[i], ino, want)
				}
			}
			if len(a.Left) > 0 {
				t.Errorf("left in the environment: %q", a.Left)
			}
			if len(a.OnExec) > 0 {
				t.Errorf("not closed on exec: %v", a.OnExec)
			}
		})
	}
}

// child runs this program as a child, with fds as its descriptors from 3 on.
func child(t *testing.T, fds []int, env string) account {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "exec env "+env+` "$0"`, self)
	cmd.Env = append(os.Environ(), childVar+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	for _, fd := range fds {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(dup), "descriptor")
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var a account
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return a
}
