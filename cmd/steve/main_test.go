package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"steve/internal/cli"
	"steve/internal/daemon"
	"steve/internal/pool"
	"steve/internal/version"
)

// A command line that cannot be obeyed ends with status 2 and one line, which says what is wrong and what is allowed.
func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"-j0", "jobs is 0, must be 1 to 1048576"},
		{"-j -1", "jobs is -1, must be 1 to 1048576"},
		{"-j 1048577", "jobs is 1048577, must be 1 to 1048576"},
		{"-j 99999999999999999999", `--jobs: "99999999999999999999" is not a whole number`},
		{"-j six", `--jobs: "six" is not a whole number`},
		{"-j", "option -j needs a value"},
		{"-m -1", "min-jobs is -1, must be 0 to 1048576"},
		{"-l nan", "load-average is NaN, must be a finite number (0 or less is off)"},
		{"-l +Inf", "load-average is +Inf, must be a finite number (0 or less is off)"},
		{"-r 0", "load-recheck-timeout is 0 s, must be 0.01 to 86400 s"},
		{"-r 0.001", "load-recheck-timeout is 0.001 s, must be 0.01 to 86400 s"},
		{"-r 1e300", "load-recheck-timeout is 1e+300 s, must be 0.01 to 86400 s"},
		{"-r nan", "load-recheck-timeout is NaN s, must be 0.01 to 86400 s"},
		{"-a x", `--min-memory-avail: "x" is not a whole number`},
		{"-p -3", "per-process-limit is -3, must be 0 to 1048576 (0 is off)"},
		{"--dev-name=a/b", `dev-name is "a/b", must be 1 to 63 letters, digits, '.', '_' or '-', without a slash, not beginning with '.' or '-'`},
		{"--dev-name=", "dev-name is \"\", must be 1 to 63 letters"},
		{"--dev-name=..", "dev-name is \"..\", must be 1 to 63 letters"},
		{"--dev-name=a,b", "dev-name is \"a,b\", must be 1 to 63 letters"},
		{"--dev-name=" + strings.Repeat("x", 64), "must be 1 to 63 letters"},
		{"--transport=fifo", `transport is "fifo", must be auto, cuse or fuse`},
		{"--mode=rw", `mode is "rw", must be octal, 0 to 0777`},
		{"--mode=1777", `mode is "1777", must be octal, 0 to 0777`},
		{"--group=no-such-group", `group "no-such-group" is unknown; create it (groupadd --system no-such-group) or name another`},
		{"--user=no-such-user", `user "no-such-user" is unknown; create it (useradd --system no-such-user) or name another`},
		{"--lo=1", "option --lo is ambiguous: --load-average, --load-recheck-timeout"},
		{"--nosuch", "unknown option --nosuch, see steve --help"},
		{"-x", "unknown option -x, see steve --help"},
		{"make", `unexpected argument "make", see steve --help`},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var stdout, stderr strings.Builder
			_, err := run(strings.Fields(tt.args), nil, &stdout, &stderr)
			if err == nil {
				t.Fatal("no error")
			}
			if got := cli.Status(err, 1); got != 2 {
				t.Errorf("exit status %d, want 2", got)
			}
			if text := err.Error(); !strings.Contains(text, tt.want) || strings.Contains(text, "\n") {
				t.Errorf("error %q, want %q in one line", text, tt.want)
			}
			if stdout.Len() > 0 {
				t.Errorf("standard output %q", stdout.String())
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	var stdout, stderr strings.Builder
	if _, err := run([]string{"-V"}, nil, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if want := "steve " + version.Version + "\n"; stdout.String() != want {
		t.Errorf("version is %q, want %q", stdout.String(), want)
	}
	stdout.Reset()
	if _, err := run([]string{"--help"}, nil, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	var o options
	o.flags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(stdout.String(), "--"+f.Name) {
			t.Errorf("the help does not mention --%s", f.Name)
		}
	})
}

func TestOptions(t *testing.T) {
	var o options
	o.config.Limits = pool.DefaultLimits(8)
	args := "-j010 --min-jobs 2 -l 13.5 --load-recheck-timeout=0.25 --min-mem 512 -p 3 --dev-name st --mode 0666 --transport fuse -v"
	if err := o.flags().Parse(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	c, err := o.finish()
	if err != nil {
		t.Fatal(err)
	}
	want := pool.Limits{Jobs: 10, MinJobs: 2, LoadAverage: 13.5, RecheckTimeout: 250 * time.Millisecond, MinMemory: 512, PerProcess: 3}
	if c.Limits != want {
		t.Errorf("limits %+v, want %+v", c.Limits, want)
	}
	if c.DevName != "st" || c.Perm != "0666" || c.Transport != daemon.FUSE {
		t.Errorf("config %+v", c)
	}
}
