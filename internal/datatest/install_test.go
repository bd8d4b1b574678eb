package datatest

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"steve/internal/testkit/need"
)

// root is the top of the source tree.
const root = "../.."

// scratch is removed when all tests are done. The tests share what sourceCopy and staged put there, and only read it.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "steve-datatest-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	return m.Run()
}

// sourceCopy is a copy of the source tree as a packager has it: nothing built, the modules vendored, no network.
var sourceCopy = sync.OnceValues(func() (string, error) {
	dst := filepath.Join(scratch, "source")
	top := os.DirFS(root)
	err := fs.WalkDir(top, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == ".git" || path == "bin"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(dst, path), 0o755)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := fs.ReadFile(top, path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dst, path), b, info.Mode().Perm())
	})
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dst, "vendor")); errors.Is(err, fs.ErrNotExist) {
		if err := output(dst, []string{"GOFLAGS=-mod=mod"}, "go", "mod", "vendor"); err != nil {
			return "", err
		}
	}
	return dst, nil
})

// staged is the tree that "make install" leaves under DESTDIR, for the directories of a distribution's package.
var staged = sync.OnceValues(func() (string, error) {
	dst := filepath.Join(scratch, "staged")
	return dst, makeTarget("install", "DESTDIR="+dst, "PREFIX=/usr")
})

// makeTarget runs make in the copy of the source, with a umask that would show in every mode left to it.
func makeTarget(args ...string) error {
	src, err := sourceCopy()
	if err != nil {
		return err
	}
	return output(src, []string{"GOFLAGS=-mod=vendor"}, "sh", append([]string{"-c", `umask 077; exec make "$@"`, "sh"}, args...)...)
}

// output runs a program without network for go and without the variables of a make above; its output is in the error.
func output(dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		switch key, _, _ := strings.Cut(v, "="); key {
		case "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "GNUMAKEFLAGS", "DESTDIR", "PREFIX", "SYSCONFDIR", "BINDIR":
		default:
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(append(cmd.Env, "GOPROXY=off", "GOWORK=off"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// install returns the staged tree.
func install(t *testing.T) string {
	t.Helper()
	need.Tool(t, "make")
	dir, err := staged()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// files lists the files below dir, each as "mode /path".
func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		list = append(list, fmt.Sprintf("%#o %s", info.Mode().Perm(), strings.TrimPrefix(path, dir)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestInstallFiles(t *testing.T) {
	got := strings.Join(files(t, install(t)), "\n")
	want := strings.TrimSpace(`
0644 /etc/conf.d/steve
0755 /etc/init.d/steve
0644 /etc/sandbox.d/90steve
0755 /usr/bin/steve
0755 /usr/bin/stevie
0644 /usr/lib/modules-load.d/steve.conf
0644 /usr/lib/systemd/system/steve-fuse.service
0644 /usr/lib/systemd/system/steve.service
0644 /usr/lib/sysusers.d/steve.conf
0644 /usr/lib/udev/rules.d/60-steve.rules
0644 /usr/share/doc/steve/CHANGELOG.md
0644 /usr/share/doc/steve/LICENSE
0644 /usr/share/doc/steve/PROTOCOL.md
0644 /usr/share/doc/steve/README.md
0644 /usr/share/man/man1/stevie.1
0644 /usr/share/man/man8/steve.8`)
	if got != want {
		t.Errorf("make install left\n%s\nwant\n%s", got, want)
	}
}

func TestInstallStatic(t *testing.T) {
	dir := install(t)
	for _, name := range []string{"steve", "stevie"} {
		path := filepath.Join(dir, "usr/bin", name)
		f, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s is not static: it has a %v segment", name, p.Type)
			}
		}
		if err := output(dir, nil, path, "--version"); err != nil {
			t.Error(err)
		}
	}
}

func TestInstallFillsPlaceholders(t *testing.T) {
	dir := install(t)
	placeholder := regexp.MustCompile(`@[A-Z]+@`)
	for _, sub := range []string{"etc", "usr/lib", "usr/share"} {
		for _, line := range files(t, filepath.Join(dir, sub)) {
			_, path, _ := strings.Cut(line, " ")
			b, err := os.ReadFile(filepath.Join(dir, sub, path))
			if err != nil {
				t.Fatal(err)
			}
			if m := placeholder.Find(b); m != nil {
				t.Errorf("%s/%s still has %s", sub, path, m)
			}
		}
	}
}

func TestInstallAgainAndUninstall(t *testing.T) {
	staging := install(t)
	for _, tt := range []struct {
		name string
		conf string // what the administrator has in conf.d/steve; "" is the file as installed
		left string // after uninstall
	}{
		{"conf as installed", "", ""},
		{"conf changed", "STEVE_OPTS=\"--jobs=3\"\n", "0644 /etc/conf.d/steve"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(staging)); err != nil {
				t.Fatal(err)
			}
			conf := filepath.Join(dir, "etc/conf.d/steve")
			if tt.conf != "" {
				if err := os.WriteFile(conf, []byte(tt.conf), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			before, err := os.ReadFile(conf)
			if err != nil {
				t.Fatal(err)
			}
			if err := makeTarget("install", "DESTDIR="+dir, "PREFIX=/usr"); err != nil {
				t.Fatal(err)
			}
			if after, err := os.ReadFile(conf); err != nil || string(after) != string(before) {
				t.Errorf("conf.d/steve after a second install: %q, %v; want %q", after, err, before)
			}
			if err := makeTarget("uninstall", "DESTDIR="+dir, "PREFIX=/usr"); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(files(t, dir), "\n"); got != tt.left {
				t.Errorf("make uninstall left %q, want %q", got, tt.left)
			}
		})
	}
}
