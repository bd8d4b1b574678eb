package client

import (
	"errors"

	"golang.org/x/sys/unix"

	"steve/internal/cli"
	"steve/internal/programs"
)

// A command is a program to run.
type command struct {
	path string
	args []string // the first is the name it was called by
}

func newCommand(args []string) (*command, error) {
	path, err := programs.Look(args[0])
	if err != nil {
		return nil, execError(args[0], err)
	}
	return &command{path: path, args: args}, nil
}

// execError is the failure to execute the program called name.
func execError(name string, err error) error {
	status := StatusNotExecutable
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		status = StatusNotFound
	}
	return cli.Errorf(status, "unable to run %s: %s", name, strerror(err))
}
