package need_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"steve/internal/testkit/need"
)

// recorder is a test that notes how it was ended first, and goes on.
type recorder struct {
	testing.TB
	ended string
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) { r.end("skip: " + fmt.Sprintf(format, args...)) }

func (r *recorder) Fatalf(format string, args ...any) { r.end("fail: " + fmt.Sprintf(format, args...)) }

func (r *recorder) end(how string) {
	if r.ended == "" {
		r.ended = how
	}
}

func TestNeeds(t *testing.T) {
	cache := t.TempDir()
	make44 := filepath.Join(cache, "clients/make-4.4/usr/bin/make")
	wrapper := filepath.Join(cache, "clients/clang-linker-wrapper-22/usr/bin/clang-linker-wrapper")
	zlib := filepath.Join(cache, "source/zlib")
	guest := filepath.Join(cache, "guest/6.1")
	qemu := filepath.Join(cache, "guest/qemu-6.12")
	for _, dir := range []string{make44, wrapper, zlib, guest, qemu} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/no/such/program", filepath.Join(qemu, "qemu")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STEVE_TEST_CACHE", cache)
	tests := []struct {
		name    string
		need    func(t testing.TB) string
		want    string
		missing string // how the reason begins; "" if the need is met
	}{
		{"client", func(t testing.TB) string { return need.Client(t, "make-4.4") }, make44, ""},
		{"client with dashes", func(t testing.TB) string { return need.Client(t, "clang-linker-wrapper-22") }, wrapper, ""},
		{"source", func(t testing.TB) string { return need.Source(t, "zlib") }, zlib, ""},
		{"guest", func(t testing.TB) string { return need.Guest(t, "6.1") }, guest, ""},
		{"no client", func(t testing.TB) string { return need.Client(t, "ninja-1.13") }, "", "client ninja-1.13: "},
		{"no source", func(t testing.TB) string { return need.Source(t, "gzip") }, "", "source of gzip: "},
		{"no guest", func(t testing.TB) string { return need.Guest(t, "newest") }, "", "guest kernel newest: "},
		{"guest without QEMU", func(t testing.TB) string { return need.Guest(t, "qemu-6.12") }, "", "guest kernel qemu-6.12: "},
		{"no tool", func(t testing.TB) string { return need.Tool(t, "no-such-tool") }, "", "no-such-tool on PATH"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for strict, verb := range map[string]string{"": "skip", "1": "fail"} {
				t.Setenv("STEVE_TEST_STRICT", strict)
				r := &recorder{TB: t}
				got := tt.need(r)
				if tt.missing == "" {
					if got != tt.want || r.ended != "" {
						t.Errorf("got %q, ended %q; want %q", got, r.ended, tt.want)
					}
				} else if want := verb + ": missing: " + tt.missing; !strings.HasPrefix(r.ended, want) {
					t.Errorf("strict %q: ended %q, want %q…", strict, r.ended, want)
				}
			}
		})
	}
}

func TestCacheDefault(t *testing.T) {
	t.Setenv("STEVE_TEST_CACHE", "")
	t.Setenv("XDG_CACHE_HOME", "/home/someone/.cache")
	if got, want := need.Cache(), "/home/someone/.cache/steve-test"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
