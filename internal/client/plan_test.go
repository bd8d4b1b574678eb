package client

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"steve/internal/programs"
)

// program is one of that name and version, "ninja 1.13.2".
func program(t *testing.T, s string) programs.Program {
	t.Helper()
	if s == "" {
		return programs.Program{}
	}
	name, version, _ := strings.Cut(s, " ")
	p := programs.Program{Path: "/usr/bin/" + name, Kind: programs.KindOf(name)}
	v := &p.Version
	for i, field := range strings.Split(version, ".") {
		for _, digit := range field {
			n := []*int{&v.Major, &v.Minor, &v.Patch}[i]
			*n = *n*10 + int(digit-'0')
		}
	}
	return p
}

func TestPlan(t *testing.T) {
	const (
		file   = programs.RegularFile
		device = programs.CharDevice
		old    = "make 4.3"
		recent = "make 4.4.1"
		strict = "ninja 1.13.2"
		mute   = "ninja 1.11.1"
		later  = "ninja 1.14"
	)
	never, always, keep, shims := wishes{bridge: BridgeNever}, wishes{bridge: BridgeAlways}, wishes{keepJobs: true}, wishes{shims: true}
	for _, tt := range []struct {
		command           string // name, version, arguments behind " : "
		tool, make, ninja string // tool only of a cmake
		node              programs.Form
		embedded          bool
		wishes            wishes
		want              plan   // without args and messages
		args              string // if other than the command's
		said              string // part of the only message; none if empty
	}{
		// Clients, taken at their word.
		{command: recent + " : all", node: file},
		{command: recent + " : -j8 all", node: device, args: "all", said: "dropped -j8 from the arguments of make,"},
		{command: recent + " : -j1 all", node: device},
		{command: recent + " : -j8 all", node: device, wishes: keep},
		{command: old + " : all", node: file, want: plan{descriptors: true}},
		{command: old + " : all", node: device, wishes: always, want: plan{bridge: true, descriptors: true}},
		{command: old + " : all", embedded: true, wishes: never, want: plan{bridge: true, descriptors: true}},
		{command: recent, embedded: true, want: plan{bridge: true}},
		{command: "cargo : build -j8", make: recent, ninja: strict, node: device},
		{command: "cargo : build", make: old, ninja: mute, node: device, want: plan{descriptors: true, shims: true, pair: true}, said: "make 4.3 would not survive the jobserver that cargo hands on"},
		{command: "cargo : build", make: old, node: device, wishes: keep, want: plan{descriptors: true}},
		{command: "rustc : x.rs", node: file},
		{command: "ctest 3.31.6 : -j8", make: recent, ninja: strict, node: file},
		{command: "ctest 3.31.6 : -j8", make: old, node: file, want: plan{descriptors: true}},
		{command: "gcc 12.2 : -flto=jobserver", make: recent, node: device, want: plan{descriptors: true}},
		{command: "gcc 14.2 : -flto=jobserver", make: recent, node: device},
		{command: "gcc 14.2 : -flto=jobserver", make: old, node: device, want: plan{descriptors: true}},
		{command: "emerge : x", node: device},

		// ninja.
		{command: strict, node: device, want: plan{bridge: true}, said: "ninja 1.13.2 takes no character device for a jobserver,"},
		{command: strict, node: file, want: plan{bridge: true}, said: "ninja 1.13.2 takes no regular file for a jobserver,"},
		{command: strict, node: device, wishes: always, want: plan{bridge: true}},
		{command: strict, node: device, wishes: never, want: plan{lease: 6}},
		{command: strict + " : -j3", node: device, wishes: never, want: plan{lease: 3}},
		{command: strict + " : -j1", node: device, wishes: never},
		{command: strict, node: device, wishes: wishes{bridge: BridgeNever, keepJobs: true}, said: "ninja 1.13.2 is no client of this jobserver and runs jobs of its own (--keep-j)"},
		{command: strict, embedded: true, wishes: never, want: plan{bridge: true}},
		{command: later, node: device},
		{command: later, node: file, want: plan{bridge: true}, said: "ninja 1.14 takes no regular file"},
		{command: mute, node: device, want: plan{lease: 6}},
		{command: mute + " : -j0", node: device, want: plan{lease: 1 << 20}},
		{command: mute + " : -j1", node: device},
		{command: mute + " : -j8", node: device, wishes: keep, said: "(--keep-j)"},
		{command: mute, embedded: true, want: plan{bridge: true, lease: 6}},
		{command: mute + " : -t clean", node: device},
		{command: mute, make: old, node: device, want: plan{descriptors: true, lease: 6}},
		{command: later, make: old, node: device, want: plan{shims: true, pair: true}, said: "make 4.3 would not survive the jobserver that ninja hands on"},
		{command: later, make: recent, node: device},

		// LLVM, a client if told to be one.
		{command: "clang-22 22.1 : --offload-jobs=jobserver", node: device, want: plan{bridge: true}, said: "clang-22 22.1 takes no character device"},
		{command: "clang-linker-wrapper : --wrapper-jobs=jobserver", node: file, want: plan{bridge: true}, said: "takes no regular file"},
		{command: "clang-22 22.1 : -c x.c", node: device},
		{command: "clang 21.1 : --offload-jobs=jobserver", node: device},

		// Others run what is on PATH.
		{command: "sh : build.sh", node: device},
		{command: "sh : build.sh", make: recent, ninja: later, node: device},
		{command: "sh : build.sh", make: recent, ninja: mute, node: device},
		{command: "sh : build.sh", make: recent, ninja: strict, node: device, want: plan{bridge: true}, said: "ninja 1.13.2 takes no character device"},
		{command: "sh : build.sh", make: recent, ninja: strict, node: device, wishes: never, said: "ninja 1.13.2 is no client of this jobserver and runs jobs of its own (--bridge=never)"},
		{command: "sh : build.sh", make: old, node: device, want: plan{descriptors: true}},
		{command: "sh : build.sh", make: old, ninja: mute, node: device, want: plan{descriptors: true}},
		{command: "sh : build.sh", make: old, ninja: later, node: device, want: plan{descriptors: true, shims: true, pair: true}, said: "make 4.3 and ninja 1.14 take different forms"},
		{command: "sh : build.sh", make: old, ninja: later, node: device, wishes: keep, want: plan{descriptors: true}},
		{command: "sh : build.sh", make: old, ninja: strict, embedded: true, want: plan{bridge: true, descriptors: true, shims: true, pair: true}, said: "take different forms"},
		{command: "sh : build.sh", make: recent, node: device, wishes: shims, want: plan{shims: true}},
		{command: "nice : make -j8", make: recent, node: device},

		// Builders.
		{command: "dpkg-buildpackage : -b -j8", make: old, ninja: mute, node: device, want: plan{descriptors: true, shims: true, pair: true}, said: "make and ninja are called without the -j that dpkg-buildpackage gives them"},
		{command: "debuild", make: recent, node: device, want: plan{shims: true}, said: "without the -j that debuild gives"},
		{command: "rpmbuild : -ba x.spec", make: recent, node: device, want: plan{shims: true}, said: "without the -j that rpmbuild gives"},
		{command: "rpmbuild : -ba x.spec", make: recent, node: device, wishes: keep},
		{command: "cmake : --build b -j8", make: recent, node: device, args: "--build b", said: "dropped -j8 from the arguments of cmake"},
		{command: "cmake : --build b", ninja: strict, node: device, want: plan{bridge: true}, said: "ninja 1.13.2 takes no character device"},
		{command: "cmake : --build b", tool: strict, make: recent, node: device, want: plan{bridge: true}, said: "ninja 1.13.2 takes no character device"},
		{command: "cmake : --build b -j8", tool: later, make: recent, node: device, args: "--build b", said: "dropped -j8"},
		{command: "cmake : --build b -j8", tool: mute, make: old, node: device, want: plan{descriptors: true, lease: 8}},
		{command: "cmake : --build b -j1", tool: mute, node: device},
		{command: "cmake : --build b", tool: old, node: device, want: plan{descriptors: true}},
		{command: "cmake : -B b", make: old, ninja: mute, node: device, want: plan{descriptors: true}},
		{command: "meson : compile", make: recent, ninja: mute, node: device, want: plan{shims: true}, said: "ninja 1.11.1 is no client of this jobserver"},
	} {
		name, args, _ := strings.Cut(tt.command, " : ")
		s := sight{
			command:   program(t, name),
			args:      strings.Fields(args),
			tool:      program(t, tt.tool),
			make:      program(t, tt.make),
			ninja:     program(t, tt.ninja),
			cpus:      4,
			tokenFile: tt.node,
			embedded:  tt.embedded,
		}
		if k := s.command.Kind; k == programs.Make || k == programs.Ninja {
			s.tool = s.command
		}
		got := s.plan(tt.wishes)
		want := tt.want
		want.args = s.args
		if tt.args != "" {
			want.args = strings.Fields(tt.args)
		}
		if !slices.Equal(got.args, want.args) || got.bridge != want.bridge || got.descriptors != want.descriptors ||
			got.shims != want.shims || got.pair != want.pair || got.lease != want.lease {
			t.Errorf("%+v: %+v, want %+v", tt, got, want)
		}
		switch {
		case tt.said == "" && len(got.messages) == 0:
		case tt.said != "" && len(got.messages) == 1 && strings.Contains(got.messages[0], tt.said):
		default:
			t.Errorf("%+v: said %q, want %q", tt, got.messages, tt.said)
		}
	}
}

func TestLeased(t *testing.T) {
	ninja := program(t, "ninja 1.11.1")
	s := sight{command: ninja, tool: ninja, args: []string{"-j8", "-C", "b"}, cpus: 4}
	p := s.plan(wishes{})
	args, message := p.leased(3)
	if want := []string{"-j3", "-C", "b"}; !slices.Equal(args, want) || p.lease != 8 {
		t.Errorf("%q of %d, want %q of 8", args, p.lease, want)
	}
	if !strings.HasPrefix(message, "ninja 1.11.1 is no client of this jobserver and gets -j3,") {
		t.Error(message)
	}
}

// TestSee looks at a machine with one make, ninja and compiler.
func TestSee(t *testing.T) {
	dir := t.TempDir()
	for name, says := range map[string]string{
		"make": "GNU Make 4.3", "ninja-build": "1.13.2", "other/ninja": "1.12.1", "gcc": "gcc (x) 14.2.0",
		"build.sh": "", "cmake": "", "cargo": "", "rustc": "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+says+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cache := "CMAKE_MAKE_PROGRAM:FILEPATH=" + dir + "/other/ninja\n"
	if err := os.WriteFile(filepath.Join(dir, "CMakeCache.txt"), []byte(cache), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for _, tt := range []struct {
		args              []string
		tool, make, ninja string
	}{
		{args: []string{"build.sh"}, make: "make 4.3", ninja: "ninja-build 1.13.2"},
		{args: []string{"cargo", "build"}, make: "make 4.3", ninja: "ninja-build 1.13.2"},
		{args: []string{"gcc", "x.c"}, make: "make 4.3"},
		{args: []string{"make", "all"}, tool: "make 4.3"},
		{args: []string{"ninja-build"}, tool: "ninja-build 1.13.2", make: "make 4.3"},
		{args: []string{"cmake", "--build", dir}, tool: "ninja 1.12.1", make: "make 4.3"},
		{args: []string{"rustc"}},
		{args: []string{"cmake", "-B", dir}, make: "make 4.3", ninja: "ninja-build 1.13.2"},
	} {
		s := see(filepath.Join(dir, tt.args[0]), tt.args)
		if nameOf(s.tool) != tt.tool || nameOf(s.make) != tt.make || nameOf(s.ninja) != tt.ninja {
			t.Errorf("%q: %+v, want %q, %q and %q", tt.args, s, tt.tool, tt.make, tt.ninja)
		}
		if s.command.Path != filepath.Join(dir, tt.args[0]) || !slices.Equal(s.args, tt.args[1:]) || s.cpus < 1 {
			t.Errorf("%q: %+v", tt.args, s)
		}
	}
}

func nameOf(p programs.Program) string {
	if p == (programs.Program{}) {
		return ""
	}
	return p.String()
}
