package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/testkit/steved"
)

// A regime is a way to keep builds that run at once within a number of jobs.
type regime struct {
	name, about string
	begin       func(bench) (*order, error)
}

// The last is measured against the others.
var regimes = []regime{
	{"own -jN", "each build has -jN and knows nothing of the others", ownJobs},
	{"-jN -lN", "make and ninja start no job while the load is N or more; cargo cannot, and has -jN", loadLimit},
	{"cgroups", "-jN, each build in a cgroup with the same CPU weight", weights},
	{"FIFO", "GNU make's own FIFO with N tokens, shared by all; each build runs its implicit job besides", sharedFIFO},
	{"steve", "a steve with N tokens, each build started by stevie", underSteve},
}

// An order is a regime in force.
type order struct {
	// command makes a command line of a project's, for one of the builds. Nil leaves it as it is.
	command func(build int, argv []string) []string
	env     []string
	// held is how many tokens are out; nil where there are none.
	held func() (int, error)
	// server is the process that must not be killed with the builds, 0 for none.
	server int
	end    func() error
}

// parallel is the arguments with a -j behind the client's name.
func parallel(argv []string, flags ...string) []string {
	return append(append([]string{argv[0]}, flags...), argv[1:]...)
}

func jobsFlag(jobs int) string { return fmt.Sprintf("-j%d", jobs) }

// cargo takes its options after its verb.
func own(jobs int) func(int, []string) []string {
	return func(_ int, argv []string) []string {
		if argv[0] == "cargo" {
			return append(argv[:len(argv):len(argv)], jobsFlag(jobs))
		}
		return parallel(argv, jobsFlag(jobs))
	}
}

func nothing() error { return nil }

func ownJobs(b bench) (*order, error) {
	return &order{command: own(b.jobs), end: nothing}, nil
}

func loadLimit(b bench) (*order, error) {
	return &order{end: nothing, command: func(build int, argv []string) []string {
		argv = own(b.jobs)(build, argv)
		if argv[0] == "cargo" {
			return argv
		}
		return parallel(argv, fmt.Sprintf("-l%d", b.jobs))
	}}, nil
}

// errNoWeights says that a machine cannot have the regime.
var errNoWeights = errors.New("no cgroup with CPU weights can be made here")

func weights(b bench) (*order, error) {
	parent, file, weight, err := weightsRoot()
	if err != nil {
		return nil, err
	}
	var groups []string
	o := &order{command: func(build int, argv []string) []string {
		return append([]string{"sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, groups[build]}, own(b.jobs)(build, argv)...)
	}}
	o.end = func() (err error) {
		for _, dir := range append(groups, parent) { // a directory of cgroups can be removed, its files cannot
			if e := unix.Rmdir(dir); e != nil && e != unix.ENOENT {
				err = errors.Join(err, fmt.Errorf("rmdir %s: %w", dir, e))
			}
		}
		return err
	}
	for build := range b.sites {
		dir := filepath.Join(parent, fmt.Sprint(build))
		groups = append(groups, dir)
		if err = os.Mkdir(dir, 0o755); err != nil {
			break
		}
		if err = os.WriteFile(filepath.Join(dir, file), []byte(weight), 0); err != nil {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, o.end())
	}
	return o, nil
}

// weightsRoot makes a cgroup whose children have CPU weights, by version 2 where that has the controller, else by version 1,
// and returns the file that has them, and the ordinary weight.
func weightsRoot() (dir, file, weight string, err error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", "", "", err
	}
	v1, v2 := "", ""
	for line := range strings.Lines(string(mounts)) {
		// proc_pid_mountinfo(5): id, parent, device, root, mount point, …, "-", type, source, options of the file system
		head, tail, _ := strings.Cut(line, " - ")
		at, kind := strings.Fields(head), strings.Fields(tail)
		if len(at) < 5 || len(kind) < 3 {
			continue
		}
		switch {
		case kind[0] == "cgroup2" && contains(filepath.Join(at[4], "cgroup.controllers"), "cpu"):
			v2 = at[4]
		case kind[0] == "cgroup" && strings.Contains(","+kind[2]+",", ",cpu,"):
			v1 = at[4]
		}
	}
	name := fmt.Sprintf("steve-bench-%d", os.Getpid())
	switch {
	case v2 != "":
		dir = filepath.Join(v2, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", "", "", err
		}
		for _, above := range []string{v2, dir} {
			if err := os.WriteFile(filepath.Join(above, "cgroup.subtree_control"), []byte("+cpu"), 0); err != nil {
				return "", "", "", errors.Join(err, unix.Rmdir(dir))
			}
		}
		return dir, "cpu.weight", "100", nil
	case v1 != "":
		dir = filepath.Join(v1, name)
		return dir, "cpu.shares", "1024", os.Mkdir(dir, 0o755)
	}
	return "", "", "", errNoWeights
}

// contains says whether a file has a word.
func contains(path, word string) bool {
	text, _ := os.ReadFile(path) // what cannot be read has none
	for _, w := range strings.Fields(string(text)) {
		if w == word {
			return true
		}
	}
	return false
}

func sharedFIFO(b bench) (*order, error) {
	path := filepath.Join(b.dir, "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("mkfifo: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0) // tokens are in it as long as somebody has it open
	if err == nil {
		_, err = file.WriteString(strings.Repeat("+", b.jobs))
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &order{
		env: []string{fmt.Sprintf("MAKEFLAGS= %s --jobserver-auth=fifo:%s", jobsFlag(b.jobs), path)},
		held: func() (int, error) {
			free, err := unix.IoctlGetInt(int(file.Fd()), unix.TIOCINQ) // bytes in it: FIONREAD
			return b.jobs - free, err
		},
		end: func() error { return errors.Join(file.Close(), os.Remove(path)) },
	}, nil
}

func underSteve(b bench) (*order, error) {
	s, err := steved.Start(b.steve, "--jobs", fmt.Sprint(b.jobs))
	if err != nil {
		return nil, err
	}
	conn, err := ctl.Open(s.Path)
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return &order{
		server:  s.Process.Pid,
		command: func(_ int, argv []string) []string { return append([]string{"stevie"}, argv...) },
		env:     []string{"STEVE_DEVICE=" + s.Path},
		held: func() (int, error) {
			status, err := conn.Status()
			return status.Held, err
		},
		end: func() error {
			status, err := conn.Status()
			if err == nil && status.Held != 0 {
				err = fmt.Errorf("%d tokens are not back", status.Held)
			}
			return errors.Join(err, conn.Close(), s.Stop())
		},
	}, nil
}
