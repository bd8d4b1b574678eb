package main

import (
	"errors"
	"os"

	"steve/internal/cli"
	"steve/internal/client"
	"steve/internal/ctl"
	"steve/internal/embed"
	"steve/internal/proc"
	"steve/internal/report"
)

// statusFailed is the exit status where there is no status to print.
const statusFailed = 1

// statusVerb is "stevie status [--json]": who holds the tokens of a steve, or of this user's pool, and who waits for them.
func statusVerb(o *options, args []string) (int, error) {
	asJSON, err := o.parseInquiry("status", args)
	if err != nil || o.wantHelp {
		return o.helpOr(err)
	}
	r, source, err := askForReport(o.command.Device)
	if err != nil {
		return 0, &cli.ExitError{Status: statusFailed, Err: err}
	}
	found := report.LookUp(r, source, proc.Root)
	if asJSON {
		err = found.JSON(os.Stdout)
	} else {
		err = found.Text(os.Stdout)
	}
	if err != nil {
		return 0, &cli.ExitError{Status: statusFailed, Err: err}
	}
	return 0, nil
}

// askForReport asks the steve that a run would use, or the stevie that serves this user's builds where there is none.
func askForReport(device string) (r ctl.Report, source string, err error) {
	c, err := client.Find(device)
	if err == nil {
		defer c.Close()
		r, err = c.Report()
		return r, c.File().Name(), err
	}
	if device == "" {
		r, source, own := embed.Report(ctl.UserDir())
		if !errors.Is(own, embed.ErrNotServed) {
			return r, source, own
		}
	}
	return r, "", err
}

// parseInquiry parses the options of a verb that looks and changes nothing.
func (o *options) parseInquiry(verb string, args []string) (asJSON bool, err error) {
	f := cli.NewFlagSet("stevie")
	f.StringVar(&o.command.Device, "device", o.command.Device, "")
	f.BoolVar(&asJSON, "json", false, "")
	f.BoolVarP(&o.wantHelp, "help", "h", false, "")
	if err := f.Parse(args); err != nil {
		return false, cli.Errorf(client.StatusFailed, "%s: %w", verb, err)
	}
	if f.NArg() > 0 {
		return false, cli.Errorf(client.StatusFailed, "%s: %q is no option (to run a program of that name: stevie -- %[1]s)", verb, f.Arg(0))
	}
	return asJSON, nil
}

// helpOr returns err, or prints the help.
func (o *options) helpOr(err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return o.help()
}
