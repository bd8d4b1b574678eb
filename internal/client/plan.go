package client

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"steve/internal/programs"
)

// A BridgeMode says when the command's tokens pass through a FIFO of stevie's in place of the token file.
type BridgeMode int

// Bridge modes.
const (
	BridgeAuto   BridgeMode = iota // where a client in sight does not accept the token file
	BridgeAlways                   // always
	BridgeNever                    // only if there is no token file
)

// wishes are what the user says about the way a command is run.
type wishes struct {
	bridge   BridgeMode
	shims    bool // on, needed or not
	keepJobs bool
}

// A sight is what there is to see of a command before it runs.
type sight struct {
	command programs.Program
	args    []string // without its name
	// tool is the make or ninja that the command is, or that it is a cmake to build with.
	tool programs.Program
	// make and ninja are those on PATH that the command may run. They are zero if there is none, or if it does not matter.
	make, ninja programs.Program
	cpus        int
	// tokenFile is the form of the token file, which there is none of where the server is an embedded one.
	tokenFile programs.Form
	embedded  bool
}

// A plan is how a command is run.
type plan struct {
	args []string // its arguments without its name
	// bridge says that the jobserver is a FIFO of stevie's, or a pair, in place of the token file.
	bridge bool
	// descriptors says that MAKEFLAGS has "R,W" in place of "fifo:PATH".
	descriptors bool
	// shims says that make and ninja are called by way of package shims, pair that the shim of make is to hand on "R,W".
	shims, pair bool
	// lease is the number of jobs that a ninja which will not use the jobserver would run side by side. It is to be run
	// as leased says, and with as many tokens as can be had now. It is 0 for all others.
	lease    int
	leased   func(n int) (args []string, message string)
	keepJobs bool
	// messages are lines that tell the user of what is not as they might expect.
	messages []string
}

// see looks at the command that args name, found at path, and at the programs on PATH that matter to it.
func see(path string, args []string) sight {
	s := sight{command: programs.Probe(path), args: args[1:], cpus: runtime.NumCPU()}
	switch s.command.Kind {
	case programs.Make, programs.Ninja:
		s.tool = s.command
	case programs.CMake:
		if tool := programs.BuildTool(s.args); tool != "" {
			s.tool = programs.Probe(tool)
		}
	case programs.GCC:
		s.make = probeFirst("make") // which lto-wrapper runs
		return s
	case programs.Rustc, programs.LLVM, programs.Emerge:
		// The first two run no make or ninja. Portage takes tokens itself, and has others build who could not open a FIFO of this user's.
		return s
	}
	switch s.tool.Kind {
	case programs.Make:
		// It hands on the form it is given to those below it, which it is taken to know.
	case programs.Ninja:
		s.make = probeFirst("make", "gmake")
	default:
		s.make, s.ninja = probeFirst("make", "gmake"), probeFirst("ninja", "ninja-build")
	}
	return s
}

// probeFirst looks at the first program of these names that is on PATH.
func probeFirst(names ...string) programs.Program {
	for _, name := range names {
		if path, err := programs.Look(name); err == nil {
			return programs.Probe(path)
		}
	}
	return programs.Program{}
}

// plan decides how the command is run.
//
// The token file is what it gets where every client in sight accepts that. A client is taken at its word; any other
// command may run whatever is on PATH, so that the ninja there decides about the bridge, and the make about descriptors.
func (s sight) plan(w wishes) plan {
	p := plan{args: s.args, keepJobs: w.keepJobs}
	s.planBridge(&p, w)
	s.planForm(&p)
	if !w.keepJobs {
		s.planJobs(&p)
	}
	s.planShims(&p, w)
	s.warn(&p, w)
	return p
}

// planBridge decides between the token file and the bridge.
func (s sight) planBridge(p *plan, w wishes) {
	client := s.strictest()
	switch {
	case s.embedded || w.bridge == BridgeAlways:
		p.bridge = true
	case w.bridge == BridgeAuto && client.Accepts(programs.FIFO) && !client.Accepts(s.tokenFile):
		p.bridge = true
		p.say("%v takes no %s for a jobserver, so it gets a FIFO (--bridge=never turns that off)",
			client, formName(s.tokenFile))
	}
}

// strictest is the client in sight that is the hardest to please.
func (s sight) strictest() programs.Program {
	switch {
	case s.tool.Kind == programs.Ninja:
		return s.tool
	case s.command.Kind == programs.LLVM && offloads(s.args):
		return s.command
	case s.command.Accepts(programs.FIFO):
		return programs.Program{} // a client, taken at its word
	}
	return s.ninja
}

// offloads says whether args tell a compiler or linker of LLVM's to be a client: "--offload-jobs=jobserver" for clang,
// "--wrapper-jobs=jobserver" for clang-linker-wrapper.
func offloads(args []string) bool {
	for _, a := range args {
		if strings.HasSuffix(a, "-jobs=jobserver") {
			return true
		}
	}
	return false
}

func formName(f programs.Form) string {
	if f == programs.RegularFile {
		return "regular file"
	}
	return "character device"
}

// planForm decides between "fifo:PATH" and "R,W" for MAKEFLAGS. CARGO_MAKEFLAGS has the path in any case.
func (s sight) planForm(p *plan) {
	switch {
	case old(s.tool), s.command.Kind == programs.GCC && !s.command.Accepts(programs.FIFO):
		p.descriptors = true
	case s.tool.Kind == programs.Ninja && s.tool.Accepts(s.given(p)):
		// The path, or ninja would be none.
	default:
		p.descriptors = old(s.make)
	}
}

// old says whether a make is one that dies of "fifo:".
func old(make programs.Program) bool {
	return make.Kind == programs.Make && !make.Accepts(programs.FIFO)
}

// planJobs decides about the job count in the arguments.
func (s sight) planJobs(p *plan) {
	if s.tool.Kind == programs.Ninja && !s.tool.Accepts(s.given(p)) {
		if n := s.command.Kind.NinjaJobs(s.args, s.cpus); n > 1 {
			p.lease, p.leased = n, s.leased
		}
		return
	}
	kept, removed := s.command.Kind.DropJobs(s.args)
	if len(removed) == 0 {
		return
	}
	p.args = kept
	p.say("dropped %s from the arguments of %s, which would leave the jobserver with it (--keep-j keeps it)",
		strings.Join(removed, " "), filepath.Base(s.command.Path))
}

// leased returns the arguments with which the ninja runs n jobs side by side, and what to tell the user.
func (s sight) leased(n int) (args []string, message string) {
	return s.command.Kind.WithNinjaJobs(s.args, n),
		fmt.Sprintf("%v is no client of this jobserver and gets -j%d, as many jobs as there are tokens now (--keep-j leaves that to it)", s.tool, n)
}

// given is the form of the path that the command is given.
func (s sight) given(p *plan) programs.Form {
	if p.bridge {
		return programs.FIFO
	}
	return s.tokenFile
}

// planShims decides whether make and ninja are called through shims.
func (s sight) planShims(p *plan, w wishes) {
	name := filepath.Base(s.command.Path)
	given := s.given(p)
	switch {
	case w.shims:
		p.shims = true
	case w.keepJobs:
	case s.command.Kind == programs.Debian, s.command.Kind == programs.RPM:
		p.shims = true
		p.say("make and ninja are called without the -j that %s gives them (--keep-j keeps it)", name)
	case s.command.Kind == programs.Meson && s.ninja.Kind == programs.Ninja && !s.ninja.Accepts(given):
		p.shims = true
		p.say("%v is no client of this jobserver and gets as many jobs as there are tokens (--keep-j leaves that to it)", s.ninja)
	case p.descriptors && s.ninja.Accepts(given):
		p.shims = true
		p.say("%v and %v take different forms of a jobserver, each is handed its own (--keep-j leaves them alone)", s.make, s.ninja)
	case old(s.make) && (s.command.Kind == programs.Cargo || s.tool.Accepts(given)):
		// cargo has build scripts hand CARGO_MAKEFLAGS, which has the path, to make; what ninja runs has its MAKEFLAGS.
		p.shims = true
		p.say("%v would not survive the jobserver that %s hands on, it is handed its own (--keep-j leaves it alone)", s.make, name)
	}
	p.pair = p.shims && old(s.make)
}

// warn tells the user of a ninja in sight that is going to ignore the jobserver though it need not.
func (s sight) warn(p *plan, w wishes) {
	ninja, why := s.ninja, "--bridge=never"
	if s.tool.Kind == programs.Ninja {
		ninja = s.tool
	}
	if w.keepJobs {
		why = "--keep-j"
	}
	switch {
	case ninja.Kind != programs.Ninja || ninja.Accepts(s.given(p)) || p.shims || p.lease > 0:
	case s.tool.Kind == programs.Ninja && s.command.Kind.NinjaJobs(s.args, s.cpus) == 1:
	case s.tool.Kind == programs.Ninja && w.keepJobs, w.bridge == BridgeNever && ninja.Accepts(programs.FIFO):
		p.say("%v is no client of this jobserver and runs jobs of its own (%s)", ninja, why)
	}
}

func (p *plan) say(format string, args ...any) {
	p.messages = append(p.messages, fmt.Sprintf(format, args...))
}
