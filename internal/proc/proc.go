// Package proc tells which process a request comes from, when that process has ended, and what it is called.
//
// Table is for the thread that serves requests: it maps thread ids, which is what a FUSE request header carries, to
// processes, and watches those that matter by pidfd. The table of a later program can continue it. FS reads facts about
// a process for people and for policy.
//
// What a process holds, and who is answered, belongs to pool; that this package asks and tells by functions given to
// NewTable. Nothing here knows a token.
package proc

import "errors"

var (
	// ErrGone says that the thread or process is no more.
	ErrGone = errors.New("process is gone")
	// ErrUnseen says that the caller has no process id in the pid namespace of this process.
	ErrUnseen = errors.New("caller is outside of the pid namespace")
	// ErrNoDescriptor says that the process cannot be watched, or looked up, for want of a file descriptor or of memory.
	ErrNoDescriptor = errors.New("out of file descriptors")
)
