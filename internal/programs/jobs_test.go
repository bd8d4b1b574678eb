package programs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestDropJobs(t *testing.T) {
	for _, tt := range []struct {
		kind                Kind
		args, kept, removed []string
		serial              bool
	}{
		{kind: Make, args: []string{"-kj8", "all"}, kept: []string{"-k", "all"}, removed: []string{"-j8"}},
		{kind: Make, args: []string{"-j"}, removed: []string{"-j"}},
		// One job is what the build wants, and the last count is the one that is.
		{kind: Make, args: []string{"-j1", "all"}, kept: []string{"-j1", "all"}, serial: true},
		{kind: Make, args: []string{"-j", "1"}, kept: []string{"-j", "1"}, serial: true},
		{kind: Make, args: []string{"--jobs=01"}, kept: []string{"--jobs=01"}, serial: true},
		{kind: Make, args: []string{"-j8", "-j1"}, kept: []string{"-j8", "-j1"}, serial: true},
		{kind: Make, args: []string{"-j1", "-j8", "x"}, kept: []string{"x"}, removed: []string{"-j1", "-j8"}},
		{kind: Make, args: []string{"-j1", "-j"}, removed: []string{"-j1", "-j"}},
		{kind: Make, args: []string{"-j11"}, removed: []string{"-j11"}},

		{kind: Ninja, args: []string{"-v", "all"}, kept: []string{"-v", "all"}},
		{kind: Ninja, args: []string{"-j8", "all", "-j", "9"}, kept: []string{"all"}, removed: []string{"-j8", "-j 9"}},
		{kind: Ninja, args: []string{"-vj8"}, kept: []string{"-v"}, removed: []string{"-j8"}},
		{kind: Ninja, args: []string{"-nvj", "8", "x"}, kept: []string{"-nv", "x"}, removed: []string{"-j 8"}},
		{kind: Ninja, args: []string{"-C", "-j8", "-fj8", "-l2"}, kept: []string{"-C", "-j8", "-fj8", "-l2"}},
		{kind: Ninja, args: []string{"-C", "d", "-t", "compdb", "-j8"}, kept: []string{"-C", "d", "-t", "compdb", "-j8"}},
		{kind: Ninja, args: []string{"--quiet", "-j3", "--", "-j8"}, kept: []string{"--quiet", "--", "-j8"}, removed: []string{"-j3"}},
		{kind: Ninja, args: []string{"-v", "-j"}, kept: []string{"-v"}, removed: []string{"-j"}},
		{kind: Ninja, args: []string{"-", "-t"}, kept: []string{"-", "-t"}},
		{kind: Ninja, args: []string{"-j1", "x"}, kept: []string{"-j1", "x"}, serial: true},

		{kind: CMake, args: []string{"--build", "b", "-j", "8", "--target", "x"}, kept: []string{"--build", "b", "--target", "x"}, removed: []string{"-j 8"}},
		{kind: CMake, args: []string{"--build", "b", "--parallel", "--clean-first"}, kept: []string{"--build", "b", "--clean-first"}, removed: []string{"--parallel"}},
		{kind: CMake, args: []string{"--build", "b", "--parallel=4", "--", "-kj8"}, kept: []string{"--build", "b", "--", "-k"}, removed: []string{"--parallel=4", "-j8"}},
		{kind: CMake, args: []string{"--build", "b", "-j1"}, kept: []string{"--build", "b", "-j1"}, serial: true},
		{kind: CMake, args: []string{"--build", "b", "-job", ""}, kept: []string{"--build", "b", "-job", ""}},
		{kind: CMake, args: []string{"-S", ".", "-j8"}, kept: []string{"-S", ".", "-j8"}},
		{kind: CMake},
		{kind: Meson, args: []string{"compile", "-C", "b", "--jobs", "8"}, kept: []string{"compile", "-C", "b"}, removed: []string{"--jobs 8"}},
		{kind: Meson, args: []string{"test", "-j8"}, kept: []string{"test", "-j8"}},
		{kind: Cargo, args: []string{"build", "-j8"}, kept: []string{"build", "-j8"}},
	} {
		kept, removed := tt.kind.DropJobs(tt.args)
		if !slices.Equal(kept, tt.kept) || !slices.Equal(removed, tt.removed) {
			t.Errorf("kind %d: %q: kept %q, removed %q, want %q, %q", tt.kind, tt.args, kept, removed, tt.kept, tt.removed)
		}
		if got, want := tt.kind.IsSerial(tt.args), tt.serial; got != want {
			t.Errorf("kind %d: %q: serial is %v, want %v", tt.kind, tt.args, got, want)
		}
	}
}

func TestNinjaJobs(t *testing.T) {
	for _, tt := range []struct {
		kind  Kind
		args  []string
		cpus  int
		jobs  int
		three []string // with three jobs
	}{
		{kind: Ninja, cpus: 1, jobs: 2, three: []string{"-j3"}},
		{kind: Ninja, cpus: 2, jobs: 3, three: []string{"-j3"}},
		{kind: Ninja, args: []string{"all"}, cpus: 8, jobs: 10, three: []string{"-j3", "all"}},
		{kind: Ninja, args: []string{"-j4"}, cpus: 8, jobs: 4, three: []string{"-j3"}},
		{kind: Ninja, args: []string{"-j4", "-vj", "5"}, cpus: 8, jobs: 5, three: []string{"-j3", "-v"}},
		{kind: Ninja, args: []string{"-j1"}, cpus: 8, jobs: 1, three: []string{"-j3"}},
		{kind: Ninja, args: []string{"-j0"}, cpus: 8, jobs: 1 << 20, three: []string{"-j3"}},
		{kind: Ninja, args: []string{"-C", "b", "-t", "clean"}, cpus: 8, jobs: 1, three: []string{"-j3", "-C", "b", "-t", "clean"}},
		{kind: Ninja, args: []string{"--version"}, cpus: 8, jobs: 1, three: []string{"-j3", "--version"}},
		{kind: CMake, args: []string{"--build", "b", "-t", "x"}, cpus: 8, jobs: 10, three: []string{"--build", "b", "-j3", "-t", "x"}},
		{kind: CMake, args: []string{"--build", "b", "-j4", "--", "-j5"}, cpus: 8, jobs: 5, three: []string{"--build", "b", "-j3", "--"}},
	} {
		if got := tt.kind.NinjaJobs(tt.args, tt.cpus); got != tt.jobs {
			t.Errorf("%q on %d CPUs: %d, want %d", tt.args, tt.cpus, got, tt.jobs)
		}
		if got := tt.kind.WithNinjaJobs(tt.args, 3); !slices.Equal(got, tt.three) {
			t.Errorf("%q with three: %q, want %q", tt.args, got, tt.three)
		}
	}
}

func TestBuildTool(t *testing.T) {
	dir := t.TempDir()
	cache := "# comment\n//Program used to build\nCMAKE_MAKE_PROGRAM:FILEPATH=/opt/ninja=2/ninja\nX:STRING=\n"
	if err := os.WriteFile(filepath.Join(dir, "CMakeCache.txt"), []byte(cache), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{args: []string{"--build", dir, "-j8"}, want: "/opt/ninja=2/ninja"},
		{args: []string{"--build", dir + "/none"}},
		{args: []string{"--build"}},
		{args: []string{"-B", dir}},
	} {
		if got := BuildTool(tt.args); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.args, got, tt.want)
		}
	}
}
