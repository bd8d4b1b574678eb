package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"steve/internal/client"
	"steve/internal/testkit/need"
	"steve/internal/testkit/steved"
)

func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){
		"stevie":    main,
		"listener":  listener,
		"heldafter": heldAfter,
		"onealone":  oneAlone,
		"holding":   holding,

		"countedjob": countedJob,
		// In place of the real ones; what matters is how stevie calls them.
		"gmake": printArgs,
		"ninja": printArgs,
	})
}

// A suite of tests removes the steve they built.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	os.Setenv("GORACE", goRace)
	status := s.m.Run()
	os.RemoveAll(buildDir)
	return status
}

// goRace spares every stevie of a race-enabled test the second its runtime sleeps at the exit.
const goRace = "atexit_sleep_ms=0"

var buildDir string

var buildSteve = sync.OnceValues(func() (string, error) {
	var err error
	if buildDir, err = os.MkdirTemp("", "stevie-test"); err != nil {
		return "", err
	}
	return steved.Build(buildDir)
})

// listener says which signals it gets, and ends with status 3 after SIGUSR1.
func listener() {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	fmt.Println("listening", os.Getpid())
	for s := range c {
		if s == syscall.SIGUSR1 {
			os.Exit(3)
		}
		fmt.Println("got", s)
	}
}

// printArgs stands in for programs that stevie knows by name, of the version $VERSION.
func printArgs() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(os.Getenv("VERSION"))
		return
	}
	fmt.Printf("%s %q\n", os.Args[0], os.Args[1:])
	fmt.Println("MAKEFLAGS:", os.Getenv("MAKEFLAGS"))
}

// heldAfter runs a command as stevie does and prints how many tokens are out while it still lives: its exit would
// return one that was forgotten.
func heldAfter() {
	_, err := client.Run(os.Args[1:], client.Options{Messages: os.Stderr})
	c, findErr := client.Find("")
	if findErr != nil {
		panic(findErr)
	}
	s, statusErr := c.Status()
	fmt.Println("held:", s.Held, "errors:", err, statusErr)
}

// oneAlone says whether it is the only one of its kind that runs in this directory.
func oneAlone() {
	if err := os.Mkdir("one", 0o700); err != nil {
		fmt.Println(err)
		return
	}
	time.Sleep(50 * time.Millisecond) // the job: others that may run beside it come meanwhile
	fmt.Println("alone")
	os.Remove("one")
}

// holding holds a token while it runs a command, as Portage does for each package it builds.
func holding() {
	c, err := client.Find("")
	if err == nil {
		err = c.Take()
	}
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		panic(err)
	}
	if err := c.Return(1); err != nil {
		panic(err)
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds:                commands,
		Condition:           conditions,
		Deadline:            time.Now().Add(2 * time.Minute),
	})
}

// TestIntegrationScripts are the scripts that need a steve.
func TestIntegrationScripts(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/integration",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds:                commands,
		Condition:           conditions,
		Deadline:            time.Now().Add(2 * time.Minute),
	})
}

// TestIntegrationMake44 runs the script about make once more, with a make that is given the path.
func TestIntegrationMake44(t *testing.T) {
	need.Root(t)
	need.FUSE(t)
	dir := filepath.Dir(need.Client(t, "make-4.4"))
	testscript.Run(t, testscript.Params{
		Files:               []string{"testdata/integration/make.txt"},
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", dir+":"+e.Getenv("PATH"))
			return setup(e)
		},
		Cmds:     commands,
		Deadline: time.Now().Add(2 * time.Minute),
	})
}

// setup keeps the jobserver and the steve of whoever runs the tests out of them.
func setup(e *testscript.Env) error {
	for _, name := range []string{"MAKEFLAGS", "CARGO_MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS", "MAKELEVEL", "STEVE_DEVICE", "STEVE_BRIDGE", "STEVE_IF_UNAVAILABLE"} {
		e.Setenv(name, "")
	}
	e.Setenv("XDG_RUNTIME_DIR", e.WorkDir)
	e.Setenv("GORACE", goRace)
	return os.Chmod(e.WorkDir, 0o700) // as a runtime directory is
}

// conditions has one more than the standard ones: whether this machine has a steve of root's.
func conditions(c string) (bool, error) {
	switch c {
	case "root-steve":
		_, err := os.Lstat("/dev/steve")
		return err == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", c)
}

var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// steve [options] starts a steve and sets STEVE_DEVICE to its token file.
	"steve": func(ts *testscript.TestScript, _ bool, args []string) {
		program, err := buildSteve()
		ts.Check(err)
		s, err := steved.Start(program, args...)
		ts.Check(err)
		ts.Defer(func() {
			if err := s.Stop(); err != nil {
				ts.Fatalf("%v", err)
			}
		})
		ts.Setenv("STEVE_DEVICE", s.Path)
	},
	// status N command [args] runs a command that is to exit with status N.
	"status": func(ts *testscript.TestScript, _ bool, args []string) {
		want, err := strconv.Atoi(args[0])
		ts.Check(err)
		got := 0
		if err := ts.Exec(args[1], args[2:]...); err != nil {
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				ts.Fatalf("%v", err)
			}
			got = exit.ExitCode()
		}
		if got != want {
			ts.Fatalf("exit status %d, want %d", got, want)
		}
	},
}
