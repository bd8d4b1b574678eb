package file

import (
	"errors"
	"net"
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

// What is left at the path of a token file must not pass for one, and must not be in the way of the next server.
func TestNodes(t *testing.T) {
	for name, makeNode := range map[string]func(string) (node, error){"socket": makeSocketNode, "plain": makePlainNode} {
		path := filepath.Join(t.TempDir(), "steve")
		n, err := makeNode(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.disguise(); err != nil {
			t.Fatal(err)
		}
		if _, err := makeNode(path); err == nil || !strings.Contains(err.Error(), "is not a token file") {
			t.Errorf("a second %s node: %v", name, err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case name == "plain" && info.Mode() != 0:
			t.Errorf("the mode of a plain node is %v, want 0", info.Mode())
		case name == "socket":
			if _, err := os.OpenFile(path, os.O_RDWR, 0); !errors.Is(err, unix.ENXIO) {
				t.Errorf("open of a socket node: %v, want ENXIO", err)
			}
		}
		if err := removeLeftover(path); err != nil {
			t.Fatal(err)
		}
		if n, err = makeNode(path); err != nil {
			t.Fatal(err)
		}
		if err := n.remove(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the %s node is still there: %v", name, err)
		}
	}
}

// What is somebody else's is never taken.
func TestOccupied(t *testing.T) {
	dir := t.TempDir()
	full, link, listening, datagrams := filepath.Join(dir, "full"), filepath.Join(dir, "link"), filepath.Join(dir, "l"), filepath.Join(dir, "d")
	if err := os.WriteFile(full, []byte("data"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(full, link); err != nil {
		t.Fatal(err)
	}
	stream, err := net.Listen("unix", listening)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	packets, err := net.ListenPacket("unixgram", datagrams)
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	for _, path := range []string{listening, datagrams} {
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{full, link, listening, datagrams, dir} {
		if err := removeLeftover(path); err != nil {
			t.Errorf("removeLeftover(%s): %v", path, err)
		}
		if _, err := makeSocketNode(path); err == nil || !strings.Contains(err.Error(), "is not a token file") {
			t.Errorf("makeSocketNode(%s): %v", path, err)
		}
		if _, err := makePlainNode(path); err == nil || !strings.Contains(err.Error(), "is not a token file") {
			t.Errorf("makePlainNode(%s): %v", path, err)
		}
	}
	if info, err := os.Lstat(full); err != nil || info.Size() != 4 {
		t.Errorf("the file is now %v, %v", info, err)
	}
}

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "steve.lock")
	l, err := takeLock(name, "/dev/steve")
	if err != nil {
		t.Fatal(err)
	}
	// Whoever can open it can lock it.
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the lock's file is %v, %v, want mode 0600", info.Mode(), err)
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
