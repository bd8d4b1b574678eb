// Command steve serves the job tokens of a machine. See steve(8).
package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"steve/internal/cli"
	"steve/internal/daemon"
	"steve/internal/load"
	"steve/internal/pool"
	"steve/internal/version"
)

func main() {
	signals := daemon.Signals()
	status, err := run(os.Args[1:], signals, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "steve: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		status = cli.Status(err, 1)
	}
	os.Exit(status)
}

// usageStatus is the exit status for a command line that cannot be obeyed.
const usageStatus = 2

const usage = `usage: steve [options]

Serves the job tokens of this machine as /dev/steve, to GNU make and every other client of its jobserver protocol.

`

func run(args []string, signals <-chan os.Signal, stdout, stderr io.Writer) (status int, err error) {
	if helper := daemon.Helper(args); helper != nil {
		return 0, helper()
	}
	start, err := daemon.StartOf(args)
	if err != nil {
		return 0, cli.Errorf(usageStatus, "%w", err)
	}
	usable, machine := load.CPUs()
	o := options{config: daemon.Config{Limits: pool.DefaultLimits(usable), Transport: daemon.Auto, LogLevel: slog.LevelWarn}}
	flags := o.flags()
	if err := flags.Parse(start.Args); err != nil {
		return 0, cli.Errorf(usageStatus, "%w", err)
	}
	switch {
	case o.help:
		fmt.Fprint(stdout, usage, flags.FlagUsages())
		return 0, nil
	case o.version:
		fmt.Fprintf(stdout, "steve %s\n", version.Version)
		return 0, nil
	case flags.NArg() > 0:
		return 0, cli.Errorf(usageStatus, "unexpected argument %q, see steve --help", flags.Arg(0))
	}
	config, err := o.finish()
	if err == nil && start.First() { // who was started by it can have less rights
		err = config.Validate()
	}
	if err != nil {
		return 0, cli.Errorf(usageStatus, "%w", err)
	}
	if o.upgrade {
		return 0, daemon.Upgrade(config)
	}
	if start.First() && usable < machine && !flags.Changed("jobs") {
		fmt.Fprintf(stderr, "steve: %d of %d processors may be used here (affinity or cgroup limit); --jobs sets another number\n", usable, machine)
	}
	return daemon.Run(config, start, signals, stdout, stderr)
}

// options are what flags parse into, before they are a daemon.Config.
type options struct {
	config         daemon.Config
	recheck        float64
	transport      string
	keeper         string
	verbose, debug bool
	upgrade        bool
	help, version  bool
}

func (o *options) flags() *cli.FlagSet {
	f := cli.NewFlagSet("steve")
	l := &o.config.Limits
	f.VarP(cli.Decimal(&l.Jobs), "jobs", "j", "number of job tokens, at least 1; default: the processors usable")
	f.VarP(cli.Decimal(&l.MinJobs), "min-jobs", "m", "tokens that load and memory limits never hold back")
	f.Float64VarP(&l.LoadAverage, "load-average", "l", 0, "give no new tokens while the one-minute load average is above this; 0 is off")
	f.Float64VarP(&o.recheck, "load-recheck-timeout", "r", l.RecheckTimeout.Seconds(), "seconds between looks at a limit that holds something back")
	f.VarP(cli.Decimal(&l.MinMemory), "min-memory-avail", "a", "give no new tokens while less memory than this is available, in MiB; 0 is off")
	f.VarP(cli.Decimal(&l.PerProcess), "per-process-limit", "p", "most tokens one process may hold; 0 is off")
	f.StringVar(&o.config.DevName, "dev-name", "steve", "name of the token file")
	f.StringVarP(&o.config.User, "user", "u", "", "user to become once the token file is there")
	f.StringVar(&o.config.Perm, "mode", "", "mode of the token file, octal; default: 0660 for root's, 0600 for a user's")
	f.StringVar(&o.config.Group, "group", "", "group of the token file; default: jobserver, if there is one, for root's")
	f.StringVar(&o.transport, "transport", string(daemon.Auto), "auto, cuse (character device) or fuse (regular file)")
	f.StringVar(&o.keeper, "keeper", string(daemon.KeptAuto), "who keeps the token file when the server is killed: auto, process, systemd or none")
	f.BoolVar(&o.upgrade, "upgrade", false, "make the running steve go on as the program that is installed now")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log what an operator may want to know")
	f.BoolVarP(&o.debug, "debug", "d", false, "log every event and what came of it")
	f.BoolVarP(&o.help, "help", "h", false, "print this and exit")
	f.BoolVarP(&o.version, "version", "V", false, "print the version and exit")
	return f
}

// finish returns the configuration if it can be obeyed.
func (o *options) finish() (daemon.Config, error) {
	c := o.config
	// Beyond what a Duration holds a product with it is not defined, so it is bounded before.
	if !(o.recheck >= 0 && o.recheck <= pool.MaxRecheckTimeout.Seconds()) {
		return c, fmt.Errorf("load-recheck-timeout is %v s, must be %v to %v s", o.recheck,
			pool.MinRecheckTimeout.Seconds(), pool.MaxRecheckTimeout.Seconds())
	}
	c.Limits.RecheckTimeout = time.Duration(o.recheck * float64(time.Second))
	c.Transport = daemon.Transport(o.transport)
	c.Keeper = daemon.KeptBy(o.keeper)
	switch {
	case o.debug:
		c.LogLevel = slog.LevelDebug
	case o.verbose:
		c.LogLevel = slog.LevelInfo
	}
	return c, nil
}
