// Package builds tries real jobserver clients on a real steve: GNU make of both kinds, cargo, rustc and ctest, alone, at
// the same time on real source, and killed.
//
// It has tests only. They run on the host's FUSE, and by package guest on CUSE. What the token file itself promises is
// the conformance suite's to try, and what stevie makes of its command line is in cmd/stevie.
package builds
