package programs

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// BuildTool is the make or ninja that a cmake with these arguments runs, "--build DIR …": the one it found when DIR was
// configured, whatever PATH says now. It is empty where there is none to be known.
func BuildTool(args []string) string {
	if len(args) < 2 || args[0] != "--build" {
		return ""
	}
	f, err := os.Open(filepath.Join(args[1], "CMakeCache.txt"))
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// NAME:TYPE=VALUE
		if rest, ok := strings.CutPrefix(lines.Text(), "CMAKE_MAKE_PROGRAM:"); ok {
			_, path, _ := strings.Cut(rest, "=")
			return path
		}
	}
	return ""
}
