package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"steve/internal/bridge"
	"steve/internal/client"
	"steve/internal/ctl"
	"steve/internal/makeflags"
	"steve/internal/proc"
	"steve/internal/programs"
)

// A Host is where facts are gathered.
type Host struct {
	// Env is the environment, as os.Environ gives it.
	Env []string
	// Device is the token file to use, empty for the one that stevie finds.
	Device string
	// Proc is where a proc file system is mounted.
	Proc proc.FS
	// RootPath is the token file of root's steve, CUSE the file through which character devices are served.
	RootPath, CUSE string
}

// Here is the host that this process runs on.
func Here(device string) Host {
	return Host{Env: os.Environ(), Device: device, Proc: proc.Root, RootPath: ctl.RootPath, CUSE: "/dev/cuse"}
}

// Gather looks at everything that is judged. It opens token files and FIFOs, takes no token, and waits some seconds at
// most for what does not answer.
func (h Host) Gather() Facts {
	f := Facts{Env: map[string]string{}}
	for _, e := range h.Env {
		name, value, _ := strings.Cut(e, "=")
		f.Env[name] = value
	}
	outer := f.Env[bridge.EnvVar]
	// The descriptors first: those that are not open here may soon be, as something else.
	f.Make = jobserver(f.Env["MAKEFLAGS"], outer)
	f.Cargo = jobserver(f.Env["CARGO_MAKEFLAGS"], outer)
	f.Used = h.used()
	f.Root = look(h.RootPath, outer)
	_, err := os.Stat(h.CUSE)
	f.CUSE = err == nil
	f.Programs = findPrograms()
	f.Sccache = h.named("sccache")
	return f
}

// used is the token file that stevie uses.
func (h Host) used() File {
	type result struct {
		path string
		err  error
	}
	r, answered := bounded(func() result {
		c, err := client.Find(h.Device)
		if err != nil {
			return result{err: err}
		}
		defer c.Close()
		return result{path: c.File().Name()}
	})
	var open *client.OpenError
	switch {
	case !answered:
		return File{Path: firstOf(h.Device, firstOf(os.Getenv(client.DeviceVar), h.RootPath)), State: Hung}
	case r.err == nil:
		return look(r.path, "")
	case errors.As(r.err, &open):
		file := look(open.Path, "")
		if file.State == Steve { // it has just come
			return file
		}
		file.Hint = open.Hint()
		file.Problem = strings.TrimSuffix(open.Error(), " ("+file.Hint+")")
		return file
	}
	return File{Path: h.RootPath, State: Unclear, Problem: r.err.Error()}
}

// jobserver is what value, a MAKEFLAGS, names.
func jobserver(value, outer string) Jobserver {
	j := Jobserver{Auth: makeflags.Auth(value)}
	path, isPath := strings.CutPrefix(j.Auth, "fifo:")
	switch {
	case j.Auth == "":
	case isPath:
		j.File = look(path, outer)
	default:
		j.File = lookInherited(j.Auth, outer)
	}
	return j
}

// programNames are looked for on PATH.
var programNames = []string{"make", "gmake", "ninja", "ninja-build", "samu", "ctest", "gcc"}

// findPrograms finds each program once, by whatever names.
func findPrograms() []programs.Program {
	var found []programs.Program
	var seen []string
	for _, name := range programNames {
		path, err := programs.Look(name)
		if err != nil {
			continue
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil || slices.Contains(seen, real) {
			continue
		}
		seen = append(seen, real)
		found = append(found, programs.Probe(path))
	}
	return found
}

// named returns the processes of this user whose program has that name.
func (h Host) named(name string) []int {
	entries, err := os.ReadDir(string(h.Proc))
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(string(h.Proc), e.Name(), "comm"))
		if err != nil || strings.TrimSuffix(string(comm), "\n") != name {
			continue
		}
		if about, err := h.Proc.About(pid); err == nil && about.UID == os.Geteuid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// patience is how long a file system may take to answer: behind a token file is a process, which may be stopped.
const patience = 3 * time.Second

// bounded returns what f returns, or false if that takes too long.
func bounded[T any](f func() T) (result T, answered bool) {
	done := make(chan T, 1)
	go func() { done <- f() }()
	select {
	case result = <-done:
		return result, true
	case <-time.After(patience):
		return result, false
	}
}
