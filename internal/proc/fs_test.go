package proc

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// write makes a proc file system of files, by path below its root.
func write(t *testing.T, files map[string]string) FS {
	t.Helper()
	root := t.TempDir()
	for name, data := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return FS(root)
}

func TestCommandLine(t *testing.T) {
	tests := []struct{ name, cmdline, comm, want string }{
		{"arguments", "make\x00-j\x00DESTDIR=/tmp/a b\x00", "make", "make -j DESTDIR=/tmp/a b"},
		{"empty argument", "sh\x00\x00x\x00", "sh", "sh  x"},
		{"written over", "nginx: master\x00\x00\x00\x00", "nginx", "nginx: master"},
		{"kernel thread", "", "kworker/0:1\n", "[kworker/0:1]"},
		{"zombie with a bad name", "", "a\x1b[2J\n", `[a\x1b[2J]`},
		{"longest name", "", strings.Repeat("\x01", 64) + "\n", "[" + strings.Repeat(`\x01`, 29) + "…"},
		{"nothing but NUL", "\x00\x00", "odd\n", "[odd]"},
		{"control bytes", "a\tb\n\x1b[31m\x7f\x00", "a", `a\x09b\x0a\x1b[31m\x7f`},
		{"invalid UTF-8", "\xff\xc3(\xe2\x82\x00", "a", `\xff\xc3(\xe2\x82`},
		{"UTF-8", "größer €\x00", "a", "größer €"},
		{"C1 control and direction", "a\u009bb\u202ec\x00", "a", `a\xc2\x9bb\xe2\x80\xaec`},
		{"just fits", strings.Repeat("x", 120) + "\x00", "x", strings.Repeat("x", 120)},
		{"too long", strings.Repeat("x", 121) + "\x00", "x", strings.Repeat("x", 117) + "…"},
		{"far too long", strings.Repeat("x", 100000), "x", strings.Repeat("x", 117) + "…"},
		{"cut before an escape", strings.Repeat("x", 115) + "\x1bxxx", "x", strings.Repeat("x", 115) + "…"},
		{"cut before a letter", strings.Repeat("x", 116) + "€€", "x", strings.Repeat("x", 116) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs := write(t, map[string]string{"7/cmdline": tt.cmdline, "7/comm": tt.comm})
			got, err := fs.CommandLine(7)
			if got != tt.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	if _, err := write(t, nil).CommandLine(7); err != ErrGone {
		t.Errorf("no process: %v, want ErrGone", err)
	}
}

func TestCommandLineOfProcess(t *testing.T) {
	p := start(t)
	if got, err := Root.CommandLine(p.pid); got != "/proc/self/exe helper" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	p.kill()
	table, _ := newTable(t, 0)
	watch(t, table, caller(t, table, p.pid))
	exited(t, table) // from here on it is a zombie
	if got, err := Root.CommandLine(p.pid); got != "[exe]" || err != nil {
		t.Errorf("zombie: %q, %v", got, err)
	}
	p.reap()
	if got, err := Root.CommandLine(p.pid); err != ErrGone {
		t.Errorf("reaped: %q, %v, want ErrGone", got, err)
	}
}

// What is printed fits, is printable, and short plain text is left as it is.
func FuzzPrintable(f *testing.F) {
	f.Add([]byte("make -j8"))
	f.Add([]byte("\x1b[31m\xff€"))
	f.Add([]byte(strings.Repeat("€", 41)))
	f.Fuzz(func(t *testing.T, in []byte) {
		out := printable(in)
		if len(out) > commandLineMax || !utf8.ValidString(out) {
			t.Fatalf("%q has %d bytes", out, len(out))
		}
		plain := utf8.Valid(in)
		for _, r := range string(in) {
			plain = plain && unicode.IsPrint(r)
		}
		if plain && len(in) <= commandLineMax && out != string(in) {
			t.Fatalf("%q becomes %q", in, out)
		}
		for _, r := range out {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q contains %U", out, r)
			}
		}
	})
}

func TestStatus(t *testing.T) {
	const begin = "Name:\tmake\\nTgid:\\t1\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t40\nNgid:\t0\nPid:\t41\nPPid:\t1\n"
	tests := []struct {
		name, status string
		want         int
		ok           bool
	}{
		{"usual", begin + "TracerPid:\t0\n", 40, true},
		{"longer than the buffer", begin + strings.Repeat("x", 10000), 40, true},
		{"missing", "Name:\tmake\nPid:\t41\n", 0, false},
		{"empty", "", 0, false},
		{"no number", "Tgid:\tx\n", 0, false},
		{"negative", "Tgid:\t-4\n", 0, false},
		{"cut", "Tgid:\t4", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs := write(t, map[string]string{"41/status": tt.status})
			got, err := fs.status(41, "Tgid:")
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("got %d, %v; want %d, ok %v", got, err, tt.want, tt.ok)
			}
		})
	}
}

func TestStartTime(t *testing.T) {
	const end = " S 1 7 7 0 -1 4194560 97 0 0 0 0 0 0 0 20 0 1 0 18446744073709551615 2494464 208 18\n"
	tests := []struct {
		name, stat string
		ok         bool
	}{
		{"usual", "7 (cat)" + end, true},
		{"blanks and parentheses in the name", "7 (a) S 1 (b c)" + end, true},
		{"line end in the name", "7 (a)\nb)" + end, true},
		{"longer than the buffer", "7 (cat)" + end + strings.Repeat("1 ", 5000), true},
		{"empty", "", false},
		{"no name", "7" + end[:20], false},
		{"too short", "7 (cat) S 1 7 7 0 -1 4194560 97 0 0 0 0 0 0 0 20 0 1 0", false},
		{"cut", "7 (cat) S 1 7 7 0 -1 4194560 97 0 0 0 0 0 0 0 20 0 1 0 123", false},
		{"no number", "7 (cat) S 1 7 7 0 -1 4194560 97 0 0 0 0 0 0 0 20 0 1 0 -5 2494464\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := write(t, map[string]string{"7/stat": tt.stat}).StartTime(7)
			if (err == nil) != tt.ok || tt.ok && got != math.MaxUint64 {
				t.Errorf("got %d, %v; want ok %v", got, err, tt.ok)
			}
		})
	}
	if _, err := write(t, nil).StartTime(7); err != ErrGone {
		t.Errorf("no process: %v, want ErrGone", err)
	}
}

func TestStartTimeOfProcess(t *testing.T) {
	p := start(t)
	want := field22(t, p.pid)
	check := func(what string) {
		t.Helper()
		if got, err := Root.StartTime(p.pid); got != want || err != nil {
			t.Errorf("%s: %d, %v, want %d", what, got, err, want)
		}
	}
	check("running")
	p.ask(t, "name a) S 1 (b c")
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.pid)); string(b) != "a) S 1 (b c\n" {
		t.Errorf("the name is %q, %v", b, err)
	}
	check("renamed")
	p.ask(t, "leave")
	check("without a main thread")
	p.kill()
	check("ending")
	p.reap()
	if got, err := Root.StartTime(p.pid); err != ErrGone {
		t.Errorf("reaped: %d, %v, want ErrGone", got, err)
	}
}

func TestAncestors(t *testing.T) {
	files := map[string]string{}
	for child, parent := range map[int]int{40: 30, 30: 20, 20: 1, 1: 0, 50: 49} {
		files[strconv.Itoa(child)+"/status"] = fmt.Sprintf("Name:\tx\nPPid:\t%d\n", parent)
	}
	fs := write(t, files)
	tests := []struct {
		pid, limit int
		want       []int
	}{
		{40, 10, []int{30, 20, 1}},
		{40, 2, []int{30, 20}},
		{40, 0, nil},
		{1, 10, nil},
		{50, 10, []int{49}}, // 49 is gone
		{60, 10, nil},
	}
	for _, tt := range tests {
		if got := fs.Ancestors(tt.pid, tt.limit); !slices.Equal(got, tt.want) {
			t.Errorf("Ancestors(%d, %d) = %v, want %v", tt.pid, tt.limit, got, tt.want)
		}
	}
	if _, err := fs.Parent(60); err != ErrGone {
		t.Errorf("Parent of no process: %v, want ErrGone", err)
	}
	if got := Root.Ancestors(start(t).pid, 2); !slices.Equal(got, []int{os.Getpid(), os.Getppid()}) {
		t.Errorf("a child of this process has ancestors %v", got)
	}
}

func TestVisible(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string // in the error; "" is none
	}{
		{"all", map[string]string{"self/status": "", "1/status": "Name:\tinit\n"}, ""},
		{"hidden", map[string]string{"self/status": ""}, "hidepid=0"},
		{"not mounted", nil, "mount proc on"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := write(t, tt.files).Visible()
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want a line with %q", err, tt.want)
			}
		})
	}
}
