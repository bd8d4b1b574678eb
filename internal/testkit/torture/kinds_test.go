package torture

import (
	"time"

	"steve/internal/testkit/guest"
)

// A kind of client.
type kind struct {
	// start begins, and returns what to do over and over.
	start func(*client) (round func() error, err error)
	// child says that it is started by another client, until whose end it runs.
	child bool
	// program says that it runs programs that are clients themselves. They know nothing of EIO, and where a round is a
	// whole build it takes its time.
	program bool
}

var kinds map[string]kind

func init() { // clients start others
	kinds = map[string]kind{
		"blocking":    {start: blocking},
		"polling":     {start: polling},
		"retrying":    {start: retrying},
		"two threads": {start: twoThreads},
		"several":     {start: several},
		"relay":       {start: relaying},
		"resizing":    {start: changing},
		"interrupted": {start: interrupted},
		"fleeting":    {start: fleeting},
		"bereaved":    {start: bereaved},
		"doomed":      {start: doomed, child: true},
		"nesting":     {start: nesting},
		"nested":      {start: nested, child: true},
		"stevie":      {start: stevies, program: true},
		"make":        {start: makes, program: true},
		"small make":  {start: smallMakes, program: true},
		"cargo":       {start: cargos, program: true},
	}
}

// residents are clients of all kinds that are no programs. In a guest, where a process costs ten times what it does on the
// host, they are one of each.
func residents() []string {
	each := []string{
		"blocking", "polling", "retrying", "two threads", "several", "relay", "nesting", "resizing", "interrupted",
		"fleeting", "bereaved",
	}
	if guest.Inside() {
		return each
	}
	return append(each, "blocking", "polling")
}

// patience is how long a client of the kind may take for one round before it counts as stuck. One that retries needs luck
// in a guest, where it cannot be back as soon as a token is kept for it.
func (k kind) patience() time.Duration {
	patience := 20 * time.Second
	if guest.Inside() {
		patience *= 3
	}
	if k.program { // a whole build
		patience *= 4
	}
	return patience
}
