package doctor

import (
	"fmt"
	"strings"

	"steve/internal/programs"
)

// checkPrograms says what the programs at hand will do.
func checkPrograms(f Facts) []Finding {
	var found []Finding
	for _, p := range f.Programs {
		found = append(found, checkProgram(f, p))
	}
	return found
}

func checkProgram(f Facts, p programs.Program) Finding {
	// A path in MAKEFLAGS reaches programs that stevie does not start, too.
	direct := f.Make.State == Steve && strings.HasPrefix(f.Make.Auth, "fifo:")
	id := kindNames[p.Kind]
	name := fmt.Sprintf("%v (%s)", p, p.Path)
	switch {
	case p.Kind == programs.CTest && p.Clientless():
		return note(id+"-clientless", name+" knows no jobserver: with -j it runs that many tests beside all builds", "install CMake 3.29 or later")
	case p.Clientless():
		found := note(id+"-clientless", name+" knows no jobserver and runs as many jobs as it sees fit",
			"start builds by stevie, which gives it as many jobs as there are tokens, or install ninja 1.13 or later")
		if direct {
			found.Severity = Problem
		}
		return found
	case !direct:
		return ok(id, name+" shares when stevie starts the build")
	case p.Accepts(f.Make.Form):
		return ok(id, name+" takes its tokens from "+f.Make.Path)
	case p.Kind == programs.Make:
		return problem("make-path", name+" stops at once where MAKEFLAGS names a path (invalid --jobserver-auth string)",
			"start builds by stevie, which gives it descriptors, or install make 4.4 or later")
	case p.Kind == programs.GCC:
		return note("gcc-path", name+" takes no path for a jobserver, so that -flto=jobserver links without one",
			"install GCC 13 or later, or start builds by stevie")
	}
	return problem(id+"-device", fmt.Sprintf("%s takes only a FIFO for a jobserver: it ignores %s and runs jobs of its own", name, f.Make.Path),
		"start builds by stevie, which gives it a FIFO")
}

// kindNames are the kinds that are looked at.
var kindNames = map[programs.Kind]string{
	programs.Make:  "make",
	programs.Ninja: "ninja",
	programs.CTest: "ctest",
	programs.GCC:   "gcc",
}
