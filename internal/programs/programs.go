// Package programs knows the programs that are jobserver clients, or run some: which jobservers each accepts, in which
// version, and how a job count is taken out of its arguments.
//
// It looks at programs and decides nothing: what a command is given is up to package client, what is wrong with a machine
// to its doctor.
package programs

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// A Kind is what a program is as far as jobservers go, by its name. The zero Kind is any other program.
type Kind int

// The kinds up to Emerge are jobserver clients, in some version. Those behind it are not, but run such.
const (
	Other Kind = iota
	Make
	Ninja
	Cargo
	Rustc
	CTest
	GCC
	LLVM
	Pytest
	Emerge
	CMake
	Meson
	Debian // dpkg-buildpackage and what wraps it
	RPM
)

// names are base names without a version behind ("-4.4") or a target before ("x86_64-linux-gnu-").
var names = map[string]Kind{
	"make": Make, "gmake": Make, "gnumake": Make,
	"ninja": Ninja, "ninja-build": Ninja, "samu": Ninja,
	"cargo": Cargo,
	"rustc": Rustc,
	"ctest": CTest, "ctest3": CTest,
	"gcc": GCC, "g++": GCC, "cc": GCC, "c++": GCC, "gfortran": GCC,
	"clang": LLVM, "clang++": LLVM, "clang-linker-wrapper": LLVM,
	"pytest": Pytest, "py.test": Pytest,
	"emerge": Emerge,
	"cmake":  CMake, "cmake3": CMake,
	"meson":             Meson,
	"dpkg-buildpackage": Debian, "debuild": Debian,
	"rpmbuild": RPM,
}

var versionSuffix = regexp.MustCompile(`-[0-9]+(\.[0-9]+)*$`)

// KindOf tells what a program is from the name it is called by, with or without a directory.
func KindOf(name string) Kind {
	base := versionSuffix.ReplaceAllString(filepath.Base(name), "")
	if k, ok := names[base]; ok {
		return k
	}
	// A compiler for a target: "aarch64-linux-gnu-gcc".
	if i := strings.LastIndexByte(base, '-'); i >= 0 {
		if k := names[base[i+1:]]; k == GCC || k == LLVM {
			return k
		}
	}
	return Other
}

// A Form is a way to hand a jobserver to a program.
type Form int

// Forms.
const (
	FIFO        Form = iota // fifo:PATH, the path of a real FIFO
	CharDevice              // fifo:PATH, the path of a character device
	RegularFile             // fifo:PATH, the path of a regular file, which can be polled
	Descriptors             // R,W, inherited descriptors of files of any of these types
)

// A Program is one that is installed.
type Program struct {
	Path string
	Kind Kind
	// Version is what it says of itself, zero where it does not, or was not asked since nothing depends on it.
	Version Version
}

// A Version is the first three numbers of a program's version.
type Version struct{ Major, Minor, Patch int }

// Known says whether there is a version at all.
func (v Version) Known() bool { return v != Version{} }

// String is the version as it is mostly written: without a patch level of 0.
func (v Version) String() string {
	if v.Patch == 0 {
		return fmt.Sprintf("%d.%d", v.Major, v.Minor)
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
}

// Before says whether v is known and comes before the version given.
func (v Version) Before(major, minor, patch int) bool {
	switch {
	case !v.Known():
		return false
	case v.Major != major:
		return v.Major < major
	case v.Minor != minor:
		return v.Minor < minor
	}
	return v.Patch < patch
}

// String names p for a user: "ninja 1.13.2".
func (p Program) String() string {
	name := filepath.Base(p.Path)
	if p.Version.Known() {
		name += " " + p.Version.String()
	}
	return name
}

// Accepts says whether p is a client of a jobserver that it is handed in the form f. A program of which no version is
// known is taken for a recent one, save ninja: of things by that name only its own recent versions are clients.
func (p Program) Accepts(f Form) bool {
	v := p.Version
	switch p.Kind {
	case Make:
		// src/posixos.c: before 4.4 jobserver_parse_auth ends the program on "fifo:"; since then it opens what is there.
		return f == Descriptors || !v.Before(4, 4, 0)
	case Ninja:
		// src/jobserver-posix.cc, which there is since 1.13.0: a path only, and S_ISFIFO up to 1.13.2. Then also S_ISCHR.
		switch {
		case !v.Known() || v.Before(1, 13, 0):
			return false
		case v.Before(1, 13, 3):
			return f == FIFO
		}
		return f == FIFO || f == CharDevice
	case Cargo, Rustc:
		// The crate jobserver, src/unix.rs: a path of anything. Descriptors only of FIFOs; rustc 1.95 falls back to 32 jobs.
		return f != Descriptors
	case CTest:
		// Source/CTest/cmUVJobServerClient.cxx, since 3.29: whatever can be polled.
		return !v.Before(3, 29, 0)
	case GCC:
		// gcc/opts-common.cc: since 13 also "fifo:", unlooked at.
		return f == Descriptors || !v.Before(13, 0, 0)
	case LLVM:
		// llvm/lib/Support/Unix/Jobserver.inc, since 22: a FIFO, or descriptors.
		return (f == FIFO || f == Descriptors) && !v.Before(22, 0, 0)
	case Pytest:
		// pytest-jobserver since 1.1; before that a FIFO only. Not asked: it is a plugin, maybe of another Python's.
		return true
	case Emerge:
		// Portage, lib/_emerge/Scheduler.py: a path, opened and polled.
		return f != Descriptors
	}
	return false
}

// Clientless says whether p would run jobs side by side without being a client of any jobserver, because it is too old or
// no real ninja.
func (p Program) Clientless() bool {
	return (p.Kind == Ninja || p.Kind == CTest) && !p.Accepts(FIFO)
}
