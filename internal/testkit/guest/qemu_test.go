package guest_test

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/need"
)

// QEMU is there for two processors and a kernel that is new enough.
func TestIntegrationQEMU(t *testing.T) {
	if !guest.Enter(t, guest.QEMU) {
		return
	}
	need.CUSE(t)
	need.FUSE(t)
	if n := runtime.NumCPU(); n != 2 {
		t.Errorf("%d processors, want 2", n)
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	_, version, _ := strings.Cut(guest.QEMU, "-")
	if !strings.HasPrefix(string(release), version+".") {
		t.Errorf("kernel %s, want %s", release, version)
	}
}
