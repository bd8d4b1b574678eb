// Package client is stevie's half of the work: find a steve, ask it and tell it, and run a command that holds one token.
//
// What the words on stevie's command line mean belongs to cmd/stevie, what a steve can be asked to ctl.
package client

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"steve/internal/makeflags"
)

// Exit statuses of Run that do not come from the command, as those of env(1) and timeout(1).
const (
	StatusFailed        = 125 // stevie itself failed
	StatusNotExecutable = 126
	StatusNotFound      = 127
	StatusSignal        = 128 // and the signal's number
)

// Options say how Run runs a command.
type Options struct {
	// Device is the token file to use, see Find.
	Device string
	// Unavailable says what to do where there is no steve to be had.
	Unavailable Fallback
	// Jobs is the size of the pool that is made then, or 0 for the processors usable.
	Jobs int
	// Bridge says when the command gets a FIFO in place of the token file.
	Bridge BridgeMode
	// Shims has make and ninja called by way of package shims also where the command does not need that.
	Shims bool
	// KeepJobs leaves the job count in the arguments of make and ninja.
	KeepJobs bool
	// OwnToken takes a token also where an ancestor process has a slot to share.
	OwnToken bool
	// Messages is where to tell the user something. The line about waiting appears if it is a terminal.
	Messages *os.File
}

// Run runs the command args in a slot of its own, or an ancestor's, as a client of a steve or of the pool of this user's
// stevies, and returns the command's exit status, or 128+n after signal n. An error is a *cli.ExitError or an *OpenError.
//
// This process must be about to exit when Run returns: signals stay diverted, and after one of them has ended the wait
// for a server or a token, a thread may still be waiting. Should a token reach it, the server takes that back at the exit.
func Run(args []string, o Options) (int, error) {
	// Caught and dropped: the command is to run and its token to come back though nobody reads the messages.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	cmd, err := newCommand(args)
	if err != nil {
		return 0, err
	}
	signals := divertSignals()
	source, err := connectUnless(signals, o)
	if err != nil {
		return 0, err
	}
	// What is served here is to be handed over before this process stops.
	stops := make(chan os.Signal, 1)
	catch(stops, unix.SIGTSTP)
	if source == nil {
		return cmd.run(untouched(), signals, stops)
	}
	defer source.Close()

	plan := see(cmd.path, cmd.args).in(source).plan(wishes{bridge: o.Bridge, shims: o.Shims, keepJobs: o.KeepJobs})
	for _, m := range plan.messages {
		say(o.Messages, "%s", m)
	}
	cmd.args = append(cmd.args[:1:1], plan.args...)

	slot, err := takeSlot(source, o.OwnToken, signals, stops, o.Messages)
	if err != nil {
		return 0, err
	}
	defer giveBack(slot.release)
	if plan.lease > 0 {
		leased, err := source.lease(plan.lease-1, signals)
		if err != nil {
			return 0, err
		}
		defer giveBack(func() { source.Return(leased) })
		jobs, message := plan.leased(1 + leased)
		cmd.args = append(cmd.args[:1:1], jobs...)
		say(o.Messages, "%s", message)
	}

	handed, err := source.hand(plan, o.Messages)
	if err != nil {
		return 0, err
	}
	defer handed.close()
	return cmd.run(handed, signals, stops)
}

// environ returns env with auth as the jobserver in all variables that some client looks at, and byPath, its form
// "fifo:PATH", in those that no make does.
func environ(env []string, auth, byPath string) []string {
	old, _ := getenv(env, "MAKEFLAGS")
	env = setenv(env, "MAKEFLAGS", makeflags.Compose(old, auth))
	// What cargo, rustc and crates look at first; left over from an outer cargo it would hide MAKEFLAGS. They take a path
	// in any case, and rustc no descriptors of a device. A make in between leaves the variable alone, and closes descriptors.
	env = setenv(env, "CARGO_MAKEFLAGS", makeflags.Compose(old, byPath))
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
	return append(unsetenv(env, name), name+"="+value)
}

// unsetenv returns a copy of env without name.
func unsetenv(env []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, name+"=") })
}

func say(to io.Writer, format string, args ...any) {
	fmt.Fprintf(to, "stevie: "+format+"\n", args...)
}
