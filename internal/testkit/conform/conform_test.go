package conform

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/testkit/guest"
	"steve/internal/testkit/need"
)

// A testCase is one thing that clients may rely on. A server is started for it, and must be as good as new when it ends.
type testCase struct {
	name string
	// args are the server's options beside transport and name; -j 1 comes first.
	args []string
	run  func(t *testing.T, s *server)
	// cannot says for which transport the case means nothing, and why.
	cannot map[transport]string
	// anybody: it also holds without root, and is tried so.
	anybody bool
}

// cases is the suite. For time, guests, and the oldest above all, do without what is the same on every kernel.
func cases() []testCase {
	all := slices.Concat(ledgerCases, identityCases, lenderCases, readCases, signalCases, readinessCases, sharingCases, pathCases,
		lifeCases, accessCases, abuseCases, surviveCases, outageCases)
	if !guest.Oldest() {
		all = slices.Concat(all, settingsCases, nestCases, relayCases, optionCases, memoryCases, upgradeCases)
	}
	if !guest.Inside() {
		all = append(all, journalCases...)
	}
	return all
}

// runCase starts a server, runs the case, and looks that nothing was lost.
func runCase(t *testing.T, tr transport, c testCase) {
	if why := c.cannot[tr]; why != "" {
		t.Skipf("not on %s: %s", tr, why)
	}
	s := start(t, tr, append([]string{"-j", "1"}, c.args...))
	t.Cleanup(func() { // the case's clients have ended
		select {
		case <-s.ended: // the case was about that
			return
		default:
		}
		if t.Failed() {
			return
		}
		s.becomes("all tokens are back, and nobody waits", func(st ctl.Status) bool {
			return st.Held == 0 && st.Holders == 0 && st.Waiters == 0
		})
		s.stop(unix.SIGTERM)
	})
	c.run(t, s)
}

func TestIntegrationFUSE(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { runCase(t, fuse, c) })
	}
	t.Logf("longest reclaim after SIGKILL: %v", time.Duration(longestReclaim.Load()))
}

func TestIntegrationCUSE(t *testing.T) {
	program(t) // built here: a guest has no time for it
	if !guest.Enter(t) {
		return
	}
	need.CUSE(t)
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { runCase(t, cuse, c) })
	}
	t.Logf("longest reclaim after SIGKILL: %v", time.Duration(longestReclaim.Load()))
}

// nobody is the user that tests without root run as.
const nobody = 65534

// TestIntegrationFUSEUser runs what needs no root as a user who has none: there fusermount3 mounts.
func TestIntegrationFUSEUser(t *testing.T) {
	if os.Geteuid() != 0 {
		need.Tool(t, "fusermount3")
		for _, c := range cases() {
			if c.anybody {
				t.Run(c.name, func(t *testing.T) { runCase(t, fuse, c) })
			}
		}
		return
	}
	need.FUSE(t)
	need.Tool(t, "fusermount3")
	if info, err := os.Stat("/dev/fuse"); err != nil || info.Mode().Perm()&0o006 != 0o006 {
		// A container's or a bare machine's: as udev would have it, for as long as the test runs.
		if err := os.Chmod("/dev/fuse", 0o666); err != nil {
			need.Missing(t, "a /dev/fuse for everybody: "+err.Error())
		}
		t.Cleanup(func() { os.Chmod("/dev/fuse", info.Mode().Perm()) })
	}
	program(t)
	dir := t.TempDir()
	for up := dir; up != "/"; up = filepath.Dir(up) {
		if strings.HasPrefix(up, os.TempDir()+"/") {
			if err := os.Chmod(up, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	runtimeDir := filepath.Join(dir, "run")
	if err := os.Mkdir(runtimeDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(runtimeDir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases() {
		if !c.anybody {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(testBinary, "-test.run=^TestIntegrationFUSEUser$/^"+regexp.QuoteMeta(c.name)+"$", "-test.v", "-test.timeout=2m")
			cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+runtimeDir, "HOME=/")
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("--- PASS: TestIntegrationFUSEUser/"+strings.ReplaceAll(c.name, " ", "_"))) {
				t.Errorf("as nobody: %v\n%s", err, out)
			}
		})
	}
}

// programVar names the built steve, for copies of the test binary that run where it cannot be built.
const programVar = "STEVE_CONFORM_PROGRAM"

// testBinary is this program, by a path that every user can run.
var testBinary = "/proc/self/exe"

var build sync.Once

// program returns the path of steve, which is built once.
func program(t *testing.T) string {
	t.Helper()
	build.Do(func() {
		if os.Getenv(programVar) != "" {
			return
		}
		dir, err := os.MkdirTemp("", "steve-conform-")
		if err != nil {
			t.Fatal(err)
		}
		built = dir
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "steve")
		cmd := exec.Command("go", "build", "-o", path, "steve/cmd/steve")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build steve: %v\n%s", err, out)
		}
		os.Setenv(programVar, path)
	})
	path := os.Getenv(programVar)
	if path == "" {
		t.Fatal("steve was not built")
	}
	return path
}

// built is the directory of what this process built, to be removed.
var built string

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
	}
	before := descriptors()
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	// Readers of what processes wrote end soon after these.
	for end := time.Now().Add(patience); descriptors() > before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if after := descriptors(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "%d descriptors left open\n", after-before)
		code = 1
	}
	os.Exit(code)
}

// descriptors counts the open files of this process that are no part of the runtime's polling.
func descriptors() int {
	n := 0
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if name, _ := os.Readlink("/proc/self/fd/" + e.Name()); !strings.HasPrefix(name, "anon_inode:[event") {
			n++
		}
	}
	return n
}
