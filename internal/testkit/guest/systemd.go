package guest

import (
	_ "embed"
	"os"
	"path/filepath"
	"testing"

	"steve/internal/testkit/need"
)

// systemdProgram is where all distributions have it; it is not on PATH.
const systemdProgram = "/usr/lib/systemd/systemd"

//go:embed systemd.sh
var systemdScript []byte

// EnterSystemd is like Enter, but in the guest the test is a service of the machine's own systemd, for which "systemctl"
// works. There is one guest, of the last of Kernels. The systemd is PID 1 of a pid namespace; it has no units but the
// test's own job.service, and those that the test puts into /run/systemd/system. There is no journal, no udev and no
// D-Bus. What a unit writes is lost unless it says where to.
func EnterSystemd(t *testing.T) bool {
	t.Helper()
	if Inside() {
		return true
	}
	need.Tool(t, "unshare")
	if _, err := os.Stat(systemdProgram); err != nil {
		need.Missing(t, systemdProgram)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "program")); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "systemd.sh")
	if err := os.WriteFile(script, systemdScript, 0o700); err != nil {
		t.Fatal(err)
	}
	name, kernel := t.Name(), Kernels[len(Kernels)-1]
	t.Run(kernel, func(t *testing.T) {
		tests := runTests(t, kernel, script, "-test.run="+exactly(name))
		if test := tests.find(name); test != nil {
			test.report(t)
		} else {
			t.Errorf("%s did not start", name)
		}
	})
	return false
}
