package guest_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/need"
)

func TestIntegrationEnterSystemd(t *testing.T) {
	if !guest.EnterSystemd(t) {
		return
	}
	need.CUSE(t)
	if comm, err := os.ReadFile("/proc/1/comm"); err != nil || string(comm) != "systemd\n" {
		t.Errorf("PID 1 is %q, %v", comm, err)
	}
	if _, err := os.Stat("systemd.sh"); err != nil {
		t.Errorf("the working directory is another: %v", err)
	}
	out, err := exec.Command("systemctl", "show", "--property=MainPID", "job.service").CombinedOutput()
	if want := fmt.Sprintf("MainPID=%d\n", os.Getpid()); err != nil || string(out) != want {
		t.Errorf("systemctl says %q, %v; want %q", out, err, want)
	}
}
