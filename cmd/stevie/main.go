// Command stevie is the client of steve: it runs a command with a job token held and MAKEFLAGS set, asks a running steve
// for its settings and changes them.
//
// Here is the command line and nothing else: what it asks for is in package client.
package main

import (
	"errors"
	"fmt"
	"os"

	"steve/internal/bridge"
	"steve/internal/cli"
	"steve/internal/client"
	"steve/internal/shims"
	"steve/internal/version"
)

func main() {
	if shims.Called(os.Args[0]) {
		err := shims.Main(os.Args)
		complain(err)
		os.Exit(cli.Status(err, client.StatusFailed))
	}
	status, err := stevie(os.Args[1:])
	if err != nil {
		status = cli.Status(err, client.StatusFailed)
		complain(err)
	}
	os.Exit(status)
}

// complain tells the user what failed, unless there is nothing left to say.
func complain(err error) {
	var open *client.OpenError
	var exit *cli.ExitError
	switch {
	case errors.As(err, &open):
		// Word for word the line of the original, which has no prefix.
		fmt.Fprintln(os.Stderr, open)
	case errors.As(err, &exit) && exit.Err == nil:
	default:
		fmt.Fprintln(os.Stderr, "stevie:", err)
	}
}

// A verb may stand where the command does. The names are reserved, so that scripts need not fear new verbs.
type verb func(*options, []string) (int, error)

var verbs = map[string]verb{
	"help":    func(o *options, _ []string) (int, error) { return o.help() },
	"version": func(*options, []string) (int, error) { return printVersion() },
	"run":     runVerb,
	"status":  statusVerb,
	"top":     reserved("top"),
	"trace":   reserved("trace"),
	"doctor":  doctorVerb,
	"limit":   reserved("limit"),
	"env":     reserved("env"),
}

func reserved(name string) verb {
	return func(*options, []string) (int, error) {
		return 0, cli.Errorf(client.StatusFailed,
			"%s is not there yet (to run a program of that name: stevie -- %[1]s)", name)
	}
}

// stevie does what args ask for and returns the exit status.
func stevie(args []string) (int, error) {
	if helper := bridge.Helper(args); helper != nil {
		return 0, helper()
	}
	o := newOptions()
	if err := o.flags.Parse(args); err != nil {
		return 0, &cli.ExitError{Status: o.failure(err), Err: err}
	}
	rest := o.flags.Args()
	switch {
	case o.wantHelp:
		return o.help()
	case o.wantVersion:
		return printVersion()
	case len(o.requests) > 0:
		return settings(o, rest)
	case len(rest) == 0:
		return 0, cli.Errorf(client.StatusFailed, "no command given, see stevie --help")
	}
	// Behind "--" stands a command, whatever its name.
	if f, ok := verbs[rest[0]]; ok && o.flags.ArgsLenAtDash() < 0 {
		return f(o, rest[1:])
	}
	return run(o, rest)
}

func printVersion() (int, error) {
	_, err := fmt.Println("stevie", version.Version)
	return 0, err
}

// settingFailed is the exit status of getters and setters.
const settingFailed = 1

// settings answers the getters and setters of the command line.
func settings(o *options, rest []string) (int, error) {
	if len(rest) > 0 {
		return 0, cli.Errorf(settingFailed, "%s: getters and setters go without a command", rest[0])
	}
	c, err := client.Find(o.command.Device)
	if err != nil {
		return 0, &cli.ExitError{Status: settingFailed, Err: err}
	}
	defer c.Close()
	if err := client.Do(c, o.requests, os.Stdout); err != nil {
		return 0, &cli.ExitError{Status: settingFailed, Err: err}
	}
	return 0, nil
}

// runVerb is "stevie run [options] -- CMD ARGS…".
func runVerb(o *options, args []string) (int, error) {
	f := cli.NewFlagSet("stevie")
	o.defineRun(f)
	if err := f.Parse(args); err != nil {
		return 0, err
	}
	switch {
	case o.wantHelp:
		return o.help()
	case f.NArg() == 0:
		return 0, cli.Errorf(client.StatusFailed, "run: no command given, see stevie --help")
	}
	return run(o, f.Args())
}

func run(o *options, args []string) (int, error) {
	if err := o.readFallback(); err != nil {
		return 0, err
	}
	o.command.Messages = os.Stderr
	return client.Run(args, o.command)
}
