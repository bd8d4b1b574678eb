// Package need says what a test cannot do without, and what happens when this
// machine has not got it: the test is skipped with a reason that names the
// missing thing, or fails with the same words when STEVE_TEST_STRICT=1 (CI).
//
// It only looks. Putting things in place is the business of scripts/setup-tests;
// the two share the layout of the cache directory, which is described at Cache.
package need

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Cache is the directory that scripts/setup-tests fills:
//
//	guest/KERNEL/linux           user-mode Linux, KERNEL as in guest.Kernels
//	guest/KERNEL/vmlinux         or a kernel for QEMU, KERNEL as guest.QEMU,
//	guest/KERNEL/qemu            with links to the machine's qemu-system-x86_64
//	guest/KERNEL/virtiofsd       and virtiofsd
//	guest/KERNEL/modules/*.ko    its modules, uncompressed
//	clients/NAME/usr/bin/PROG    a jobserver client with its libraries
//	source/NAME/                 an unpacked source tree, not to be written to
//
// It is $STEVE_TEST_CACHE, by default steve-test in the user's cache directory.
// It is "" when there is neither.
func Cache() string {
	if dir := os.Getenv("STEVE_TEST_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "steve-test")
}

// Strict reports whether a missing need is a failure instead of a skip.
func Strict() bool { return os.Getenv("STEVE_TEST_STRICT") == "1" }

// Missing ends the test because what, which it needs, is not there: a skip, or a
// failure if Strict. For needs that have no function of their own here.
func Missing(t testing.TB, what string) {
	t.Helper()
	if Strict() {
		t.Fatalf("missing: %s", what)
	}
	t.Skipf("missing: %s", what)
}

// Root asks for the effective user id 0.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "root")
	}
}

// FUSE asks for a /dev/fuse that this process can open.
func FUSE(t testing.TB) {
	t.Helper()
	openable(t, "/dev/fuse")
}

// CUSE asks for a /dev/cuse that this process can open. Few machines have one:
// tests that need it go through guest.Enter.
func CUSE(t testing.TB) {
	t.Helper()
	openable(t, "/dev/cuse")
}

func openable(t testing.TB, dev string) {
	t.Helper()
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		Missing(t, err.Error())
		return
	}
	// Opening either device makes no connection yet: closing it leaves nothing.
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Tool asks for a program on PATH and returns its path.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, name+" on PATH")
	}
	return path
}

// Client asks for a jobserver client of a version the machine itself may not
// have, and returns the absolute path of its program: "make-4.4", "ctest-3.31",
// "ninja-1.12" or "ninja-1.13", and for the whole matrix of clients "ninja-1.11",
// "cmake-4", "ctest-4", "gcc-14" or "clang-linker-wrapper-22". It runs by that
// path alone, without any variable set.
func Client(t testing.TB, name string) string {
	t.Helper()
	prog := name[:strings.LastIndex(name, "-")]
	return cached(t, "client "+name, "clients", name, "usr/bin", prog)
}

// Source asks for a source tree and returns its directory, which other tests
// share: copy it before building. "zlib", "lua5.4", "xz-utils" and
// "gzip" are release tarballs, configured: make builds them. "cargo" is a project
// with its crates, for "cargo build --offline". "rust-clients" has the crates of
// jobserver clients, for the whole matrix.
func Source(t testing.TB, name string) string {
	t.Helper()
	return cached(t, "source of "+name, "source", name)
}

// Guest asks for a guest kernel, one of guest.Kernels or guest.QEMU, and returns its
// directory. QEMU's asks for root too.
func Guest(t testing.TB, kernel string) string {
	t.Helper()
	dir := cached(t, "guest kernel "+kernel, "guest", kernel)
	if strings.HasPrefix(kernel, "qemu-") {
		for _, program := range []string{"qemu", "virtiofsd"} {
			cached(t, "guest kernel "+kernel, "guest", kernel, program)
		}
		Root(t)
	}
	return dir
}

// cached asks for a path in the cache directory.
func cached(t testing.TB, what string, elem ...string) string {
	t.Helper()
	dir := Cache()
	if dir == "" {
		Missing(t, what+": no cache directory, set STEVE_TEST_CACHE")
	}
	path := filepath.Join(append([]string{dir}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		Missing(t, what+": "+err.Error()+", run scripts/setup-tests")
	}
	return path
}

// caught is never read: what arrives there is dropped.
var caught = make(chan os.Signal, 1)

// DefaultSignals makes the programs that a test starts from now on get every signal by default. What this process was
// started to ignore, by nohup say, they would ignore as well; what it catches is reset by exec.
func DefaultSignals() {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} { // of others Go does not keep that they were ignored
		if signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
}
