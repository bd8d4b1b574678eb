package jobserver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := errors.Join(unix.Mkfifo(in, 0o600), unix.Mkfifo(out, 0o600)); err != nil {
		t.Fatal(err)
	}
	pair := Jobserver{Path: in, In: in, Out: out}
	if _, _, err := pair.Open(); !errors.Is(err, unix.ENXIO) {
		t.Fatalf("with nobody behind it: error %v, want ENXIO", err)
	}
	var ends []*os.File
	for _, path := range []string{in, out} {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		ends = append(ends, f)
	}
	for _, tt := range []struct {
		name string
		j    Jobserver
		from *os.File // where what is written arrives
	}{
		{"a pair", pair, ends[1]},
		{"one file", File(in), ends[0]},
	} {
		files, auth, err := tt.j.Open()
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		r, w := files[0], files[len(files)-1]
		if !tt.j.Inherited(auth) {
			t.Errorf("%s: %s is not inherited", tt.name, auth)
		}
		for _, f := range files {
			flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
			status, statusErr := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
			if flags != 0 || status&unix.O_NONBLOCK != 0 || err != nil || statusErr != nil {
				t.Errorf("%s: %s has flags %#x and status %#x, %v, %v", tt.name, f.Name(), flags, status, err, statusErr)
			}
		}
		if _, err := w.Write([]byte{'x'}); err != nil {
			t.Error(err)
		}
		var b [1]byte
		if n, err := tt.from.Read(b[:]); n != 1 || b[0] != 'x' || err != nil {
			t.Errorf("%s: read %q, %v", tt.name, b[:n], err)
		}
		if _, err := ends[0].Write([]byte{'y'}); err != nil {
			t.Error(err)
		}
		if n, err := r.Read(b[:]); n != 1 || b[0] != 'y' || err != nil {
			t.Errorf("%s: read %q, %v", tt.name, b[:n], err)
		}
		for _, f := range files {
			f.Close()
		}
		if tt.j.Inherited(auth) {
			t.Errorf("%s: %s is inherited after it was closed", tt.name, auth)
		}
	}
}

func TestInherited(t *testing.T) {
	for _, auth := range []string{"", "fifo:" + os.DevNull, "0", "0,1", "-2,-2", "x,y"} {
		if File(t.TempDir()).Inherited(auth) {
			t.Errorf("%q is inherited", auth)
		}
	}
}
