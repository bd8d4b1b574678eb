package daemon

import "steve/internal/fuseconn"

// wrapDevice is for tests that come between the server and the kernel, see dying.go.
var wrapDevice = func(d fuseconn.Device) fuseconn.Device { return d }
