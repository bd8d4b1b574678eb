package guest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/need"
)

// helperVar makes TestIntegrationHelper do its work.
const helperVar = "STEVE_TEST_GUEST_HELPER"

// TestIntegrationHelper is no test of its own: TestIntegrationEnter runs it in
// another process, because some of it fails.
func TestIntegrationHelper(t *testing.T) {
	if os.Getenv(helperVar) == "" {
		return
	}
	if !guest.Enter(t) {
		return
	}
	t.Run("passes", func(t *testing.T) { need.CUSE(t) })
	t.Run("is/in/rooms", func(t *testing.T) {
		t.Run("fails", func(t *testing.T) { t.Error("for this reason") })
		t.Run("skips", func(t *testing.T) { t.Skip("for want of that") })
	})
	t.Run("panics", func(*testing.T) { panic("of all things") })
}

// What tests do in a guest is told by the tests on the host.
func TestIntegrationEnter(t *testing.T) {
	for _, kernel := range guest.Kernels {
		need.Guest(t, kernel)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.v", "-test.run=^TestIntegrationHelper$")
	cmd.Env = append(os.Environ(), helperVar+"=1")
	text, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("the helper passed")
	}
	for _, kernel := range guest.Kernels {
		top := "TestIntegrationHelper/" + kernel
		for _, want := range []string{
			"--- PASS: " + top + "/passes (",
			"--- FAIL: " + top + "/is/in/rooms (",
			"--- FAIL: " + top + "/is/in/rooms/fails (",
			"for this reason",
			"--- SKIP: " + top + "/is/in/rooms/skips (",
			"for want of that",
			"--- FAIL: " + top + "/panics (",
			"panic: of all things",
		} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%q is missing in the output", want)
			}
		}
	}
	if t.Failed() {
		t.Logf("the output:\n%s", text)
	}
}
