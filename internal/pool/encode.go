package pool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"
)

// An event is encoded as its kind, a byte of flags, and the fields that its kind names, each as one or more 64-bit words,
// little endian. The words are fixed in width because that is what costs least to write, before every answer.

// The flags of an encoded event.
const (
	flagWait = 1 << iota
	flagPrivate
	flagIdle
	flagLess
	flagNow
	flagForgive
)

// words says which fields of an event are written, in this order.
type words uint8

const (
	hasClient words = 1 << iota
	hasTicket
	hasHandle
	hasN
	hasHost   // Under[0]
	hasUnder  // all of Under
	hasLimits // Mask and Limits
	hasSample // Load and Memory
)

// count is the number of words.
func (w words) count() int {
	n := bits.OnesCount8(uint8(w))
	if w&hasUnder != 0 {
		n += MaxUnder - 1
	}
	if w&hasLimits != 0 {
		n += 6
	}
	if w&hasSample != 0 {
		n++
	}
	return n
}

// layouts are what each kind of event names.
var layouts = [...]struct {
	words words
	flags uint8
}{
	Acquire: {hasClient | hasTicket, flagWait},
	Return:  {hasClient | hasTicket | hasN, flagForgive},
	Cancel:  {hasTicket, 0},
	Watch:   {hasClient | hasTicket | hasHandle, flagWait},
	Close:   {hasHandle, 0},
	Exit:    {hasClient, 0},
	Forget:  {hasClient, 0},
	Refuse:  {hasClient | hasTicket, flagWait},
	Lost:    {hasClient | hasN, flagPrivate},
	Set:     {hasTicket | hasLimits, 0},
	Sample:  {hasSample, 0},
	Tick:    {},
	Stop:    {},
	Relay:   {hasClient | hasTicket | hasN, flagWait | flagIdle | flagLess | flagNow},
	Nest:    {hasClient | hasTicket | hasUnder, 0},
	Leave:   {hasClient | hasTicket, 0},
	Hold:    {hasClient | hasN, 0},
	Lodge:   {hasClient | hasHost, 0},
}

// AppendEvent appends e, whose kind must be one of the events, to b, for DecodeEvent. Fields that its kind does not name are
// not written.
func AppendEvent(b []byte, e Event) []byte {
	l := layouts[e.Kind]
	b = append(b, byte(e.Kind), e.flags()&l.flags)
	if l.words&hasClient != 0 {
		b = appendWord(b, uint64(e.Client))
	}
	if l.words&hasTicket != 0 {
		b = appendWord(b, uint64(e.Ticket))
	}
	if l.words&hasHandle != 0 {
		b = appendWord(b, uint64(e.Handle))
	}
	if l.words&hasN != 0 {
		b = appendWord(b, uint64(e.N))
	}
	if l.words&(hasHost|hasUnder|hasLimits|hasSample) != 0 {
		b = appendRare(b, l.words, &e)
	}
	return b
}

func appendWord(b []byte, w uint64) []byte { return binary.LittleEndian.AppendUint64(b, w) }

// appendRare appends what is not in every request's way.
func appendRare(b []byte, w words, e *Event) []byte {
	if w&hasHost != 0 {
		b = appendWord(b, uint64(e.Under[0]))
	}
	if w&hasUnder != 0 {
		for _, c := range e.Under {
			b = appendWord(b, uint64(c))
		}
	}
	if w&hasLimits != 0 {
		b = appendWord(b, uint64(e.Mask))
		b = appendWord(b, uint64(e.Limits.Jobs))
		b = appendWord(b, uint64(e.Limits.MinJobs))
		b = appendWord(b, math.Float64bits(e.Limits.LoadAverage))
		b = appendWord(b, uint64(e.Limits.RecheckTimeout))
		b = appendWord(b, uint64(e.Limits.MinMemory))
		b = appendWord(b, uint64(e.Limits.PerProcess))
	}
	if w&hasSample != 0 {
		b = appendWord(b, math.Float64bits(e.Load))
		b = appendWord(b, uint64(e.Memory))
	}
	return b
}

func (e *Event) flags() (f uint8) {
	if e.Wait {
		f |= flagWait
	}
	if e.Private {
		f |= flagPrivate
	}
	if e.Idle {
		f |= flagIdle
	}
	if e.Less {
		f |= flagLess
	}
	if e.Now {
		f |= flagNow
	}
	if e.Forgive {
		f |= flagForgive
	}
	return f
}

// DecodeEvent returns the event of which b is the encoding, all of it. It is an error if b is none.
func DecodeEvent(b []byte) (Event, error) {
	if len(b) < 2 {
		return Event{}, errors.New("pool event: truncated")
	}
	kind, flags := EventKind(b[0]), b[1]
	if kind == 0 || int(kind) >= len(layouts) {
		return Event{}, fmt.Errorf("pool event: unknown %v", kind)
	}
	l := layouts[kind]
	if flags&^l.flags != 0 {
		return Event{}, fmt.Errorf("pool event: %v with flags %#x", kind, flags)
	}
	if want := 2 + 8*l.words.count(); len(b) != want {
		return Event{}, fmt.Errorf("pool event: %v of %d bytes, must be %d", kind, len(b), want)
	}
	e := Event{
		Kind: kind, Wait: flags&flagWait != 0, Private: flags&flagPrivate != 0, Idle: flags&flagIdle != 0,
		Less: flags&flagLess != 0, Now: flags&flagNow != 0, Forgive: flags&flagForgive != 0,
	}
	if err := e.decodeWords(l.words, b[2:]); err != nil {
		return Event{}, fmt.Errorf("pool event: %v: %w", kind, err)
	}
	return e, nil
}

// decodeWords sets the fields w from b, which is as long as they are.
func (e *Event) decodeWords(w words, b []byte) error {
	var err error
	word := func() uint64 {
		v := binary.LittleEndian.Uint64(b)
		b = b[8:]
		return v
	}
	number := func() int {
		v := int64(word())
		if int64(int(v)) != v {
			err = errors.New("a number out of range")
		}
		return int(v)
	}
	if w&hasClient != 0 {
		e.Client = Client(word())
	}
	if w&hasTicket != 0 {
		e.Ticket = Ticket(word())
	}
	if w&hasHandle != 0 {
		e.Handle = Handle(word())
	}
	if w&hasN != 0 {
		if e.N = number(); e.N < 0 {
			err = errors.New("fewer tokens than none")
		}
	}
	if w&hasHost != 0 {
		e.Under[0] = Client(word())
	}
	if w&hasUnder != 0 {
		for i := range e.Under {
			e.Under[i] = Client(word())
		}
	}
	if w&hasLimits != 0 {
		mask := word()
		if mask > math.MaxUint32 {
			err = errors.New("a mask out of range")
		}
		e.Mask = Field(mask)
		e.Limits = Limits{
			Jobs: number(), MinJobs: number(), LoadAverage: math.Float64frombits(word()),
			RecheckTimeout: time.Duration(word()), MinMemory: int64(word()), PerProcess: number(),
		}
	}
	if w&hasSample != 0 {
		e.Load, e.Memory = math.Float64frombits(word()), int64(word())
	}
	return err
}
