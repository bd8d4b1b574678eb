package doctor

import (
	"steve/internal/ctl"
	"steve/internal/programs"
)

// Facts are all that is judged.
type Facts struct {
	// Env is the environment. A variable that is set and empty is in it.
	Env map[string]string
	// Used is the token file that stevie uses, or would use if it were there.
	Used File
	// Root is the one of root's steve.
	Root File
	// Make and Cargo are what MAKEFLAGS and CARGO_MAKEFLAGS name.
	Make, Cargo Jobserver
	// CUSE says that this machine can serve character devices.
	CUSE bool
	// Programs are those found on PATH that know a jobserver or would have to.
	Programs []programs.Program
	// Sccache are the process ids of this user's processes of that name.
	Sccache []int
}

// A State is what is at a path.
type State int

// States.
const (
	Missing  State = iota // nothing
	Steve                 // a token file, and a steve answers
	Bridge                // a FIFO of the stevie that this process runs below
	Foreign               // a FIFO that some other jobserver serves
	Unserved              // a FIFO that nobody serves
	Plain                 // a file or directory that is no jobserver's
	Device                // a character device of another driver
	Denied                // it may not be opened
	Dead                  // a token file whose steve is gone
	Hung                  // a token file whose steve does not answer
	Closed                // no file: a descriptor that is not open
	Unclear               // it fails in some other way
)

// A File is a path, and what is there.
type File struct {
	Path  string
	State State
	// Form is how clients see it, if it is a steve's.
	Form programs.Form
	// Status is the steve's.
	Status ctl.Status
	// Problem is why it cannot be used, and Hint what may help; Hint may be empty.
	Problem, Hint string
}

// A Jobserver is what a variable names.
type Jobserver struct {
	// Auth is "fifo:PATH" or "R,W", empty if there is none.
	Auth string
	File
}

// serves says whether tokens of a steve come from there.
func (s State) serves() bool { return s == Steve || s == Bridge }
