package programs

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Look finds a program as execvp(3) does: where there is none to be found on PATH, but one that may not be executed, the
// error is EACCES. A directory of PATH may be relative.
func Look(name string) (string, error) {
	switch {
	case name == "":
		return "", unix.ENOENT
	case strings.Contains(name, "/"):
		return name, executable(name)
	}
	return LookIn(name, filepath.SplitList(os.Getenv("PATH")))
}

// LookIn finds the program name in dirs, as Look does in those of PATH.
func LookIn(name string, dirs []string) (string, error) {
	var result error = unix.ENOENT
	for _, dir := range dirs {
		if dir == "" {
			dir = "."
		}
		path := dir + "/" + name
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if errors.Is(err, unix.EACCES) {
			result = err
		}
	}
	return "", result
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return unix.EACCES
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

// questions are the kinds whose version decides what they accept, and how they begin to tell it when asked.
var questions = map[Kind]*regexp.Regexp{
	Make:  regexp.MustCompile(`^GNU Make ([0-9]+)\.([0-9]+)(?:\.([0-9]+))?`),
	Ninja: regexp.MustCompile(`^([0-9]+)\.([0-9]+)(?:\.([0-9]+))?`),
	CTest: regexp.MustCompile(`^ctest3? version ([0-9]+)\.([0-9]+)(?:\.([0-9]+))?`),
	// "gcc-14 (Debian 14.2.0-19) 14.2.0"
	GCC:  regexp.MustCompile(`^[^(\n]+\([^\n]*\) ([0-9]+)\.([0-9]+)(?:\.([0-9]+))?`),
	LLVM: regexp.MustCompile(`(?:clang|LLVM) version ([0-9]+)\.([0-9]+)(?:\.([0-9]+))?`),
}

// answerTime bounds how long a program may take to tell its version: it may be anything of that name.
const answerTime = 5 * time.Second

var probed struct {
	sync.Mutex
	programs map[string]Program
}

// Probe tells what the program at path is. Where that depends on its version it is run, once in the life of this process.
func Probe(path string) Program {
	probed.Lock()
	defer probed.Unlock()
	if p, ok := probed.programs[path]; ok {
		return p
	}
	p := Program{Path: path, Kind: KindOf(path)}
	if question := questions[p.Kind]; question != nil {
		p.Version = ask(path, question)
	}
	if probed.programs == nil {
		probed.programs = make(map[string]Program)
	}
	probed.programs[path] = p
	return p
}

// ask asks the program at path for its version, which it says in the way of pattern.
func ask(path string, pattern *regexp.Regexp) Version {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = time.Second
	// Only the question. What the variables say is to be obeyed later, and make 4.3 would not survive "fifo:".
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); !strings.HasSuffix(name, "MAKEFLAGS") && name != "MFLAGS" {
			cmd.Env = append(cmd.Env, e)
		}
	}
	out, err := cmd.Output()
	if err != nil {
		return Version{}
	}
	m := pattern.FindSubmatch(out)
	if m == nil {
		return Version{}
	}
	var n [3]int
	for i, digits := range m[1:] {
		if len(digits) == 0 {
			continue
		}
		if n[i], err = strconv.Atoi(string(digits)); err != nil {
			return Version{}
		}
	}
	return Version{n[0], n[1], n[2]}
}
