package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"steve/internal/cli"
	"steve/internal/client"
	"steve/internal/pool"
)

// options are those of the command line.
type options struct {
	flags *cli.FlagSet

	command       client.Options
	fallbackGiven bool
	wantHelp      bool
	wantVersion   bool
	// requests are the getters and setters, in the order in which they were given.
	requests []client.Request

	run, server *pflag.FlagSet // parts of flags, for the help text
}

func newOptions() *options {
	o := &options{flags: cli.NewFlagSet("stevie")}

	run := cli.NewFlagSet("")
	o.defineRun(run)
	run.BoolVarP(&o.wantVersion, "version", "V", false, "print the version and exit")
	o.run = run.FlagSet

	server := cli.NewFlagSet("")
	for i := range client.Settings {
		o.defineSetting(server, &client.Settings[i])
	}
	o.server = server.FlagSet

	o.flags.AddFlagSet(o.run)
	o.flags.AddFlagSet(o.server)
	return o
}

// defineRun defines the options that go with a command, before or behind the verb run.
func (o *options) defineRun(f *cli.FlagSet) {
	c := &o.command
	f.StringVar(&c.Device, "device", c.Device, "use the steve behind the token file at `PATH`")
	f.FuncP("jobs", "j", "without a steve, share `N` tokens (default: usable processors)", func(v string) error {
		l := pool.DefaultLimits(1)
		if err := cli.Decimal(&l.Jobs).Set(v); err != nil {
			return err
		}
		c.Jobs = l.Jobs
		return l.Validate()
	})
	f.Func("if-unavailable", "without a steve, `embed|run|fail`: share tokens of this user's own\n(default), run CMD without a jobserver, or give up", func(v string) error {
		o.fallbackGiven = true
		return choose(&c.Unavailable, v, fallbacks)
	})
	f.Func("bridge", "give CMD a FIFO, `auto|always|never`: if a client in sight takes\nnothing else (default), always, only without a steve", func(v string) error {
		return choose(&c.Bridge, v, map[string]client.BridgeMode{"auto": client.BridgeAuto, "always": client.BridgeAlways, "never": client.BridgeNever})
	})
	f.BoolVar(&c.Shims, "shims", c.Shims, "drop -j from the make and ninja that CMD calls too")
	f.BoolVar(&c.KeepJobs, "keep-j", c.KeepJobs, "leave -j in the arguments of make and ninja")
	f.Func("nested", "below a process that has a slot, `share|new`: share it (default)\nor take a token", func(v string) error {
		return choose(&c.OwnToken, v, map[string]bool{"share": false, "new": true})
	})
	f.BoolVarP(&o.wantHelp, "help", "h", false, "print this and exit")
}

// fallbackVar is the environment variable that stands for --if-unavailable.
const fallbackVar = "STEVE_IF_UNAVAILABLE"

var fallbacks = map[string]client.Fallback{"embed": client.Embed, "run": client.RunWithout, "fail": client.Fail}

// readFallback heeds the variable where the option was not given.
func (o *options) readFallback() error {
	v := os.Getenv(fallbackVar)
	if v == "" || o.fallbackGiven {
		return nil
	}
	if err := choose(&o.command.Unavailable, v, fallbacks); err != nil {
		return cli.Errorf(client.StatusFailed, "%s: %w", fallbackVar, err)
	}
	return nil
}

// choose sets to to what value stands for.
func choose[T any](to *T, value string, choices map[string]T) error {
	c, ok := choices[value]
	if !ok {
		return fmt.Errorf("%q is not one of %s", value, strings.Join(slices.Sorted(maps.Keys(choices)), ", "))
	}
	*to = c
	return nil
}

// defineSetting defines the getter and the setter of s.
func (o *options) defineSetting(f *cli.FlagSet, s *client.Setting) {
	short := ""
	if s.Name == "tokens" {
		short = "t"
	}
	f.BoolFuncP("get-"+s.Name, short, "print the "+s.About, func(v string) error {
		if v != "true" {
			return errors.New("takes no value")
		}
		o.requests = append(o.requests, s.Get())
		return nil
	})
	if !s.Settable() {
		return
	}
	usage := "set it to `N`"
	if s.Off != "" {
		usage += ", " + s.Off + " for off"
	}
	f.Func("set-"+s.Name, usage, func(v string) error {
		r, err := s.Set(v)
		if err != nil {
			return err
		}
		o.requests = append(o.requests, r)
		return nil
	})
}

// failure is the exit status of err: getters and setters have one of their own.
func (o *options) failure(err error) int {
	var option *cli.OptionError
	if len(o.requests) > 0 || errors.As(err, &option) && o.server.Lookup(option.Name) != nil {
		return settingFailed
	}
	return client.StatusFailed
}

func (o *options) help() (int, error) {
	_, err := fmt.Fprintf(os.Stdout, `usage: stevie [options] CMD ARGS…
       stevie run [options] -- CMD ARGS…
       stevie --get-jobs --set-jobs 6 …
       stevie status|doctor [--json]

Run CMD holding one job token of steve, with MAKEFLAGS set so that make, ninja,
cargo and others below it take theirs from there too; exit with its status.
Or ask a running steve for settings and change them, in the order given.
Or print who holds and who waits (status), or what keeps builds from sharing (doctor).

options:
%s
settings, one bare number a line:
%s
The steve is found by --device, $%s, MAKEFLAGS, or where it is by default.
Verbs: run, status, doctor, help, version; top, trace, limit, env are reserved.
`, o.run.FlagUsages(), o.server.FlagUsages(), client.DeviceVar)
	return 0, err
}
