package doctor

import (
	"fmt"
	"slices"

	"steve/internal/client"
	"steve/internal/programs"
)

// checkTokenFile looks for the steve.
func checkTokenFile(f Facts) []Finding {
	used := f.Used
	switch used.State {
	case Steve:
		s, kind := used.Status, "character device"
		if used.Form == programs.RegularFile {
			kind = "FUSE file"
		}
		return []Finding{ok("steve", fmt.Sprintf("steve serves %d tokens at %s, a %s; %d are available", s.Limits.Jobs, used.Path, kind, s.Free))}
	case Plain:
		return []Finding{plain(used)}
	case Denied:
		return []Finding{problem("steve-denied", used.Problem, firstOf(used.Hint, "ask the owner of "+used.Path))}
	case Dead:
		return []Finding{problem("steve-dead", "the steve is gone that served "+used.Path+": "+used.Problem,
			"start steve again, which clears the path")}
	case Hung:
		return []Finding{problem("steve-hung", "the steve behind "+used.Path+" does not answer",
			"look whether it is stopped (ps -o stat,args -C steve), or start it again")}
	}
	fix := "start steve as root, by its service or by hand"
	if f.Env[client.DeviceVar] != "" {
		fix = "unset " + client.DeviceVar + ", or start a steve that serves this path"
	}
	return []Finding{problem("steve-missing",
		"no steve to be found ("+used.Problem+"): the builds that stevie starts share a pool of their user's alone", fix)}
}

// checkRootFile finds what a redirection to the token file leaves behind while no steve runs.
func checkRootFile(f Facts) []Finding {
	if f.Root.State != Plain || f.Root.Path == f.Used.Path {
		return nil
	}
	return []Finding{plain(f.Root)}
}

func plain(f File) Finding {
	return problem("device-plain", f.Path+" is no device but an ordinary file or directory, as a redirection makes it while no steve runs",
		"remove it (rm "+f.Path+"), then start steve")
}

// checkCUSE tells when a character device would do more than the file that is served.
func checkCUSE(f Facts) []Finding {
	if f.CUSE || f.Used.State != Steve || f.Used.Form != programs.RegularFile {
		return nil
	}
	i := slices.IndexFunc(f.Programs, func(p programs.Program) bool {
		return p.Accepts(programs.CharDevice) && !p.Accepts(programs.RegularFile)
	})
	if i < 0 {
		return []Finding{ok("cuse-missing", "the kernel has no CUSE, so "+f.Used.Path+" is a file; a character device would do no more for the programs here")}
	}
	return []Finding{note("cuse-missing",
		fmt.Sprintf("the kernel has no CUSE, so %s is a file; %v would take a character device, and now must be started by stevie",
			f.Used.Path, f.Programs[i]),
		"load the module (modprobe cuse) where the kernel has one, and start steve again")}
}
