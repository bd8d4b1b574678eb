package programs

import "testing"

func TestKindOf(t *testing.T) {
	for name, want := range map[string]Kind{
		"make": Make, "/usr/bin/gmake": Make, "gnumake": Make, "make-4.4": Make, "make-4.4.1": Make, "cmake": CMake,
		"ninja": Ninja, "ninja-build": Ninja, "samu": Ninja, "ninja-1.13": Ninja,
		"cargo": Cargo, "cargo-clippy": Other, "rustc": Rustc,
		"gcc": GCC, "gcc-14": GCC, "x86_64-linux-gnu-gcc": GCC, "x86_64-linux-gnu-g++-13": GCC, "c++": GCC, "gcc-ar": Other,
		"clang-22": LLVM, "clang++": LLVM, "clang-linker-wrapper": LLVM, "aarch64-linux-gnu-clang": LLVM, "clang-format": Other,
		"dpkg-buildpackage": Debian, "debuild": Debian, "rpmbuild": RPM, "meson": Meson, "emerge": Emerge, "pytest-3": Pytest,
		"sh": Other, "": Other, "make.sh": Other, "my-make": Other,
	} {
		if got := KindOf(name); got != want {
			t.Errorf("KindOf(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestAccepts(t *testing.T) {
	const fifo, char, file, descriptors = 1 << FIFO, 1 << CharDevice, 1 << RegularFile, 1 << Descriptors
	const path, all = fifo | char | file, fifo | char | file | descriptors
	for _, tt := range []struct {
		kind       Kind
		version    Version
		want       int
		clientless bool
	}{
		{kind: Make, version: Version{4, 3, 0}, want: descriptors},
		{kind: Make, version: Version{3, 82, 0}, want: descriptors},
		{kind: Make, version: Version{4, 4, 0}, want: all},
		{kind: Make, version: Version{5, 0, 0}, want: all},
		{kind: Make, want: all},
		{kind: Ninja, version: Version{1, 12, 1}, clientless: true},
		{kind: Ninja, clientless: true},
		{kind: Ninja, version: Version{1, 13, 0}, want: fifo},
		{kind: Ninja, version: Version{1, 13, 2}, want: fifo},
		{kind: Ninja, version: Version{1, 14, 0}, want: fifo | char},
		{kind: Cargo, want: path},
		{kind: Rustc, want: path},
		{kind: CTest, version: Version{3, 28, 4}, clientless: true},
		{kind: CTest, version: Version{3, 31, 6}, want: all},
		{kind: GCC, version: Version{12, 2, 0}, want: descriptors},
		{kind: GCC, version: Version{13, 1, 0}, want: all},
		{kind: LLVM, version: Version{21, 1, 0}},
		{kind: LLVM, version: Version{22, 1, 8}, want: fifo | descriptors},
		{kind: Pytest, want: all},
		{kind: Emerge, want: path},
		{kind: CMake}, {kind: Meson}, {kind: Debian}, {kind: RPM}, {kind: Other},
	} {
		p := Program{Kind: tt.kind, Version: tt.version}
		got := 0
		for _, f := range []Form{FIFO, CharDevice, RegularFile, Descriptors} {
			if p.Accepts(f) {
				got |= 1 << f
			}
		}
		if got != tt.want {
			t.Errorf("kind %d, version %v: accepts %04b, want %04b", tt.kind, tt.version, got, tt.want)
		}
		if got := p.Clientless(); got != tt.clientless {
			t.Errorf("kind %d, version %v: clientless is %v", tt.kind, tt.version, got)
		}
	}
}

func TestString(t *testing.T) {
	for want, p := range map[string]Program{
		"ninja 1.13.2": {Path: "/usr/bin/ninja", Version: Version{1, 13, 2}},
		"make 4.3":     {Path: "make", Version: Version{4, 3, 0}},
		"cargo":        {Path: "/usr/bin/cargo"},
	} {
		if got := p.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
