package doctor

import (
	"fmt"
	"path/filepath"
)

// checkSccache looks for sccache, which compiles in a server outside of the build. The server leaves any jobserver it
// is started with, and gives rustc one of its own with a token for each CPU (src/jobserver.rs). What remains in the build
// is a client per compilation that waits, so that compilations count, but not the threads of rustc.
func checkSccache(f Facts) []Finding {
	const fix = "build without it (unset RUSTC_WRAPPER), or bound its server: sccache --stop-server; taskset -c 0-1 sccache --start-server"
	if len(f.Sccache) > 0 {
		return []Finding{problem("sccache-server",
			fmt.Sprintf("sccache (pid %d) compiles in a server outside of your builds: one job each is counted, the threads of rustc take tokens of its own",
				f.Sccache[0]), fix)}
	}
	for _, name := range []string{"RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"} {
		if filepath.Base(f.Env[name]) == "sccache" {
			return []Finding{note("sccache-wrapper", name+" is sccache, which starts a server that compiles outside of your builds", fix)}
		}
	}
	return nil
}
