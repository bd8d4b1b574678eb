package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	type values struct {
		jobs    int
		load    float64
		verbose bool
		rest    []string
	}
	for _, tt := range []struct {
		args []string
		want values
		err  string
	}{
		{args: []string{"-j6"}, want: values{jobs: 6}},
		{args: []string{"-j", "6"}, want: values{jobs: 6}},
		{args: []string{"--jobs=6"}, want: values{jobs: 6}},
		{args: []string{"--jobs", "6"}, want: values{jobs: 6}},
		{args: []string{"--jo", "6"}, want: values{jobs: 6}},
		{args: []string{"-j010"}, want: values{jobs: 10}},
		{args: []string{"-j", "-6"}, want: values{jobs: -6}},
		{args: []string{"--verb"}, want: values{verbose: true}},
		{args: []string{"-vj6"}, want: values{jobs: 6, verbose: true}},
		{args: []string{"--load-average", "-1"}, want: values{load: -1}},
		{args: []string{"--load-a", "2.5"}, want: values{load: 2.5}},
		// --load is a name of its own though it begins another.
		{args: []string{"--load"}, want: values{}},
		{args: []string{"-v", "make", "-j6"}, want: values{verbose: true, rest: []string{"make", "-j6"}}},
		{args: []string{"--", "-v"}, want: values{rest: []string{"-v"}}},
		{args: []string{"--ver"}, err: "option --ver is ambiguous: --verbose, --version"},
		{args: []string{"--ver=1"}, err: "option --ver is ambiguous: --verbose, --version"},
		{args: []string{"--verb", "--nosuch"}, err: "unknown option --nosuch, see prog --help"},
		{args: []string{"-vx"}, err: "unknown option -x, see prog --help"},
		{args: []string{"--jobs"}, err: "option --jobs needs a value"},
		{args: []string{"-vj"}, err: "option -j needs a value"},
		{args: []string{"-j", "six"}, err: `--jobs: "six" is not a whole number, or too large`},
		{args: []string{"-j="}, err: `--jobs: "=" is not a whole number, or too large`},
		{args: []string{"-j0x10"}, err: `--jobs: "0x10" is not a whole number, or too large`},
		{args: []string{"-j1_0"}, err: `--jobs: "1_0" is not a whole number, or too large`},
		{args: []string{"-j99999999999999999999"}, err: `--jobs: "99999999999999999999" is not a whole number, or too large`},
		{args: []string{"--load-average=x"}, err: `--load-average: "x" is not a number`},
		{args: []string{"--verbose=maybe"}, err: "--verbose: takes no value"},
		{args: []string{"--name", "a/b"}, err: "--name: no slash, please"},
	} {
		t.Run(fmt.Sprint(tt.args), func(t *testing.T) {
			var got values
			f := NewFlagSet("prog")
			f.SetOutput(failWriter{t})
			f.VarP(Decimal(&got.jobs), "jobs", "j", "")
			f.Float64Var(&got.load, "load-average", 0, "")
			f.Bool("load", false, "")
			f.BoolVarP(&got.verbose, "verbose", "v", false, "")
			f.BoolP("version", "V", false, "")
			f.Func("name", "", func(string) error { return errors.New("no slash, please") })

			err := f.Parse(tt.args)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got.rest = f.Args()
			if got.jobs != tt.want.jobs || got.load != tt.want.load || got.verbose != tt.want.verbose || !slices.Equal(got.rest, tt.want.rest) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// An option that is used wrongly is named in full, whatever the user wrote.
func TestOptionError(t *testing.T) {
	for _, arg := range []string{"--jo", "-j", "--jo=x", "-jx"} {
		f := NewFlagSet("prog")
		f.VarP(Decimal(new(int)), "jobs", "j", "")
		var option *OptionError
		if err := f.Parse([]string{arg}); !errors.As(err, &option) || option.Name != "jobs" {
			t.Errorf("%s: error %#v, want one of --jobs", arg, err)
		}
	}
}

// failWriter fails the test when pflag prints by itself.
type failWriter struct{ t *testing.T }

func (w failWriter) Write(p []byte) (int, error) {
	w.t.Errorf("printed %q", p)
	return len(p), nil
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{io.EOF, 2},
		{Errorf(125, "no server: %w", io.EOF), 125},
		{fmt.Errorf("run: %w", &ExitError{Status: 7}), 7},
	} {
		if got := Status(tt.err, 2); got != tt.want {
			t.Errorf("Status(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
	if err := Errorf(125, "no server: %w", io.EOF); !errors.Is(err, io.EOF) {
		t.Errorf("%v does not wrap its cause", err)
	}
}
