package file

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFindMount(t *testing.T) {
	const table = `24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 24 0:27 / /dev rw,nosuid shared:3 - devtmpfs udev rw
64 31 0:40 / /dev/steve rw,nosuid - fuse.steve steve rw,user_id=0
65 31 0:41 / /dev/twice rw shared:9 master:2 - tmpfs tmpfs rw
66 31 0:42 / /dev/twice rw - fuse.steve steve rw
67 24 0:43 / /tmp/a\040b\134c rw - fuse.sshfs host rw
short line
`
	for path, want := range map[string]string{
		"/dev/steve": "fuse.steve",
		"/dev/stev":  "",
		"/dev/twice": "fuse.steve", // the topmost
		`/tmp/a b\c`: "fuse.sshfs",
		"/":          "ext4",
	} {
		if got, err := findMount(strings.NewReader(table), path); got != want || err != nil {
			t.Errorf("findMount(%q) = %q, %v, want %q", path, got, err, want)
		}
	}
}

// What is left at the path of a token file must not pass for one.
func TestSocketNode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "steve")
	for range 2 { // the second time over what a killed server left
		n, err := makeSocketNode(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.OpenFile(path, os.O_RDWR, 0); !errors.Is(err, unix.ENXIO) {
			t.Errorf("open of the node: %v, want ENXIO", err)
		}
		if n.path != path {
			t.Errorf("the node is %q, want %q", n.path, path)
		}
	}
	n, _ := makeSocketNode(path)
	if err := n.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the node is still there: %v", err)
	}
}

func TestPlainNode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "steve")
	for range 2 {
		n, err := makePlainNode(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.disguise(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0 {
			t.Errorf("the node is %v, %v, want mode 0", info.Mode(), err)
		}
		n.file.Close() // as by a kill: the node stays
	}
}

// A file of somebody else's is never taken.
func TestNodeOccupied(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	if err := os.WriteFile(full, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(full, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{full, link, dir} {
		if _, err := makeSocketNode(path); err == nil || !strings.Contains(err.Error(), "is not a token file") {
			t.Errorf("makeSocketNode(%s): %v", path, err)
		}
		if _, err := makePlainNode(path); err == nil || !strings.Contains(err.Error(), "is not a token file") {
			t.Errorf("makePlainNode(%s): %v", path, err)
		}
	}
	if b, err := os.ReadFile(full); string(b) != "data" || err != nil {
		t.Errorf("the file now has %q, %v", b, err)
	}
}

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "steve.lock")
	l, err := takeLock(name, "/dev/steve")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takeLock(name, "/dev/steve"); err == nil || !strings.Contains(err.Error(), "/dev/steve is served by another steve (PID ") {
		t.Errorf("a second lock: %v", err)
	}
	l.release()
	l, err = takeLock(name, "/dev/steve")
	if err != nil {
		t.Fatal(err)
	}
	l.release()
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock's file is still there: %v", err)
	}
}
