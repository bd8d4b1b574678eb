package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"steve/internal/testkit/need"
)

// A project is real source, built by one command.
type project struct {
	name   string
	source string // of scripts/setup-tests
	// prepare is a shell script that leaves a tree in which only the build is missing. It runs once, where the builds will.
	prepare string
	// build is the client and its arguments, without a -j.
	build []string
	// try is a shell command that fails unless what was built works.
	try string
}

var (
	zstd = project{
		name:   "zstd",
		source: "libzstd",
		prepare: `cmake -S build/cmake -B out -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O1 \
			-DZSTD_BUILD_SHARED=OFF -DZSTD_LEGACY_SUPPORT=OFF`,
		build: []string{"ninja", "-C", "out", "zstd"},
		try:   "out/programs/zstd -qc CHANGELOG | out/programs/zstd -qdc | cmp - CHANGELOG",
	}
	// Core utilities and shells only, so that it takes about as long as the others.
	busybox = project{
		name:   "busybox",
		source: "busybox",
		prepare: `make defconfig
			sed -i -e '/^# Archival/,/^# Coreutils/s/=y/=n/' -e '/^# Console/,/^# Shells/s/=y/=n/' .config
			yes '' | make oldconfig`,
		build: []string{"make", "SKIP_STRIP=y"},
		try:   "test `./busybox expr 6 '*' 7` = 42",
	}
	xz = project{
		name:   "xz",
		source: "xz-utils",
		build:  []string{"make", "CFLAGS=-O1", "LIBTOOLFLAGS=--tag=disable-shared"},
		try:    "src/xz/xz -c configure | src/xz/xz -dc | cmp - configure",
	}
	crates = project{
		name:   "cargo",
		source: "cargo",
		prepare: `echo 'fn main() { println!("{}", walkdir::WalkDir::new("src").into_iter().count()) }' >src/main.rs
			printf '\n[profile.dev]\ndebug = 0\n' >>Cargo.toml`,
		build: []string{"cargo", "build", "--offline"},
		try:   "target/debug/project | grep -x 2",
	}
	zlib = project{
		name:   "zlib",
		source: "zlib",
		build:  []string{"make", "CFLAGS=-O2", "libz.a", "example"},
		try:    "./example",
	}
	small = project{
		name:   "zlib",
		source: "zlib",
		build:  []string{"make", "CFLAGS=-O0", "libz.a", "example"},
		try:    "./example",
	}
)

// A site is where a project is built: always in the same directory, for the trees know theirs.
type site struct {
	project
	dir  string
	tree string // a prepared copy
}

// prepareSites makes a tree of each project, in dir.
func prepareSites(ctx context.Context, p programs, dir string, projects []project) ([]site, error) {
	var sites []site
	for i, project := range projects {
		name := fmt.Sprintf("%s-%d", project.name, i)
		s := site{project, filepath.Join(dir, "build", name), filepath.Join(dir, "tree", name)}
		source, err := cached("source", project.source)
		if err != nil {
			return nil, err
		}
		if err := copyTree(source, s.dir); err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, "sh", "-ec", project.prepare)
		cmd.Dir, cmd.Env = s.dir, p.environment()
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("preparing %s: %w\n%s", project.name, err, last(out))
		}
		if err := os.MkdirAll(filepath.Dir(s.tree), 0o755); err != nil {
			return nil, err
		}
		if err := os.Rename(s.dir, s.tree); err != nil {
			return nil, err
		}
		sites = append(sites, s)
	}
	return sites, nil
}

// renew makes a site's directory as it was prepared.
func (s site) renew() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	return copyTree(s.tree, s.dir)
}

// tryOut runs what was built.
func (s site) tryOut() error {
	cmd := exec.Command("sh", "-ec", s.try)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s was built, but %s: %w\n%s", s.name, s.try, err, last(out))
	}
	return nil
}

// copyTree copies a directory to a new one. The times of files are kept, or they would be configured anew.
func copyTree(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", "--reflink=auto", from+"/.", to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w\n%s", err, last(out))
	}
	return nil
}

// cached is a path in the cache that scripts/setup-tests fills.
func cached(elem ...string) (string, error) {
	path := filepath.Join(append([]string{need.Cache()}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w, run scripts/setup-tests", err)
	}
	return path, nil
}

// last is the end of what a program said.
func last(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
