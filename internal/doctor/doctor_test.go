package doctor

import (
	"slices"
	"strings"
	"testing"

	"steve/internal/ctl"
	"steve/internal/pool"
	"steve/internal/programs"
)

func path(p string) Jobserver { return Jobserver{Auth: "fifo:" + p, File: File{Path: p}} }

func in(s State, j Jobserver) Jobserver {
	j.State = s
	return j
}

func program(kind programs.Kind, path string, version ...int) programs.Program {
	p := programs.Program{Path: path, Kind: kind}
	for i, n := range []*int{&p.Version.Major, &p.Version.Minor, &p.Version.Patch} {
		if i < len(version) {
			*n = version[i]
		}
	}
	return p
}

var (
	make43   = program(programs.Make, "/usr/bin/make", 4, 3)
	make44   = program(programs.Make, "/usr/bin/make", 4, 4, 1)
	ninja111 = program(programs.Ninja, "/usr/bin/ninja", 1, 11, 1)
	ninja113 = program(programs.Ninja, "/usr/bin/ninja", 1, 13, 2)
	ninja114 = program(programs.Ninja, "/usr/bin/ninja", 1, 14)
	ctest331 = program(programs.CTest, "/usr/bin/ctest", 3, 31, 6)
	ctest325 = program(programs.CTest, "/usr/bin/ctest", 3, 25, 1)
	gcc12    = program(programs.GCC, "/usr/bin/gcc", 12, 2)
)

// well is a machine with nothing wrong: steve serves a device, and MAKEFLAGS names it.
func well() Facts {
	device := File{
		Path: "/dev/steve", State: Steve, Form: programs.CharDevice,
		Status: ctl.Status{Limits: pool.Limits{Jobs: 8}, Free: 5},
	}
	return Facts{
		Env:      map[string]string{"MAKEFLAGS": "--jobserver-auth=fifo:/dev/steve"},
		Used:     device,
		Root:     device,
		Make:     Jobserver{"fifo:/dev/steve", device},
		CUSE:     true,
		Programs: []programs.Program{make44, ninja114, ctest331},
	}
}

func TestWell(t *testing.T) {
	for name, change := range map[string]func(*Facts){
		"as it should be":      func(*Facts) {},
		"nothing in MAKEFLAGS": func(f *Facts) { f.Make = Jobserver{}; delete(f.Env, "MAKEFLAGS") },
		"one job":              func(f *Facts) { f.Env["NINJAOPTS"] = "-j1"; f.Env["CMAKE_BUILD_PARALLEL_LEVEL"] = "1" },
		"a load limit": func(f *Facts) {
			f.Env["MAKEFLAGS"] += " -l8"
			f.Env["NINJAOPTS"] = "-l8"
			f.Env["MAKEOPTS"] = "-j8 -l8"
		},
		"CARGO_MAKEFLAGS the same": func(f *Facts) { f.Env["CARGO_MAKEFLAGS"] = f.Env["MAKEFLAGS"]; f.Cargo = f.Make },
		"stevie for make 4.3": func(f *Facts) {
			f.Env["MAKEFLAGS"], f.Env["CARGO_MAKEFLAGS"] = "--jobserver-auth=8,8", "--jobserver-auth=fifo:/dev/steve"
			f.Make, f.Cargo = Jobserver{"8,8", File{Path: "8,8", State: Steve}}, f.Make
			f.Programs = []programs.Program{make43}
		},
		"stevie with a bridge": func(f *Facts) {
			f.Make = in(Bridge, path("/run/user/7/steve-bridge/fifo"))
			f.Programs = []programs.Program{ninja113}
		},
		"another name for no jobserver": func(f *Facts) { f.Make = Jobserver{}; f.Env["CARGO_MAKEFLAGS"] = "" },
	} {
		f := well()
		change(&f)
		found := Examine(f)
		if Sick(found) || slices.ContainsFunc(found, func(f Finding) bool { return f.Severity != OK }) {
			t.Errorf("%s: %+v", name, found)
		}
		if found[0].ID != "steve" || !strings.Contains(found[0].Text, "8 tokens at /dev/steve, a character device; 5 are available") {
			t.Errorf("%s: first is %+v", name, found[0])
		}
	}
}

// No program of these would take a character device: a word, but nothing to do.
func TestCUSE(t *testing.T) {
	f := well()
	f.Used.Form, f.CUSE, f.Make, f.Programs = programs.RegularFile, false, Jobserver{}, []programs.Program{make43, ninja113}
	found := Examine(f)
	i := slices.IndexFunc(found, func(f Finding) bool { return f.ID == "cuse-missing" })
	if i < 0 || found[i].Severity != OK || Sick(found) {
		t.Errorf("%+v", found)
	}
	f.CUSE = true
	if slices.ContainsFunc(Examine(f), func(f Finding) bool { return f.ID == "cuse-missing" }) {
		t.Error("CUSE is missing, and there")
	}
}

// TestFaults plants each fault and wants it named, and nothing else.
func TestFaults(t *testing.T) {
	setenv := func(name, value string) func(*Facts) { return func(f *Facts) { f.Env[name] = value } }
	used := func(file File) func(*Facts) {
		return func(f *Facts) { f.Used, f.Make = file, Jobserver{}; f.Env = map[string]string{} }
	}
	names := func(j Jobserver) func(*Facts) { return func(f *Facts) { f.Make = j } }
	without := func(name, value string) func(*Facts) { // a jobserver in MAKEFLAGS
		return func(f *Facts) { f.Make = Jobserver{}; f.Env = map[string]string{name: value} }
	}
	has := func(p programs.Program) func(*Facts) { return func(f *Facts) { f.Programs = []programs.Program{p} } }
	fuse := func(p programs.Program) func(*Facts) {
		return func(f *Facts) {
			f.Used.Form, f.CUSE, f.Programs = programs.RegularFile, false, []programs.Program{p}
			f.Make = Jobserver{}
		}
	}

	for _, tt := range []struct {
		name     string
		plant    func(*Facts)
		id       string
		severity Severity
		text     string // part of the finding's
		fix      string // part of its fix
	}{
		{"-j in MAKEFLAGS", without("MAKEFLAGS", "k -j8"), "makeflags-jobs", Problem, "MAKEFLAGS has -j8", "unset MAKEFLAGS"},
		{"-j among letters", without("MAKEFLAGS", "kj8"), "makeflags-jobs", Problem, "-j8", "unset MAKEFLAGS"},
		{"-j without a number", without("MAKEFLAGS", "--jobs"), "makeflags-jobs", Problem, "--jobs", "unset MAKEFLAGS"},
		{"-j beside a jobserver", setenv("MAKEFLAGS", "-j8 --jobserver-auth=fifo:/dev/steve"), "makeflags-jobs", Note, "does nothing", "take it out"},
		{"-j in GNUMAKEFLAGS", without("GNUMAKEFLAGS", "-j4"), "gnumakeflags-jobs", Problem, "GNUMAKEFLAGS has -j4", "unset GNUMAKEFLAGS"},
		{"-j in MAKEOPTS", without("MAKEOPTS", "-j6 -l6"), "makeopts-jobs", Problem, "MAKEOPTS has -j6", "fifo:/dev/steve"},
		{"-j in MAKEOPTS for ninja", setenv("MAKEOPTS", "-j6 -l6"), "makeopts-jobs", Problem, "ninja", "NINJAOPTS=-l"},
		{"-j in NINJAOPTS", setenv("NINJAOPTS", "-v -j 16"), "ninjaopts-jobs", Problem, "NINJAOPTS has -j 16", "NINJAOPTS=-l"},
		{"-j in NINJAFLAGS", setenv("NINJAFLAGS", "-j16"), "ninjaflags-jobs", Note, "does not read it", "unset NINJAFLAGS"},
		{"-j by CMake", setenv("CMAKE_BUILD_PARALLEL_LEVEL", "4"), "cmake-jobs", Problem, "-j4", "by stevie"},
		{"-j by CMake, without a number", setenv("CMAKE_BUILD_PARALLEL_LEVEL", ""), "cmake-jobs", Problem, "-j,", "unset"},
		{"-j by cargo", setenv("CARGO_BUILD_JOBS", "4"), "cargo-jobs", Note, "CARGO_BUILD_JOBS=4 does nothing", "by stevie"},
		{"-j by debhelper", setenv("DEB_BUILD_OPTIONS", "nocheck parallel=4"), "deb-jobs", Note, "-j4", "stevie dpkg-buildpackage"},

		{"no steve", used(File{Path: "/dev/steve", Problem: "unable to open /dev/steve: No such file or directory"}),
			"steve-missing", Problem, "No such file", "start steve"},
		{"no steve at STEVE_DEVICE", func(f *Facts) {
			used(File{Path: "/nowhere"})(f)
			f.Env["STEVE_DEVICE"] = "/nowhere"
		}, "steve-missing", Problem, "no steve", "unset STEVE_DEVICE"},
		{"another driver's device", used(File{Path: "/dev/tty1", State: Device, Problem: "not a steve token file"}),
			"steve-missing", Problem, "not a steve token file", "start steve"},
		{"not permitted", used(File{Path: "/dev/steve", State: Denied, Problem: "Permission denied", Hint: "group jobserver may: usermod -aG jobserver USER"}),
			"steve-denied", Problem, "Permission denied", "usermod -aG jobserver"},
		{"a dead steve", used(File{Path: "/dev/steve", State: Dead, Problem: "Transport endpoint is not connected"}),
			"steve-dead", Problem, "not connected", "start steve again"},
		{"a stopped steve", used(File{Path: "/dev/steve", State: Hung}), "steve-hung", Problem, "does not answer", "ps "},
		{"a plain file for a device", used(File{Path: "/dev/steve", State: Plain}), "device-plain", Problem, "ordinary file", "rm /dev/steve"},
		{"a plain file beside the user's own", func(f *Facts) {
			f.Root = File{Path: "/dev/steve", State: Plain}
			f.Used.Path = "/run/steve"
			f.Make.Path = "/run/steve"
		},
			"device-plain", Problem, "/dev/steve is no device", "rm /dev/steve"},
		{"no CUSE", fuse(ninja114), "cuse-missing", Note, "ninja 1.14", "modprobe cuse"},

		{"a stale path", names(in(Missing, path("/tmp/GMfifo7"))), "makeflags-stale", Problem, "fifo:/tmp/GMfifo7, which does not exist", "unset MAKEFLAGS"},
		{"a stale FIFO", names(in(Unserved, path("/tmp/GMfifo7"))), "makeflags-stale", Problem, "nobody serves", "unset MAKEFLAGS"},
		{"a stale device", names(in(Dead, path("/dev/other"))), "makeflags-stale", Problem, "server is gone", "unset MAKEFLAGS"},
		{"another jobserver", names(in(Foreign, path("/tmp/GMfifo7"))), "makeflags-other", Problem, "another jobserver, fifo:/tmp/GMfifo7", "stevie"},
		{"another steve", names(in(Steve, path("/dev/other"))), "makeflags-other", Problem, "/dev/other", "STEVE_DEVICE"},
		{"a plain file in MAKEFLAGS", names(in(Plain, path("/tmp/x"))), "makeflags-plain", Problem, "/tmp/x", "unset MAKEFLAGS"},
		{"one not permitted in MAKEFLAGS", names(in(Denied, path("/tmp/x"))), "makeflags-denied", Problem, "/tmp/x", "unset MAKEFLAGS"},
		{"closed descriptors", names(Jobserver{"3,4", File{Path: "3,4", State: Closed}}), "makeflags-closed", Problem, "3,4, which are not open", "+"},
		{"CARGO_MAKEFLAGS of another", func(f *Facts) { f.Env["CARGO_MAKEFLAGS"] = "x"; f.Cargo = in(Foreign, path("/tmp/c")) },
			"cargo-makeflags", Problem, "names fifo:/tmp/c", "unset CARGO_MAKEFLAGS"},
		{"an empty CARGO_MAKEFLAGS", setenv("CARGO_MAKEFLAGS", ""), "cargo-makeflags", Problem, "names no jobserver", "unset CARGO_MAKEFLAGS"},

		{"make 4.3 and a path", has(make43), "make-path", Problem, "make 4.3 (/usr/bin/make) stops at once", "make 4.4"},
		{"ninja 1.13 and a device", has(ninja113), "ninja-device", Problem, "ninja 1.13.2 (/usr/bin/ninja) takes only a FIFO", "by stevie"},
		{"ninja 1.11", has(ninja111), "ninja-clientless", Problem, "ninja 1.11.1 (/usr/bin/ninja) knows no jobserver", "1.13"},
		{"ninja 1.11 below stevie", func(f *Facts) { has(ninja111)(f); f.Make = Jobserver{} }, "ninja-clientless", Note, "knows no jobserver", "by stevie"},
		{"ctest 3.25", has(ctest325), "ctest-clientless", Note, "ctest 3.25.1", "CMake 3.29"},
		{"gcc 12 and a path", has(gcc12), "gcc-path", Note, "gcc 12.2", "GCC 13"},

		{"sccache's server", func(f *Facts) { f.Sccache = []int{4711} }, "sccache-server", Problem, "pid 4711", "--stop-server"},
		{"sccache to come", setenv("RUSTC_WRAPPER", "/usr/bin/sccache"), "sccache-wrapper", Note, "RUSTC_WRAPPER", "unset RUSTC_WRAPPER"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := well()
			tt.plant(&f)
			all := Examine(f)
			found := slices.DeleteFunc(slices.Clone(all), func(f Finding) bool { return f.Severity == OK })
			if len(found) != 1 {
				t.Fatalf("%d findings, want one: %+v", len(found), found)
			}
			got := found[0]
			if got.ID != tt.id || got.Severity != tt.severity || !strings.Contains(got.Text, tt.text) || !strings.Contains(got.Fix, tt.fix) {
				t.Errorf("got  %+v\nwant %+v", got, tt)
			}
			if Sick(all) != (tt.severity == Problem) {
				t.Errorf("sick is %t", Sick(all))
			}
			if all[0] != got {
				t.Errorf("the first is %+v, want what is wrong", all[0])
			}
		})
	}
}

func TestPrint(t *testing.T) {
	found := []Finding{problem("a", "x is wrong", "do y"), ok("b", "z is <well>")}
	var text, json strings.Builder
	if err := Text(&text, found); err != nil {
		t.Fatal(err)
	}
	if want := "problem: x is wrong\n    to do: do y\nok: z is <well>\n"; text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
	if err := JSON(&json, found); err != nil {
		t.Fatal(err)
	}
	const want = `{
  "schema": 1,
  "ok": false,
  "findings": [
    {
      "id": "a",
      "severity": "problem",
      "text": "x is wrong",
      "fix": "do y"
    },
    {
      "id": "b",
      "severity": "ok",
      "text": "z is <well>",
      "fix": null
    }
  ]
}
`
	if json.String() != want {
		t.Errorf("got\n%s\nwant\n%s", json.String(), want)
	}
}
