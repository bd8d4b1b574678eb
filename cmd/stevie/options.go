package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"steve/internal/cli"
	"steve/internal/client"
)

// options are those of the command line.
type options struct {
	flags *cli.FlagSet

	device      string
	keepJobs    bool
	ownToken    bool
	wantHelp    bool
	wantVersion bool
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
	f.StringVar(&o.device, "device", o.device, "use the steve behind the token file at `PATH`")
	f.BoolVar(&o.keepJobs, "keep-j", o.keepJobs, "leave -j in the arguments of make and ninja")
	f.Func("nested", "what to do below a process that holds a token: `share|new`, share its (default) or take another", func(v string) error {
		switch v {
		case "share", "new":
			o.ownToken = v == "new"
			return nil
		}
		return fmt.Errorf("%q is neither share nor new", v)
	})
	f.BoolVarP(&o.wantHelp, "help", "h", false, "print this and exit")
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

Run CMD holding one job token of steve, with MAKEFLAGS set so that make, ninja,
cargo and others below it take theirs from there too; exit with its status.
Or ask a running steve for settings and change them, in the order given.

options:
%s
settings, one bare number a line:
%s
The steve is found by --device, $%s, MAKEFLAGS, or where it is by default.
Verbs: run, help, version; status, top, trace, doctor, limit, env are reserved.
`, o.run.FlagUsages(), o.server.FlagUsages(), client.DeviceVar)
	return 0, err
}
