package ctl

// A Server is where tokens come from: the steve behind a token file, or the server embedded in a stevie. The tokens that
// its methods take are this process's, and come back when it ends.
//
// Its methods may be called by several goroutines.
type Server interface {
	// Take takes one token, waiting for it.
	Take() error
	// Return gives n tokens back.
	Return(n int) error
	// Nest waits for a slot to run one command in: an ancestor's, which Leave gives up, or else a token, which Return does.
	Nest() (shared bool, err error)
	// Leave gives up the slot of an ancestor process.
	Leave() error
	// Relay waits until there is something to tell a relay, or until it is called again.
	Relay(RelayAsk) (RelayAnswer, error)
	// Status asks for settings and counts, of one moment.
	Status() (Status, error)
	// Close is the last call. Others that wait may go on waiting, and what they take, like all that was taken before, stays
	// with this process until it ends.
	Close() error
}

var _ Server = (*Conn)(nil)
