package main

import (
	"os"

	"steve/internal/cli"
	"steve/internal/client"
	"steve/internal/proc"
	"steve/internal/report"
)

// statusFailed is the exit status where there is no status to print.
const statusFailed = 1

// statusVerb is "stevie status [--json]": who holds the tokens of a steve, and who waits for them.
func statusVerb(o *options, args []string) (int, error) {
	asJSON, err := o.parseInquiry("status", args)
	if err != nil || o.wantHelp {
		return o.helpOr(err)
	}
	c, err := client.Find(o.command.Device)
	if err != nil {
		return 0, &cli.ExitError{Status: statusFailed, Err: err}
	}
	defer c.Close()
	r, err := c.Report()
	if err != nil {
		return 0, &cli.ExitError{Status: statusFailed, Err: err}
	}
	found := report.LookUp(r, c.File().Name(), proc.Root)
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
