package keeper

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Verb is the first argument of a process that another one of the same program started. None is a command for users.
type Verb string

// The verbs.
const (
	Main   Verb = "" // started by a user or a service manager
	Worker Verb = "serve-for-keeper"
	Keeper Verb = "keep"
)

// comms are the names that ps and killall see. An exec of /proc/self/exe would leave "exe". The worker has one of its own:
// what users send to all processes called steve is for the keeper.
var comms = map[Verb]string{Worker: "steve-worker", Keeper: "steve"}

// An FD is a descriptor with a name, of lower-case letters.
type FD struct {
	Name string
	Num  int
}

// A Role is what a process was started for, and with what.
//
// On the command line it is VERB WORD ARGS…, where WORD is a list: link=3,device=4,journal=5,fresh.
type Role struct {
	Verb Verb
	FDs  []FD
	// Args are the user's own arguments.
	Args []string
	// Fresh tells a worker to start with nothing, as others died of what was there.
	Fresh bool

	link   int // a worker's socket to its keeper, or a keeper's to its worker
	worker int // process id of the worker that a keeper has already
}

// RoleOf reads a command line without the program's name. Descriptors that it names are made close-on-exec, and the
// process takes the name that belongs to its role. An error says what is wrong with the line.
func RoleOf(args []string) (Role, error) {
	role, err := parseRole(args)
	if err != nil || role.Verb == Main {
		return role, err
	}
	for _, fd := range append([]FD{{linkName, role.link}}, role.FDs...) {
		if fd.Num == 0 {
			continue // a keeper without a worker
		}
		if _, err := unix.FcntlInt(uintptr(fd.Num), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return Role{}, fmt.Errorf("%s %s: descriptor %d (%s) is not open", role.Verb, args[1], fd.Num, fd.Name)
		}
	}
	os.WriteFile("/proc/self/comm", []byte(comms[role.Verb]), 0) // it serves all the same under another name
	return role, nil
}

// FD returns the number of the descriptor called name.
func (r Role) FD(name string) (num int, ok bool) {
	for _, fd := range r.FDs {
		if fd.Name == name {
			return fd.Num, true
		}
	}
	return 0, false
}

// Names in a WORD that are not of descriptors of the user of this package.
const (
	linkName   = "link"
	workerName = "worker"
	freshFlag  = "fresh"
)

func parseRole(args []string) (Role, error) {
	if len(args) == 0 || args[0] != string(Worker) && args[0] != string(Keeper) {
		return Role{Args: args}, nil
	}
	if len(args) == 1 {
		return Role{}, fmt.Errorf("%s is not for users, see --help", args[0])
	}
	r := Role{Verb: Verb(args[0]), Args: args[2:]}
	if err := r.parseWord(args[1]); err != nil {
		return Role{}, fmt.Errorf("%s is not for users: %q: %w", r.Verb, args[1], err)
	}
	return r, nil
}

func (r *Role) parseWord(word string) error {
	seen := make(map[string]bool)
	for item := range strings.SplitSeq(word, ",") {
		name, number, isNumber := strings.Cut(item, "=")
		if seen[name] {
			return fmt.Errorf("%s twice", name)
		}
		seen[name] = true
		if !isNumber {
			if name != freshFlag || r.Verb != Worker {
				return fmt.Errorf("%q is unknown", name)
			}
			r.Fresh = true
			continue
		}
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil || n < 3 || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") != "" {
			return fmt.Errorf("%q is not a name and its number", item)
		}
		switch name {
		case linkName:
			r.link = int(n)
		case workerName:
			r.worker = int(n)
		default:
			r.FDs = append(r.FDs, FD{name, int(n)})
		}
	}
	switch {
	case r.Verb == Worker && (r.link == 0 || r.worker != 0):
		return errors.New("a worker has a link, and no worker")
	case r.Verb == Keeper && (r.link == 0) != (r.worker == 0):
		return errors.New("a link goes with a worker")
	case len(r.FDs) == 0:
		return errors.New("there is nothing to keep")
	}
	return nil
}

// argv is the command line that RoleOf reads.
func (r Role) argv() []string {
	var items []string
	add := func(name string, number int) { items = append(items, name+"="+strconv.Itoa(number)) }
	if r.link != 0 {
		add(linkName, r.link)
	}
	if r.worker != 0 {
		add(workerName, r.worker)
	}
	for _, fd := range r.FDs {
		add(fd.Name, fd.Num)
	}
	if r.Fresh {
		items = append(items, freshFlag)
	}
	return append([]string{os.Args[0], string(r.Verb), strings.Join(items, ",")}, r.Args...)
}
