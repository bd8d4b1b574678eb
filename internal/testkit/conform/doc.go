// Package conform is the conformance suite: what clients of a token file may rely on, tried by client processes against a
// real steve, the same cases on every front.
//
// It has tests only. On the host they run on FUSE, as root and once more, reduced, as nobody; in guests, by package guest,
// on CUSE. What the pool decides in which order is tested where the pool is; what real clients do with a token file belongs
// to the tests with real clients.
package conform
