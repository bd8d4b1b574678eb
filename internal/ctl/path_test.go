package ctl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"steve/internal/testkit/need"
)

func TestUserDir(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.Mkdir(at("mine"), 0o700),
		os.Mkdir(at("a,b"), 0o700),
		os.Mkdir(at("shared"), 0o700),
		os.Chmod(at("shared"), 0o770),
		os.WriteFile(at("file"), nil, 0o600),
		os.Symlink("mine", at("link")),
	); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	fallback := fmt.Sprintf("/tmp/steve-%d", os.Geteuid())
	for xdg, want := range map[string]string{
		at("mine"):       at("mine"),
		at("mine") + "/": at("mine"),
		"":               fallback,
		"mine":           fallback, // relative
		at("none"):       fallback,
		at("file"):       fallback,
		at("link"):       fallback,
		at("shared"):     fallback,
		at("a,b"):        fallback,
	} {
		t.Setenv("XDG_RUNTIME_DIR", xdg)
		if got := UserDir(); got != want {
			t.Errorf("XDG_RUNTIME_DIR=%q: %q, want %q", xdg, got, want)
		}
	}
}

// TestUserDirOfAnother is about what sudo -E leaves behind.
func TestUserDirOfAnother(t *testing.T) {
	need.Root(t)
	const nobody = 65534
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if got, want := UserDir(), "/tmp/steve-0"; got != want {
		t.Errorf("%q, want %q: the other directory is someone else's", got, want)
	}
}

func TestCheckPath(t *testing.T) {
	for path, want := range map[string]bool{
		"/dev/steve": true, "/run/user/1000/steve-2": true, "/tmp/ünicode": true,
		"/a b": false, "/a\tb": false, "/a\x01b": false, "/a,b": false, "/a$b": false, "/a#b": false,
		`/a\b`: false, `/a"b`: false, "/a'b": false,
	} {
		if err := CheckPath(path); (err == nil) != want {
			t.Errorf("%q: %v", path, err)
		}
	}
}
