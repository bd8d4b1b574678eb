package doctor

import (
	"fmt"
	"strings"
)

const unsetMake = "unset MAKEFLAGS; stevie sets it for the builds it starts"

// checkJobserver looks at what MAKEFLAGS names.
func checkJobserver(f Facts) []Finding {
	j := f.Make
	if j.Auth == "" {
		return []Finding{ok("makeflags", "MAKEFLAGS names no jobserver: builds share when stevie starts them (stevie make …)")}
	}
	if j.Path == f.Used.Path && !j.State.serves() {
		return nil // checkTokenFile tells
	}
	stale := func(why string) []Finding {
		return []Finding{problem("makeflags-stale", fmt.Sprintf("MAKEFLAGS names the jobserver %s, %s", j.Auth, why), unsetMake)}
	}
	switch j.State {
	case Steve:
		if j.Path != f.Used.Path && strings.HasPrefix(j.Auth, "fifo:") {
			return []Finding{problem("makeflags-other",
				fmt.Sprintf("MAKEFLAGS names the steve at %s, and stevie uses the one at %s", j.Path, f.Used.Path),
				"let STEVE_DEVICE and MAKEFLAGS name the same")}
		}
		return []Finding{ok("makeflags", "MAKEFLAGS names a steve")}
	case Bridge:
		return []Finding{ok("makeflags", "MAKEFLAGS names the FIFO of the stevie that runs this")}
	case Missing:
		return stale("which does not exist")
	case Unserved:
		return stale("a FIFO that nobody serves: a build would wait for it without end")
	case Dead, Hung:
		return stale("whose server is gone")
	case Closed:
		return []Finding{problem("makeflags-closed",
			fmt.Sprintf("MAKEFLAGS names the descriptors %s, which are not open here: make keeps them from recipes without + or $(MAKE)", j.Auth),
			"write + in front of the recipe's line, or "+unsetMake)}
	case Plain:
		return []Finding{problem("makeflags-plain", fmt.Sprintf("MAKEFLAGS names %s, which is an ordinary file and no jobserver", j.Path), unsetMake)}
	case Denied:
		return []Finding{problem("makeflags-denied", fmt.Sprintf("MAKEFLAGS names %s: %s", j.Path, j.Problem), firstOf(j.Hint, unsetMake))}
	case Foreign, Device:
		return []Finding{problem("makeflags-other",
			fmt.Sprintf("MAKEFLAGS names another jobserver, %s: builds from here share its tokens and not those of steve", j.Auth),
			"start the outermost build by stevie, or "+unsetMake)}
	}
	return stale(j.Problem)
}

// checkCargo looks for a CARGO_MAKEFLAGS in front of MAKEFLAGS: of CARGO_MAKEFLAGS, MAKEFLAGS and MFLAGS, the crate
// jobserver takes the first that is set, be it empty.
func checkCargo(f Facts) []Finding {
	if _, set := f.Env["CARGO_MAKEFLAGS"]; !set || f.Cargo.Auth == f.Make.Auth || f.Cargo.State.serves() && f.Cargo.Auth != "" {
		return nil
	}
	names := "no jobserver"
	if f.Cargo.Auth != "" {
		names = f.Cargo.Auth
	}
	return []Finding{problem("cargo-makeflags",
		fmt.Sprintf("CARGO_MAKEFLAGS hides MAKEFLAGS from cargo, rustc and build scripts, and names %s", names), "unset CARGO_MAKEFLAGS")}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
