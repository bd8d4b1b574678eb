package doctor

import (
	"fmt"
	"strings"

	"steve/internal/ctl"
	"steve/internal/programs"
)

// jobsIn returns the job count that make would find in value, a MAKEFLAGS, empty if there is none or it is 1.
func jobsIn(value string) string {
	words := strings.Fields(value)
	if len(words) > 0 && !strings.HasPrefix(words[0], "-") && !strings.Contains(words[0], "=") {
		words[0] = "-" + words[0] // options without their dash
	}
	return jobsAmong(programs.Make, words)
}

// jobsAmong returns the job count among the arguments of a program of that kind, empty if there is none or it is 1.
func jobsAmong(k programs.Kind, args []string) string {
	_, removed := k.DropJobs(args)
	if len(removed) == 0 {
		return ""
	}
	return removed[len(removed)-1] // which is the one that counts
}

// checkMakeJobs looks for job counts in the variables that make reads. With a jobserver in MAKEFLAGS they do nothing;
// without, each make is one of its own.
func checkMakeJobs(f Facts) []Finding {
	var found []Finding
	for _, name := range []string{"MAKEFLAGS", "GNUMAKEFLAGS"} {
		jobs := jobsIn(f.Env[name])
		id := strings.ToLower(name) + "-jobs"
		switch {
		case jobs == "":
		case f.Make.Auth != "":
			found = append(found, note(id, fmt.Sprintf("%s has %s, which does nothing beside a jobserver", name, jobs), "take it out of "+name))
		default:
			found = append(found, problem(id, fmt.Sprintf("%s has %s: each make that stevie does not start is a jobserver of its own", name, jobs),
				fmt.Sprintf("take it out of %s (unset %[1]s), or start builds by stevie, which drops it", name)))
		}
	}
	return found
}

// checkPortage looks at the variables of Portage: emake passes MAKEOPTS to make unless MAKEFLAGS is set, and
// ninja-utils.eclass makes NINJAOPTS of the job count in MAKEOPTS unless it is set. An explicit -j takes make and ninja
// out of the jobserver.
func checkPortage(f Facts) []Finding {
	var found []Finding
	ninjaOpts, ninjaSet := f.Env["NINJAOPTS"]
	if jobs := jobsAmong(programs.Ninja, strings.Fields(ninjaOpts)); jobs != "" {
		found = append(found, problem("ninjaopts-jobs",
			fmt.Sprintf("NINJAOPTS has %s: a ninja that is given a job count uses no jobserver", jobs),
			"put only a load limit there: NINJAOPTS=-l$(nproc)"))
	}
	jobs := jobsIn(f.Env["MAKEOPTS"])
	switch {
	case jobs == "":
	case f.Make.Auth == "":
		found = append(found, problem("makeopts-jobs",
			fmt.Sprintf("MAKEOPTS has %s: emake and scripts give it to make, which leaves any jobserver with it", jobs),
			"set MAKEFLAGS=--jobserver-auth=fifo:"+ctl.RootPath+" beside it, with which emake leaves MAKEOPTS out, and NINJAOPTS=-l$(nproc)"))
	case !ninjaSet:
		found = append(found, problem("makeopts-jobs",
			fmt.Sprintf("MAKEOPTS has %s, which ebuilds give to ninja where there is no NINJAOPTS: it uses no jobserver then", jobs),
			"set NINJAOPTS=-l$(nproc)"))
	}
	return found
}

// checkCMake looks for what cmake --build makes a -j of. Empty means a -j without a number.
func checkCMake(f Facts) []Finding {
	level, set := f.Env["CMAKE_BUILD_PARALLEL_LEVEL"]
	if !set || level == "1" {
		return nil
	}
	return []Finding{problem("cmake-jobs",
		fmt.Sprintf("CMAKE_BUILD_PARALLEL_LEVEL=%s: cmake --build gives make and ninja -j%[1]s, with which they leave the jobserver", level),
		"unset CMAKE_BUILD_PARALLEL_LEVEL, or start builds by stevie, which does")}
}

// checkUnread looks at job counts that do less than they seem to.
func checkUnread(f Facts) []Finding {
	var found []Finding
	if jobs := jobsAmong(programs.Ninja, strings.Fields(f.Env["NINJAFLAGS"])); jobs != "" {
		found = append(found, note("ninjaflags-jobs",
			fmt.Sprintf("NINJAFLAGS has %s: ninja does not read it, but scripts that pass it on take ninja out of the jobserver", jobs), "unset NINJAFLAGS"))
	}
	if jobs := f.Env["CARGO_BUILD_JOBS"]; jobs != "" && jobs != "1" {
		found = append(found, note("cargo-jobs",
			fmt.Sprintf("CARGO_BUILD_JOBS=%s does nothing below a jobserver; a cargo without one runs that many jobs of its own", jobs),
			"start builds by stevie"))
	}
	for _, option := range strings.Fields(f.Env["DEB_BUILD_OPTIONS"]) {
		if n, parallel := strings.CutPrefix(option, "parallel="); parallel && n != "1" {
			found = append(found, note("deb-jobs",
				fmt.Sprintf("DEB_BUILD_OPTIONS has %s: debhelper gives make and ninja -j%s, with which they leave the jobserver", option, n),
				"build packages by stevie (stevie dpkg-buildpackage …), which drops it"))
		}
	}
	return found
}
