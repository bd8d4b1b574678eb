package makeflags

import (
	"slices"
	"strings"
	"testing"
)

// cases are values of MAKEFLAGS, what Compose makes of them (AUTH stands for the jobserver), and what a make given the
// result then says of itself: its own MAKEFLAGS without the jobserver, and the variable X. Of unclear ones make is not
// asked: they fail, or differ between versions.
var cases = []struct {
	value, want string
	flags, x    string
	unclear     bool
}{
	{value: "", want: "--jobserver-auth=AUTH", flags: ""},
	{value: " \t\n ", want: "--jobserver-auth=AUTH", flags: ""},

	// A first word without its dash.
	{value: "k", want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: "kj8", want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: " kj8", want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: "j8", want: "--jobserver-auth=AUTH", flags: ""},
	{value: "j8k", want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: "j8-k", want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: "kj 4", want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: "n", want: "-n --jobserver-auth=AUTH", flags: "n"},
	{value: " n", want: "-n --jobserver-auth=AUTH", flags: "n"},
	{value: "ks -j3", want: "-ks --jobserver-auth=AUTH", flags: "ks"},
	{value: `\k`, want: `-\k --jobserver-auth=AUTH`, flags: "k"},

	// Job counts.
	{value: "-j", want: "--jobserver-auth=AUTH", flags: ""},
	{value: "-j ", want: "--jobserver-auth=AUTH", flags: ""},
	{value: "-j8", want: "--jobserver-auth=AUTH", flags: ""},
	{value: "-j 4 -k", want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: "-j -k", want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: "-kj8s", want: "-ks --jobserver-auth=AUTH", flags: "ks"},
	{value: "-kj 4 -s", want: "-k -s --jobserver-auth=AUTH", flags: "ks"},
	{value: `-k\j8`, want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: "--jobs --jobs=4 --jobs 4", want: "--jobserver-auth=AUTH", flags: ""},

	// A j that is none: in an argument, in a variable.
	{value: "-Ij4 -I -j4 -I j", want: "-Ij4 -I -j4 -I j --jobserver-auth=AUTH", flags: "-Ij4 -I-j4 -Ij"},
	{value: "-kIj4", want: "-kIj4 --jobserver-auth=AUTH", flags: "k -Ij4"},
	{value: "--include-dir -j4", want: "--include-dir -j4 --jobserver-auth=AUTH", flags: "-I-j4"},
	{value: "--include-d=-j4", want: "--include-d=-j4 --jobserver-auth=AUTH", flags: "-I-j4"},
	{value: "--debug=j -s", want: "--debug=j -s --jobserver-auth=AUTH", flags: "s --debug=j"},
	{value: " -- X=-j", want: "--jobserver-auth=AUTH -- X=-j", flags: "-- X=-j", x: "-j"},
	{value: `k -j2 -- X=a\ -j4`, want: `-k --jobserver-auth=AUTH -- X=a\ -j4`, flags: `k -- X=a\ -j4`, x: "a -j4"},

	// Other jobservers.
	{value: "--jobserver-fds=3,4 -j", want: "--jobserver-auth=AUTH", flags: ""},
	{value: "--jobserver-auth=fifo:/x", want: "--jobserver-auth=AUTH", flags: ""},
	{value: "--jobserver-auth fifo:/x -k", want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: "--jobserver-a=3,4 -k", want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: "w -j2 --jobserver-auth=3,4 --jobserver-auth=-2,-2", want: "-w --jobserver-auth=AUTH", flags: "w"},
	{value: "k -- X=1 --jobserver-auth=fifo:/x", want: "-k --jobserver-auth=AUTH -- X=1", flags: "k -- X=1", x: "1"},

	// Numbers that belong to something else.
	{value: "-l2.5", want: "-l2.5 --jobserver-auth=AUTH", flags: "-l2.5"},
	{value: "-l 2.5 -j4", want: "-l 2.5 --jobserver-auth=AUTH", flags: "-l2.5"},
	{value: "-l -j4", want: "-l --jobserver-auth=AUTH", flags: ""},
	{value: "--max 2.5 -j4", want: "--max 2.5 --jobserver-auth=AUTH", flags: "-l2.5"},

	// Everything else stays.
	{value: "--no-print-directory", want: "--no-print-directory --jobserver-auth=AUTH", flags: "--no-print-directory"},
	{value: "-Otarget -k\t-s", want: "-Otarget -k -s --jobserver-auth=AUTH", flags: "ks -Otarget"},
	{value: "-O", want: "-O --jobserver-auth=AUTH", flags: "-Otarget"},
	{value: "-k - -s", want: "-k -s --jobserver-auth=AUTH -- -", unclear: true},
	{value: `\-k`, want: "-k --jobserver-auth=AUTH", flags: "k"},

	// Variables go behind the options, wherever they stood.
	{value: "X=1 -k", want: "-k --jobserver-auth=AUTH -- X=1", flags: "k -- X=1", x: "1"},
	{value: "k X=1 -j4", want: "-k --jobserver-auth=AUTH -- X=1", flags: "k -- X=1", x: "1"},
	{value: "X=n", want: "--jobserver-auth=AUTH -- X=n", flags: "-- X=n", x: "n"},
	{value: `X=b$$c`, want: `--jobserver-auth=AUTH -- X=b$$c`, unclear: true},
	{value: "X=1 --", want: "--jobserver-auth=AUTH -- X=1", flags: "-- X=1", x: "1"},
	{value: "-k --", want: "-k --jobserver-auth=AUTH", flags: "k"},

	// What make refuses must not take the jobserver for its argument, nor its blank for a part of a word.
	{value: "-k -I", want: "-k --jobserver-auth=AUTH", flags: "k"},
	{value: "-s -- X=a\\", want: "-s --jobserver-auth=AUTH -- X=a\\\\", flags: `s -- X=a\\`, x: `a\`},
	{value: "-Ia\\", want: "-Ia\\\\ --jobserver-auth=AUTH", flags: `-Ia\\`},
}

func TestCompose(t *testing.T) {
	for _, tt := range cases {
		if got := Compose(tt.value, "AUTH"); got != tt.want {
			t.Errorf("Compose(%q) = %q, want %q", tt.value, got, tt.want)
		}
		clean := strings.TrimSpace(strings.Replace(tt.want, "--jobserver-auth=AUTH", "", 1))
		clean = strings.Replace(clean, "  ", " ", 1)
		if got := Clean(tt.value); got != clean {
			t.Errorf("Clean(%q) = %q, want %q", tt.value, got, clean)
		}
	}
}

func TestAuth(t *testing.T) {
	for value, want := range map[string]string{
		"":                         "",
		"kj8":                      "",
		"--jobserver-auth=fifo:/x": "fifo:/x",
		"--jobserver-auth fifo:/x": "fifo:/x",
		"k --jobserver-auth=fifo:/x --jobserver-fds=3,4": "3,4",
		"-I --jobserver-auth=fifo:/x":                    "",
		"-k -- --jobserver-auth=fifo:/x":                 "",
		`--jobserver-auth=fifo:/a\ b`:                    "fifo:/a b",
	} {
		if got := Auth(value); got != want {
			t.Errorf("Auth(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestJobs(t *testing.T) {
	for value, want := range map[string][]string{
		"":                          nil,
		"kj8 -- X=-j4":              {"-j8"},
		" -j1 --no-print-directory": {"-j1"},
		"-kj 4 -I -j5 --jobs":       {"-j 4", "--jobs"},
	} {
		if got := Jobs(value); !slices.Equal(got, want) {
			t.Errorf("Jobs(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestStripJobs(t *testing.T) {
	for _, tt := range []struct{ args, kept, removed []string }{
		{args: nil},
		{args: []string{"all", "-k"}, kept: []string{"all", "-k"}},
		{args: []string{"-j8", "all"}, kept: []string{"all"}, removed: []string{"-j8"}},
		{args: []string{"all", "-j", "8"}, kept: []string{"all"}, removed: []string{"-j 8"}},
		{args: []string{"-j", "all"}, kept: []string{"all"}, removed: []string{"-j"}},
		{args: []string{"-kj8"}, kept: []string{"-k"}, removed: []string{"-j8"}},
		{args: []string{"-kj", "8", "x"}, kept: []string{"-k", "x"}, removed: []string{"-j 8"}},
		{args: []string{"--jobs", "8", "--jobs=3"}, removed: []string{"--jobs 8", "--jobs=3"}},
		{args: []string{"-f", "-j8", "-C", "j8"}, kept: []string{"-f", "-j8", "-C", "j8"}},
		{args: []string{"-l2", "-l", "2"}, kept: []string{"-l2", "-l", "2"}},
		{args: []string{"X=a b", "--", "-j8"}, kept: []string{"X=a b", "--", "-j8"}},
		{args: []string{"--jobserver-auth=3,4", "-f"}, kept: []string{"--jobserver-auth=3,4", "-f"}},
	} {
		kept, removed := StripJobs(tt.args)
		if !slices.Equal(kept, tt.kept) || !slices.Equal(removed, tt.removed) {
			t.Errorf("StripJobs(%q) = %q, %q, want %q, %q", tt.args, kept, removed, tt.kept, tt.removed)
		}
	}
}

func FuzzCompose(f *testing.F) {
	for _, tt := range cases {
		f.Add(tt.value)
	}
	const auth = "fifo:/dev/steve"
	f.Fuzz(func(t *testing.T, value string) {
		composed := Compose(value, auth)
		if !strings.HasPrefix(composed, "-") {
			t.Errorf("%q begins with a bare word", composed)
		}
		var servers []string
		for _, w := range scan(split(composed)) {
			switch {
			case w.kind == jobserver:
				servers = append(servers, w.arg)
			case w.kind == dangling, w.jobs != "":
				t.Errorf("%q has %+v", composed, w)
			}
		}
		if !slices.Equal(servers, []string{auth}) {
			t.Errorf("%q has the jobservers %q", composed, servers)
		}
		if again := Compose(composed, auth); again != composed {
			t.Errorf("%q composed again is %q", composed, again)
		}
		if clean := Clean(value); Clean(composed) != clean || Compose(clean, auth) != composed {
			t.Errorf("%q and %q, without and with the jobserver, differ in more than that", clean, composed)
		}
	})
}
