// A server on go-fuse to compare with, apart from what steve itself depends on.
module steve/bench/gofuse

go 1.25.0

require github.com/hanwen/go-fuse/v2 v2.12.1

require golang.org/x/sys v0.28.0 // indirect
