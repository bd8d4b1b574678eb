package main

import (
	"os"

	"steve/internal/cli"
	"steve/internal/client"
	"steve/internal/doctor"
)

// sick is the exit status where doctor found something wrong.
const sick = 1

// doctorVerb is "stevie doctor [--json]": what keeps builds from sharing.
func doctorVerb(o *options, args []string) (int, error) {
	asJSON, err := o.parseInquiry("doctor", args)
	if err != nil || o.wantHelp {
		return o.helpOr(err)
	}
	found := doctor.Examine(doctor.Here(o.command.Device).Gather())
	print := doctor.Text
	if asJSON {
		print = doctor.JSON
	}
	if err := print(os.Stdout, found); err != nil {
		return 0, cli.Errorf(client.StatusFailed, "doctor: %w", err)
	}
	if doctor.Sick(found) {
		return sick, nil
	}
	return 0, nil
}
