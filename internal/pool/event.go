package pool

import (
	"fmt"
	"strings"
)

// A Client is a process, named by its owner for as long as it lives. A recycled process id is a new Client.
type Client uint64

// A Ticket names one request that wants an answer. It is unique among the requests not yet answered.
type Ticket uint64

// A Handle names one open file for polling: waking it wakes whoever polls that open file.
type Handle uint64

// EventKind says what an Event means and which of its fields count.
type EventKind uint8

// The events.
const (
	// Acquire: Client reads a byte on Ticket; Wait says whether it would rather wait than be denied.
	Acquire EventKind = iota + 1
	// Return: Client writes N bytes on Ticket; Forgive says that more than it holds is to be accepted.
	Return
	// Cancel: the request Ticket is to end now, if it still waits.
	Cancel
	// Watch: Client polls Handle on Ticket; Wait says that it wants to be woken by Handle.
	Watch
	// Close: Handle is gone.
	Close
	// Exit: Client has ended.
	Exit
	// Forget: Client is no longer observed. It holds and lends nothing; what is remembered of it is dropped.
	Forget
	// Refuse: the Grant of Ticket to Client, no lender, could not be made safe and was not delivered. Wait is the Grant's.
	Refuse
	// Lost: N tokens given to Client, or with Private its own, found nobody to take them.
	Lost
	// Set: the fields Mask of Limits are to change, on Ticket, or, with no Ticket, without an answer.
	Set
	// Sample: the load average is Load and MemAvailable Memory MiB.
	Sample
	// Tick: time has passed.
	Tick
	// Stop: no token is given any more, and nobody is to wait.
	Stop
	// Relay: Client, which passes its tokens on to others, asks on Ticket what there is for it, and withdraws what it
	// asked before. It would take N tokens that nobody else waits for; if Wait it waits for one as in Acquire; if Idle it
	// has one that it has no use for. Less is what it was told last. If Now it will not wait for an answer; one that
	// never does keeps what it gets.
	Relay
	// Nest: Client wants a slot to run in, on Ticket: that of one of its ancestors Under, or a token.
	Nest
	// Leave: Client gives up its ancestor's slot, on Ticket, or never heard that it has one, with no Ticket.
	Leave
	// Hold: Client holds N tokens more than this pool gave it. They were given before the pool was made.
	Hold
	// Lodge: Client, which waits for no slot, is in that of its ancestor Under[0] since before the pool was made.
	Lodge
)

// asks says whether an event of kind k waits for an answer on its Ticket.
func (k EventKind) asks() bool {
	switch k {
	case Acquire, Return, Watch, Set, Relay, Nest, Leave:
		return true
	}
	return false
}

// MaxUnder is how many ancestors a Nest looks at.
const MaxUnder = 4

// An Event is what happened. Fields that its Kind does not name are zero.
type Event struct {
	Kind    EventKind
	Wait    bool
	Private bool
	Idle    bool
	Less    bool
	Now     bool
	// Return: what is more than Client holds is accepted, and nothing is lent: it was taken before the pool was made.
	Forgive bool
	Client  Client
	Ticket  Ticket
	Handle  Handle
	N       int
	Under   [MaxUnder]Client // those that are 0 are none
	Mask    Field
	Limits  Limits
	Load    float64
	Memory  int64
}

// EffectKind says what an Effect asks for and which of its fields count.
type EffectKind uint8

// The effects.
const (
	// Grant: Ticket gets a token, and Client's end must be observed from before it is told.
	// Wait: the request waits rather than be denied. Private: it is the token Client lent itself, none of the pool's.
	Grant EffectKind = iota + 1
	// Deny: Ticket gets no token now.
	Deny
	// Accept: Ticket's first N bytes were taken back.
	Accept
	// Excess: Ticket returns what its process does not hold.
	Excess
	// Readiness: the answer to a poll on Ticket; Ready says whether a read by that process would succeed now.
	Readiness
	// Interrupt: Ticket, cancelled, ends without a token.
	Interrupt
	// Abort: Ticket ends because the pool has stopped.
	Abort
	// Changed: the settings of Ticket hold from now on.
	Changed
	// Invalid: the settings of Ticket were out of range, and none was taken.
	Invalid
	// Relayed: Ticket, of a Relay, gets N tokens. Wanted: somebody else waits, and Client has an idle token. Less: somebody
	// waits who holds at least two tokens less than Client.
	Relayed
	// Nested: Ticket gets a token if N is 1, else the slot of an ancestor.
	Nested
	// Left: the client of Ticket has left the slot of its ancestor.
	Left
	// Wake: whoever polls Handle should look again. Client, if any, has a token kept for it, or had: if it has ended, say so.
	Wake
)

// An Effect is what is to be done, in the order given. Fields that its Kind does not name are zero.
type Effect struct {
	Kind    EffectKind
	Wait    bool
	Private bool
	Ready   bool
	Wanted  bool
	Less    bool
	Client  Client
	Ticket  Ticket
	Handle  Handle
	N       int
}

var eventNames = [...]string{
	Acquire: "acquire", Return: "return", Cancel: "cancel", Watch: "watch", Close: "close", Exit: "exit", Forget: "forget",
	Refuse: "refuse", Lost: "lost", Set: "set", Sample: "sample", Tick: "tick", Stop: "stop",
	Relay: "relay", Nest: "nest", Leave: "leave", Hold: "hold", Lodge: "lodge",
}

var effectNames = [...]string{
	Grant: "grant", Deny: "deny", Accept: "accept", Excess: "excess", Readiness: "readiness", Interrupt: "interrupt",
	Abort: "abort", Changed: "changed", Invalid: "invalid", Relayed: "relayed", Nested: "nested", Left: "left", Wake: "wake",
}

func (k EventKind) String() string  { return nameOf(eventNames[:], int(k)) }
func (k EffectKind) String() string { return nameOf(effectNames[:], int(k)) }

func nameOf(names []string, k int) string {
	if k < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", k)
}

// String is the one line that stands for e in logs and transcripts.
func (e Event) String() string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	describe(&b, e.Client, e.Ticket, e.Handle)
	switch e.Kind {
	case Return, Lost, Hold:
		fmt.Fprintf(&b, " n=%d", e.N)
	case Relay:
		fmt.Fprintf(&b, " n=%d", e.N)
		describeFlag(&b, "idle", e.Idle)
		describeFlag(&b, "less", e.Less)
		describeFlag(&b, "now", e.Now)
	case Nest, Lodge:
		for _, c := range e.Under {
			if c != 0 {
				fmt.Fprintf(&b, " under=%d", c)
			}
		}
	case Set:
		describeLimits(&b, e.Mask, e.Limits)
	case Sample:
		fmt.Fprintf(&b, " load=%v memory=%d", e.Load, e.Memory)
	}
	describeFlag(&b, "wait", e.Wait)
	describeFlag(&b, "private", e.Private)
	describeFlag(&b, "forgive", e.Forgive)
	return b.String()
}

// String is the one line that stands for e in logs and transcripts.
func (e Effect) String() string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	describe(&b, e.Client, e.Ticket, e.Handle)
	switch e.Kind {
	case Accept, Nested:
		fmt.Fprintf(&b, " n=%d", e.N)
	case Relayed:
		fmt.Fprintf(&b, " n=%d", e.N)
		describeFlag(&b, "wanted", e.Wanted)
		describeFlag(&b, "less", e.Less)
	case Readiness:
		fmt.Fprintf(&b, " ready=%t", e.Ready)
	}
	describeFlag(&b, "wait", e.Wait)
	describeFlag(&b, "private", e.Private)
	return b.String()
}

func describe(b *strings.Builder, c Client, t Ticket, h Handle) {
	if c != 0 {
		fmt.Fprintf(b, " client=%d", c)
	}
	if t != 0 {
		fmt.Fprintf(b, " ticket=%d", t)
	}
	if h != 0 {
		fmt.Fprintf(b, " handle=%d", h)
	}
}

func describeFlag(b *strings.Builder, name string, set bool) {
	if set {
		b.WriteString(" " + name)
	}
}

func describeLimits(b *strings.Builder, mask Field, l Limits) {
	for _, f := range [...]struct {
		bit   Field
		name  string
		value any
	}{
		{FieldJobs, "jobs", l.Jobs},
		{FieldMinJobs, "min-jobs", l.MinJobs},
		{FieldLoadAverage, "load-average", l.LoadAverage},
		{FieldRecheckTimeout, "load-recheck-timeout", l.RecheckTimeout},
		{FieldMinMemory, "min-memory-avail", l.MinMemory},
		{FieldPerProcess, "per-process-limit", l.PerProcess},
	} {
		if mask&f.bit != 0 {
			fmt.Fprintf(b, " %s=%v", f.name, f.value)
		}
	}
}
