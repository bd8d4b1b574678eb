// Package client is stevie's half of the work: find a steve, ask it and tell it, and run a command that holds one token.
//
// What the words on stevie's command line mean belongs to cmd/stevie, what a steve can be asked to ctl.
package client

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"steve/internal/cli"
	"steve/internal/ctl"
	"steve/internal/makeflags"
)

// Exit statuses of Run that do not come from the command, as those of env(1) and timeout(1).
const (
	StatusFailed        = 125 // stevie itself failed
	StatusNotExecutable = 126
	StatusNotFound      = 127
	StatusSignal        = 128 // and the signal's number
)

// Options change how Run runs a command.
type Options struct {
	// KeepJobs leaves the job count in the arguments of make and ninja.
	KeepJobs bool
	// OwnToken takes a token also where an ancestor process holds one already.
	OwnToken bool
	// Messages is where to tell the user something. The line about waiting appears if it is a terminal.
	Messages *os.File
}

// Run runs the command args as a client of the steve behind c, holding one of its tokens, and returns the command's exit
// status, or 128+n after signal n. An error is a *cli.ExitError.
//
// This process must be about to exit when Run returns: signals stay diverted, and after one of them has ended the wait
// for a token, a thread may still be waiting. Should a token reach it, the steve takes that back at the exit.
func Run(c *ctl.Conn, args []string, o Options) (int, error) {
	// Caught and dropped: the command is to run and its token to come back though nobody reads the messages.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	// Absolute, for the command and its descendants change directories.
	path, err := filepath.Abs(c.File().Name())
	if err != nil {
		return 0, cli.Errorf(StatusFailed, "%w", err)
	}
	if err := ctl.CheckPath(path); err != nil {
		return 0, cli.Errorf(StatusFailed, "unable to use %q: %w, use another path", path, err)
	}
	cmd, err := newCommand(args)
	if err != nil {
		return 0, err
	}
	cmd.adapt(c, o)

	signals := divertSignals()
	shared, err := take(c, o.OwnToken, signals, o.Messages)
	if err != nil {
		return 0, err
	}
	defer giveBack(c, shared)
	return cmd.run(path, signals)
}

// environ returns env with auth as the jobserver in all variables that some client looks at.
func environ(env []string, auth string) []string {
	old, _ := getenv(env, "MAKEFLAGS")
	composed := makeflags.Compose(old, auth)
	env = setenv(env, "MAKEFLAGS", composed)
	// What cargo, rustc and crates look at first; left over from an outer cargo it would hide MAKEFLAGS.
	env = setenv(env, "CARGO_MAKEFLAGS", composed)
	// make reads these too, the one before MAKEFLAGS, the other in old versions.
	for _, name := range []string{"GNUMAKEFLAGS", "MFLAGS"} {
		if old, ok := getenv(env, name); ok {
			env = setenv(env, name, makeflags.Clean(old))
		}
	}
	return env
}

func getenv(env []string, name string) (value string, ok bool) {
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// setenv returns a copy of env in which name is set to value.
func setenv(env []string, name, value string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, name+"=") })
	return append(env, name+"="+value)
}

func say(to io.Writer, format string, args ...any) {
	fmt.Fprintf(to, "stevie: "+format+"\n", args...)
}
