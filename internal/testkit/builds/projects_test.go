package builds

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"steve/internal/testkit/guest"
	"steve/internal/testkit/jobs"
	"steve/internal/testkit/need"
)

// A project is real source, built by a client in its own way.
type project struct {
	name string
	// stevie says that it is built by way of stevie, with a token for the implicit slot of its client. Otherwise the
	// client runs one job beside those that it has tokens for.
	stevie bool
	// tree puts the source into dir.
	tree func(t *testing.T, dir string)
	// build is the command, with "stevie" and "make-4.4" for those that the tests bring.
	build []string
	// try is a shell command that fails unless what was built works.
	try string
}

// projects are all that are built at the same time. In a guest, where a process costs ten times what it does on the
// host, they are smaller.
func projects() []project {
	zlib := project{
		name:  "zlib",
		tree:  source("zlib"),
		build: []string{"make-4.4", "CFLAGS=-O0", "libz.a", "example"},
		try:   "./example",
	}
	gzip := project{ // by a make for each of its directories
		name:  "gzip",
		tree:  source("gzip"),
		build: []string{"make-4.4", "CFLAGS=-O0"},
		try:   "./gzip -c configure | ./gzip -dc | cmp - configure",
	}
	cargo := project{
		name:  "cargo",
		tree:  cargoProject("walkdir", "itertools", "rayon"),
		build: []string{"cargo", "build", "--offline"},
		try:   "target/debug/project | grep -x 2",
	}
	lua := project{
		name:   "lua",
		stevie: true,
		tree:   source("lua5.4"),
		build:  []string{"stevie", "make", "-j8", "-C", "src", "CFLAGS=-O0 -DLUA_USE_LINUX", "linux"},
		try:    `src/lua -e 'assert(load("return 6 * 7")() == 42)'`,
	}
	if guest.Inside() {
		gzip.tree, gzip.build = preparedGzip, append(gzip.build, "gzip")
		cargo.tree = cargoProject("walkdir", "either", "scopeguard", "unicode-ident")
		return []project{zlib, gzip, cargo, lua}
	}
	const lib = "make-4.4 -C src/liblzma CFLAGS=-O0 LIBTOOLFLAGS=--tag=disable-shared"
	const program = "make-4.4 -C src/xz CFLAGS=-O0"
	xz := project{
		name:   "xz",
		stevie: true,
		tree:   source("xz-utils"),
		build:  []string{"stevie", "run", "--", "sh", "-c", lib + " && " + program},
		try:    "src/xz/xz -c configure | src/xz/xz -dc | cmp - configure",
	}
	return []project{zlib, gzip, cargo, lua, xz}
}

// source returns a function that copies a source tree. The times of files are kept, or it would be configured anew.
func source(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		jobs.Run(t, "cp", "-a", need.Source(t, name)+"/.", dir)
	}
}

// preparedGzip copies a gzip whose library is there, see prepareGzip.
func preparedGzip(t *testing.T, dir string) {
	t.Helper()
	need.Source(t, "gzip")
	need.Client(t, "make-4.4")
	jobs.Run(t, "cp", "-a", filepath.Join(jobs.Tools(t), "gzip")+"/.", dir)
}

// prepareGzip builds the library in a gzip among the tools: it is many small files, half of them made by the shell.
func prepareGzip(t *testing.T) {
	dir := filepath.Join(jobs.Tools(t), "gzip")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	source("gzip")(t, dir)
	for _, args := range [][]string{{"-C", "lib", "CFLAGS=-O0"}, {"version.c", "version.h"}} {
		jobs.Start(t, dir, nil, append([]string{make44(t)}, args...)...).Succeed(t)
	}
}

// cargoProject returns a function that writes a project that depends on these crates, and on what they depend on. They
// have walkdir among them.
func cargoProject(crates ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		jobs.WriteFile(t, filepath.Join(dir, ".cargo", "config.toml"), `
[source.crates-io]
replace-with = "tests"
[source.tests]
directory = "`+filepath.Join(need.Source(t, "cargo"), "crates")+`"
`)
		jobs.WriteFile(t, filepath.Join(dir, "Cargo.toml"), `
[package]
name = "project"
version = "0.1.0"
edition = "2021"
[dependencies]
`+strings.Join(crates, " = \"*\"\n")+" = \"*\"\n")
		jobs.WriteFile(t, filepath.Join(dir, "src", "main.rs"), `
fn main() {
    println!("{}", walkdir::WalkDir::new("src").into_iter().count());
}
`)
	}
}

// path is the environment in which the commands of projects are found: gcc and rustc are counted in slots.
func path(t *testing.T, slots *jobs.Counter) []string {
	t.Helper()
	dir := jobs.Tools(t)
	bin := t.TempDir()
	for name, target := range map[string]string{
		"make-4.4": need.Client(t, "make-4.4"),
		"stevie":   filepath.Join(dir, "stevie"),
		"gcc":      filepath.Join(dir, "slot"),
	} {
		if err := os.Symlink(target, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"),
		slots.Env(),
		"RUSTC_WRAPPER=" + filepath.Join(dir, "slot"),
		"CARGO_PROFILE_DEV_DEBUG=0",
	}
}

// tryOut runs what was built.
func (p project) tryOut(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command("sh", "-ec", p.try)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %s: %v\n%s", p.name, strings.TrimSpace(p.try), err, out)
	}
}
