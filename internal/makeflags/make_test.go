package makeflags

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/testkit/need"
)

// TestMake asks real makes what they read in composed values.
func TestMake(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	jobserver, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer jobserver.Close()

	t.Run("system", func(t *testing.T) {
		// Every GNU make since 4.2 takes descriptors.
		testMake(t, need.Tool(t, "make"), "3,3", jobserver)
	})
	t.Run("4.4", func(t *testing.T) {
		testMake(t, need.Client(t, "make-4.4"), "fifo:"+fifo, nil)
	})
}

func testMake(t *testing.T, program, auth string, inherited *os.File) {
	// With "+" the recipe is run, and so expanded, under -n too.
	const makefile = "all:; +@$(info <$(MAKEFLAGS)><$(X)>):\n"
	for _, tt := range cases {
		if tt.unclear {
			continue
		}
		value := Compose(tt.value, auth)
		cmd := exec.CommandContext(t.Context(), program, "-f", "-")
		cmd.Dir = t.TempDir()
		cmd.Stdin = strings.NewReader(makefile)
		cmd.Env = append(os.Environ(), "MAKEFLAGS="+value, "GNUMAKEFLAGS=", "MAKELEVEL=", "LC_ALL=C")
		if inherited != nil {
			cmd.ExtraFiles = []*os.File{inherited}
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("MAKEFLAGS=%q: %v\n%s", value, err, out)
			continue
		}
		if strings.Contains(string(out), "warning") || strings.Contains(string(out), "jobserver mode") {
			t.Errorf("MAKEFLAGS=%q:\n%s", value, out)
		}
		_, report, _ := strings.Cut(string(out), "<")
		flags, x, _ := strings.Cut(report, "><")
		x, _, _ = strings.Cut(x, ">")
		if !strings.Contains(flags, "--jobserver-auth="+auth) {
			t.Errorf("MAKEFLAGS=%q: make reports %q, without the jobserver", value, flags)
		}
		words := slices.DeleteFunc(strings.Fields(flags), func(w string) bool {
			return w == "--jobserver-auth="+auth || strings.HasPrefix(w, "--sync-mutex=") // 4.4.1's own, with -O
		})
		flags = strings.Join(words, " ")
		if flags != tt.flags || x != tt.x {
			t.Errorf("MAKEFLAGS=%q: make reports flags %q and X %q, want %q and %q", value, flags, x, tt.flags, tt.x)
		}
	}
}
