package programs

import (
	"slices"
	"strconv"
	"strings"

	"steve/internal/makeflags"
)

// DropJobs takes the job count out of args, the arguments of a program of this kind that would leave the jobserver because
// of it, make and ninja, or tell one of these to. Removed is what was taken out.
//
// A count of one stays. It is asked for where a build breaks if run in parallel, and what it runs is the one job that any
// program may run anyway.
func (k Kind) DropJobs(args []string) (kept, removed []string) {
	kept, removed = k.strip(args)
	if len(removed) == 0 || Serial(removed) {
		return args, nil
	}
	return kept, removed
}

// IsSerial says whether args, the arguments of a program of this kind, ask for one job at a time.
func (k Kind) IsSerial(args []string) bool {
	_, removed := k.strip(args)
	return Serial(removed)
}

// Serial says whether job counts, as they are given to one program, ask for one job at a time: the last of them counts.
func Serial(counts []string) bool {
	return len(counts) > 0 && count(counts[len(counts)-1]) == 1
}

// strip takes all job counts out of args.
func (k Kind) strip(args []string) (kept, removed []string) {
	switch {
	case k == Make:
		return makeflags.StripJobs(args)
	case k == Ninja:
		return stripNinja(args)
	case k == CMake && len(args) > 0 && args[0] == "--build":
		return stripLong(args, "--parallel")
	case k == Meson && len(args) > 0 && args[0] == "compile":
		return stripLong(args, "--jobs")
	}
	return args, nil
}

// count is the number at the end of an option, 0 if there is none.
func count(option string) int {
	digits := option[strings.LastIndexFunc(option, func(r rune) bool { return r < '0' || r > '9' })+1:]
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// NinjaJobs is how many jobs a ninja runs side by side by itself, on that many CPUs, when the program of this kind, a ninja
// or a cmake that runs one, is called with args. It is 1 for a ninja that builds nothing.
func (k Kind) NinjaJobs(args []string, cpus int) int {
	const infinite = 1 << 20
	kept, removed := k.strip(args)
	switch {
	case k == Ninja && !builds(kept):
		return 1
	case len(removed) > 0:
		if n := count(removed[len(removed)-1]); n > 0 {
			return n
		}
		// src/ninja.cc, ReadFlags, has no limit for 0; what is no number it refuses.
		return infinite
	// src/ninja.cc, GuessParallelism.
	case cpus <= 1:
		return 2
	case cpus == 2:
		return 3
	}
	return cpus + 2
}

// builds says whether a ninja with these arguments builds anything.
func builds(args []string) bool {
	return !slices.ContainsFunc(args, func(a string) bool {
		return a == "--version" || a == "--help" || a == "-h" || a == "-n" || strings.HasPrefix(a, "-t")
	})
}

// WithNinjaJobs returns args, for a program as in NinjaJobs, with n as the ninja's job count.
func (k Kind) WithNinjaJobs(args []string, n int) []string {
	kept, _ := k.strip(args)
	at := 0
	if k == CMake {
		at = min(2, len(kept)) // behind "--build DIR"
	}
	return slices.Insert(slices.Clone(kept), at, "-j"+strconv.Itoa(n))
}

// stripNinja takes all job counts out of the arguments of a ninja.
func stripNinja(args []string) (kept, removed []string) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(kept, args[i:]...), removed
		}
		if !strings.HasPrefix(arg, "-") || strings.HasPrefix(arg, "--") {
			kept = append(kept, arg)
			continue
		}
		// A dash and letters; the first of those that have an argument takes the rest, or the next word.
		n := strings.IndexAny(arg, "dfjkltwC")
		hasArg := n > 0
		attached := hasArg && n < len(arg)-1
		if hasArg && arg[n] == 'j' {
			if n > 1 {
				kept = append(kept, arg[:n])
			}
			count := "-" + arg[n:]
			if !attached && i+1 < len(args) {
				i++
				count += " " + args[i]
			}
			removed = append(removed, count)
			continue
		}
		kept = append(kept, arg)
		if hasArg && !attached && i+1 < len(args) {
			i++
			kept = append(kept, args[i])
		}
		if hasArg && arg[n] == 't' {
			// What follows is the tool's.
			return append(kept, args[i+1:]...), removed
		}
	}
	return kept, removed
}

// stripLong takes the job counts out of the arguments of a cmake or meson that builds: "-j", or the long name it has
// there, with a number behind it or none. What follows "--" is for the make or ninja it runs.
func stripLong(args []string, long string) (kept, removed []string) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			native, r := makeflags.StripJobs(args[i+1:])
			return append(append(kept, arg), native...), append(removed, r...)
		}
		number, isCount := strings.CutPrefix(arg, long)
		if isCount {
			number = strings.TrimPrefix(number, "=")
		} else {
			number, isCount = strings.CutPrefix(arg, "-j")
		}
		if !isCount || !isNumber(number) {
			kept = append(kept, arg)
			continue
		}
		if number == "" && i+1 < len(args) && args[i+1] != "" && isNumber(args[i+1]) {
			i++
			arg += " " + args[i]
		}
		removed = append(removed, arg)
	}
	return kept, removed
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }
