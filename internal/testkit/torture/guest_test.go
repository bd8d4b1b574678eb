package torture

import (
	"os"
	"strings"

	"steve/internal/testkit/guest"
)

// userMode says whether this is a guest of user-mode Linux.
func userMode() bool {
	text, err := os.ReadFile("/proc/cpuinfo")
	return guest.Inside() && err == nil && strings.Contains(string(text), "User Mode Linux")
}
