package matrix

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"steve/internal/testkit/jobs"
	"steve/internal/testkit/need"
)

// jobCount is how many jobs a client wants to run.
const jobCount = 12

// A row is a client.
type row struct {
	// name is that in the table. Whatever does not say otherwise is one of its commands, as a job.
	name string
	// always says that "make test" tries it too.
	always bool
	// particular says that it is tried with a character device too.
	particular bool
	// writesFirst says that it gives away its implicit slot before it takes a token.
	writesFirst bool
	// prepare is called once, and puts what all runs need into dir.
	prepare func(t *testing.T, dir string)
	// start says how to start it.
	start func(t *testing.T, l *launch)
	// version returns that of the client. It is nil where there is none.
	version func(t *testing.T) string
}

// A launch is how a client is started once.
type launch struct {
	prepared string // the directory of row.prepare
	dir      string // its working directory, empty at first
	argv     []string
	env      []string
	bin      string // a directory that comes first on PATH
}

// call makes a program be found on PATH by name.
func (l *launch) call(t *testing.T, name, path string) {
	t.Helper()
	if err := os.Symlink(path, filepath.Join(l.bin, name)); err != nil {
		t.Fatal(err)
	}
}

// countCompilers makes each gcc that compiles a job.
func (l *launch) countCompilers(t *testing.T) {
	t.Helper()
	l.call(t, "gcc", filepath.Join(jobs.Tools(t), "slot"))
}

// standIn makes a program a job that makes an empty file of what its option -o names. Asked for anything else it tells its version.
func (l *launch) standIn(t *testing.T, name string) {
	t.Helper()
	script := `#!/bin/sh
case " $* " in *" -o "*) ;; *) echo stand-in version 9.9.9; exit ;; esac
` + filepath.Join(jobs.Tools(t), "slot") + ` || exit
while [ "$1" != -o ]; do shift; done
exec touch "$2"
`
	jobs.WriteProgram(t, filepath.Join(l.bin, name), script)
}

// rows are all clients.
func rows() []row {
	return []row{
		{name: "GNU make 4.3", always: true, start: makes(jobs.OldMake), version: versionOf(jobs.OldMake)},
		{name: "GNU make 4.4", always: true, start: makes(cached("make-4.4")), version: versionOf(cached("make-4.4"))},
		ninja("1.11"), ninja("1.12"), ninja("1.13"),
		{name: "cargo", always: true, start: cargo, version: versionOf(tool("cargo"))},
		{name: "rustc, its threads", prepare: rustModules, start: rustc, version: versionOf(tool("rustc"))},
		{name: "cc crate", prepare: rustClients, start: ccCrate, version: crate("cc")},
		{name: "nasm-rs crate", prepare: rustClients, start: nasmCrate, version: crate("nasm-rs")},
		shape("nasm-rs 0.3.0", "nasm-rs"),
		gcc("12", "auto"), gcc("12", "jobserver"), gcc("14", "auto"), gcc("14", "jobserver"),
		{name: "LLVM 22 clang-linker-wrapper", prepare: prepareOffload, start: linkerWrapper, version: versionOf(cached("clang-linker-wrapper-22"))},
		{name: "CTest 3.31, with -j", always: true, start: ctest("ctest-3.31"), version: versionOf(cached("ctest-3.31"))},
		{name: "CTest 4, with -j", start: ctest("ctest-4"), version: versionOf(cached("ctest-4"))},
		cmake("", "make 4.3", "Unix Makefiles", "make", jobs.OldMake),
		cmake(" -j12", "make 4.3", "Unix Makefiles", "make", jobs.OldMake),
		cmake(" -j12", "ninja 1.13", "Ninja", "ninja", cached("ninja-1.13")),
		{name: "dpkg-buildpackage", start: dpkg, version: versionOf(tool("dpkg-buildpackage"))},
		shape("jobserver-exec", "jobserver-exec"),
		shape("Portage", "portage"),
		shape("pytest-jobserver", "pytest-jobserver"),
	}
}

// cached is a client by need.Client.
func cached(name string) func(testing.TB) string {
	return func(t testing.TB) string { t.Helper(); return need.Client(t, name) }
}

// tool is a program of the machine.
func tool(name string) func(testing.TB) string {
	return func(t testing.TB) string { t.Helper(); return need.Tool(t, name) }
}

var numbers = regexp.MustCompile(`\d+(\.\d+)+`)

// versionOf returns the first thing like a version that a program says.
func versionOf(program func(testing.TB) string) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		return numbers.FindString(jobs.Run(t, program(t), "--version"))
	}
}

func makes(program func(testing.TB) string) func(*testing.T, *launch) {
	return func(t *testing.T, l *launch) {
		l.call(t, "make", program(t))
		jobs.Makefile(t, l.dir, jobCount)
		l.argv = []string{"make"}
	}
}

func ninja(version string) row {
	program := cached("ninja-" + version)
	return row{
		name:       "ninja " + version,
		always:     version != "1.11",
		particular: version == "1.13",
		version:    versionOf(program),
		start: func(t *testing.T, l *launch) {
			l.call(t, "ninja", program(t))
			var text strings.Builder
			text.WriteString("rule job\n  command = exec $$JOB\n")
			for i := range jobCount {
				fmt.Fprintf(&text, "build %d: job\n", i)
			}
			jobs.WriteFile(t, filepath.Join(l.dir, "build.ninja"), text.String())
			l.argv = []string{"ninja", fmt.Sprintf("-j%d", jobCount)}
		},
	}
}

func cargo(t *testing.T, l *launch) {
	need.Tool(t, "cargo")
	jobs.CargoWorkspace(t, l.dir, jobCount)
	l.argv = []string{"cargo", "build", "--offline"}
	l.env = []string{"RUSTC_WRAPPER=" + filepath.Join(jobs.Tools(t), "rustc")}
}

func rustModules(t *testing.T, dir string) {
	jobs.WriteFile(t, filepath.Join(dir, "lib.rs"), jobs.RustModules(5*jobCount))
}

func rustc(t *testing.T, l *launch) {
	need.Tool(t, "rustc")
	l.argv = []string{"rustc", "--crate-type=lib", fmt.Sprintf("-Ccodegen-units=%d", jobCount), "-Copt-level=1",
		filepath.Join(l.prepared, "lib.rs")}
	l.env = []string{"LD_PRELOAD=" + filepath.Join(jobs.Tools(t), "threads.so")}
}

// rustClients builds testdata/rust.
func rustClients(t *testing.T, dir string) {
	need.Tool(t, "cargo")
	jobs.WriteFile(t, filepath.Join(dir, ".cargo", "config.toml"), `
[source.crates-io]
replace-with = "tests"
[source.tests]
directory = "`+filepath.Join(need.Source(t, "rust-clients"), "crates")+`"
`)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "rust"))); err != nil {
		t.Fatal(err)
	}
	jobs.Start(t, dir, nil, "cargo", "build", "--offline").Succeed(t)
}

// crate returns the version of a crate.
func crate(name string) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		paths, err := filepath.Glob(filepath.Join(need.Source(t, "rust-clients"), "crates", name+"-[0-9]*"))
		if err != nil || len(paths) != 1 {
			t.Fatalf("%s: %v, %v", name, paths, err)
		}
		return strings.TrimPrefix(filepath.Base(paths[0]), name+"-")
	}
}

func ccCrate(t *testing.T, l *launch) {
	l.countCompilers(t)
	l.argv = append([]string{filepath.Join(l.prepared, "target", "debug", "cc_rs")}, cFiles(t, l.dir)...)
}

// cFiles writes C files and returns their names.
func cFiles(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for i := range jobCount {
		names = append(names, fmt.Sprintf("f%d.c", i))
		jobs.WriteFile(t, filepath.Join(dir, names[i]), fmt.Sprintf("int f%d(int n) { return n * %d; }\n", i, i))
	}
	return names
}

// nasmCrate has a stand-in for the assembler.
func nasmCrate(t *testing.T, l *launch) {
	l.standIn(t, "nasm")
	l.argv = []string{filepath.Join(l.prepared, "target", "debug", "nasm_rs")}
	for i := range jobCount {
		l.argv = append(l.argv, fmt.Sprintf("%d.asm", i))
	}
	l.env = []string{"CARGO_MANIFEST_DIR=."}
}

// shape is a client that is imitated.
func shape(name, shape string) row {
	return row{
		name:        name + " (imitated)",
		always:      name != "nasm-rs 0.3.0",
		writesFirst: name == "nasm-rs 0.3.0",
		particular:  name != "nasm-rs 0.3.0",
		start: func(t *testing.T, l *launch) {
			l.call(t, "make", need.Client(t, "make-4.4")) // they know no descriptors
			l.argv, l.env = jobs.Shape(t, shape, "")
		},
	}
}

// gcc is the link-time optimizer of GCC, run by make. Its jobs are the assemblers of the parts that are made at the same time.
func gcc(version, flto string) row {
	program, make, makeName := cached("gcc-"+version), cached("make-4.4"), "make 4.4"
	if version == "12" {
		program, make, makeName = tool("gcc-12"), jobs.OldMake, "make 4.3"
	}
	return row{
		name:    fmt.Sprintf("GCC %s -flto=%s by %s", version, flto, makeName),
		version: versionOf(program),
		prepare: func(t *testing.T, dir string) {
			for _, name := range cFiles(t, dir) {
				jobs.Start(t, dir, nil, program(t), "-O2", "-flto", "-c", name).Succeed(t)
			}
			jobs.WriteFile(t, filepath.Join(dir, "main.c"), "int main(void) { return 0; }\n")
			jobs.Start(t, dir, nil, program(t), "-O2", "-flto", "-c", "main.c").Succeed(t)
			as := strings.TrimSpace(jobs.Run(t, program(t), "-print-prog-name=as"))
			machine := strings.TrimSpace(jobs.Run(t, program(t), "-dumpmachine"))
			for _, name := range []string{"as", machine + "-as"} {
				jobs.WriteProgram(t, filepath.Join(dir, "bin", name),
					fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", filepath.Join(jobs.Tools(t), "slot"), as))
			}
		},
		start: func(t *testing.T, l *launch) {
			l.call(t, "make", make(t))
			jobs.WriteFile(t, filepath.Join(l.dir, "Makefile"), fmt.Sprintf(
				"all: ; +%s -B %s/bin -O2 -flto=%s --param=lto-partitions=%d --param=lto-min-partition=1 -shared -fPIC %s/*.o -o out\n",
				program(t), l.prepared, flto, jobCount, l.prepared))
			l.argv = []string{"make"}
		},
	}
}

func ctest(name string) func(*testing.T, *launch) {
	return func(t *testing.T, l *launch) {
		jobs.CTests(t, l.dir, jobCount)
		l.argv = []string{need.Client(t, name), "-j"}
	}
}

// cmake is "cmake --build" by way of another program.
func cmake(option, by, generator, name string, program func(testing.TB) string) row {
	cmake := cached("cmake-4")
	return row{
		name:    "cmake --build" + option + " by " + by,
		version: versionOf(cmake),
		prepare: func(t *testing.T, dir string) {
			var text strings.Builder
			text.WriteString("cmake_minimum_required(VERSION 3.20)\nproject(jobs NONE)\n")
			for i := range jobCount {
				fmt.Fprintf(&text, "add_custom_target(job%d ALL COMMAND %s)\n", i, filepath.Join(jobs.Tools(t), "slot"))
			}
			jobs.WriteFile(t, filepath.Join(dir, "CMakeLists.txt"), text.String())
			jobs.Start(t, dir, nil, cmake(t), "-G", generator, "-DCMAKE_MAKE_PROGRAM="+program(t), ".").Succeed(t)
		},
		start: func(t *testing.T, l *launch) {
			l.call(t, name, program(t))
			l.argv = append([]string{cmake(t), "--build", l.prepared}, strings.Fields(option)...)
		},
	}
}

// dpkg is dpkg-buildpackage with debhelper, both of which give make a -j.
func dpkg(t *testing.T, l *launch) {
	need.Tool(t, "dh")
	l.dir = filepath.Join(l.dir, "package") // what is built is put beside it
	if err := os.CopyFS(l.dir, os.DirFS(filepath.Join("testdata", "package"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(l.dir, "debian", "rules"), 0o755); err != nil {
		t.Fatal(err)
	}
	cFiles(t, l.dir)
	l.countCompilers(t)
	l.argv = []string{"dpkg-buildpackage", "-b", "-us", "-uc"}
}
