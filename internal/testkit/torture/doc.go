// Package torture kills a steve in every way while clients of all kinds take tokens from it: none of them may notice.
//
// Beside its tests it has what others need to do the like: which process is the worker, and to kill it every now and then.
// The harness is in its test files, by concern: the board (memory that clients and test share), the clients, the crowd of
// them with its watch, the server, the strikes, and what must hold at the end. What the token file promises while its
// server lives is the conformance suite's to try.
package torture
