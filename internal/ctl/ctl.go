// Package ctl is where a steve is found, and what a program can ask of a running one, and set: ioctls on the token file.
// Both programs use it, so that paths, numbers, sizes and ranges stand in one place. docs/PROTOCOL.md is its prose.
//
// It holds records and calls; what a setting means belongs to pool, which answers them.
package ctl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"steve/internal/pool"
)

// Version of the ioctl protocol. A server answers every version up to its own.
const Version = 1

// magic marks the answer to CmdVersion as ours: another driver may answer the same number.
const magic = 0x76657473 // "stev", little endian

// Sizes of the records, in bytes. They are part of the command numbers and never change; a new need gets a new number.
const (
	VersionSize  = 8
	StatusSize   = 80
	SettingsSize = 56
	NestSize     = 8
	RelaySize    = 16
)

// The commands, numbered as in <asm-generic/ioctl.h>: direction, size, type 'S', number.
// A direction is as the program sees it: read is out of the kernel.
const (
	CmdVersion = dirRead | VersionSize<<16 | 'S'<<8 | 1
	CmdStatus  = dirRead | StatusSize<<16 | 'S'<<8 | 2
	CmdSet     = dirWrite | SettingsSize<<16 | 'S'<<8 | 3
	CmdNest    = dirRead | dirWrite | NestSize<<16 | 'S'<<8 | 4
	CmdRelay   = dirRead | dirWrite | RelaySize<<16 | 'S'<<8 | 5
)

const (
	dirWrite = 1 << 30
	dirRead  = 2 << 30
)

// ErrFormat is returned for a record of the wrong size or with contents no version of this package writes.
var ErrFormat = errors.New("malformed record")

// A Status is one moment of a server.
type Status struct {
	Limits pool.Limits
	// Free tokens: those a process under no limit of its own could take now, or that are reserved for one just woken.
	Free int
	// Held tokens, machine-wide. Free + Held is Limits.Jobs, or more after a shrink.
	Held int
	// Holders and Waiters are processes: those that hold a token, and those that wait: in a read, a poll that is armed, NEST
	// or RELAY.
	Holders, Waiters int
}

// AppendVersion appends the answer to CmdVersion.
func AppendVersion(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, magic)
	return binary.LittleEndian.AppendUint32(b, Version)
}

// ParseVersion returns the version in an answer to CmdVersion, or ErrFormat where a server other than steve gave it.
func ParseVersion(b []byte) (int, error) {
	if len(b) != VersionSize || binary.LittleEndian.Uint32(b) != magic {
		return 0, ErrFormat
	}
	v := binary.LittleEndian.Uint32(b[4:])
	if v < 1 || v > math.MaxInt32 {
		return 0, ErrFormat
	}
	return int(v), nil
}

// AppendStatus appends the answer to CmdStatus.
func AppendStatus(b []byte, s Status) []byte {
	b = appendLimits(b, s.Limits)
	for _, n := range [...]int{s.Free, s.Held, s.Holders, s.Waiters} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return b
}

// ParseStatus reads an answer to CmdStatus.
func ParseStatus(b []byte) (Status, error) {
	if len(b) != StatusSize {
		return Status{}, ErrFormat
	}
	s := Status{Limits: parseLimits(b)}
	for i, p := range [...]*int{&s.Free, &s.Held, &s.Holders, &s.Waiters} {
		*p = int(int64(binary.LittleEndian.Uint64(b[limitsSize+8*i:])))
	}
	return s, nil
}

// AppendSettings appends the argument of CmdSet: the fields of mask, taken from l.
func AppendSettings(b []byte, mask pool.Field, l pool.Limits) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(mask))
	b = binary.LittleEndian.AppendUint32(b, 0)
	return appendLimits(b, l)
}

// ParseSettings reads the argument of CmdSet. Whether the values are in range is pool.Limits.Validate's to say.
func ParseSettings(b []byte) (pool.Field, pool.Limits, error) {
	if len(b) != SettingsSize {
		return 0, pool.Limits{}, ErrFormat
	}
	mask := pool.Field(binary.LittleEndian.Uint32(b))
	if mask&^pool.AllFields != 0 || binary.LittleEndian.Uint32(b[4:]) != 0 {
		return 0, pool.Limits{}, fmt.Errorf("%w: unknown field", ErrFormat)
	}
	return mask, parseLimits(b[8:]), nil
}

// The operations of CmdNest, in its argument.
const (
	NestLeave = 0
	NestEnter = 1
)

// The answers to CmdNest.
const (
	NestLeft   = 0 // the answer to NestLeave
	NestTaken  = 1 // a token was taken
	NestShared = 2 // an ancestor's slot is shared, until NestLeave or the end of the process
)

// AppendNest appends the argument of CmdNest, or the answer to it.
func AppendNest(b []byte, n uint32) []byte {
	return binary.LittleEndian.AppendUint64(b, uint64(n))
}

// ParseNest reads the argument of CmdNest, or the answer to it.
func ParseNest(b []byte) (uint32, error) {
	if len(b) != NestSize {
		return 0, ErrFormat
	}
	n := binary.LittleEndian.Uint64(b)
	if n > NestShared {
		return 0, ErrFormat
	}
	return uint32(n), nil
}

// A RelayAsk is the question of a relay: a process that passes its tokens on, to clients that cannot read the token file.
// It is answered as soon as there is something to say, or when the same process asks anew.
type RelayAsk struct {
	// Want is how many tokens the relay would take that nobody else waits for, at least 0.
	Want int
	// Wait says that the relay has a use for one token now: it waits for it like a client in a read.
	Wait bool
	// Idle says that the relay holds a token that nobody uses: it is told when somebody else waits for one.
	Idle bool
	// Less is the last answer's: the relay is told when that changes.
	Less bool
	// Now says that the relay will not wait for an answer.
	Now bool
}

// A RelayAnswer is the answer to a RelayAsk.
type RelayAnswer struct {
	// Tokens were taken: the asking process holds that many more.
	Tokens int
	// Wanted says that somebody else waits, and the relay has an idle token.
	Wanted bool
	// Less says that somebody waits who holds at least two tokens less than the relay.
	Less bool
}

// Bits of the records of CmdRelay.
const (
	relayWait   = 1
	relayIdle   = 2
	relayLess   = 4
	relayWanted = 8
	relayNow    = 16
)

func bit(set bool, b uint32) uint32 {
	if set {
		return b
	}
	return 0
}

// AppendRelayAsk appends the argument of CmdRelay.
func AppendRelayAsk(b []byte, a RelayAsk) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(a.Want))
	b = binary.LittleEndian.AppendUint32(b, bit(a.Wait, relayWait)|bit(a.Idle, relayIdle)|bit(a.Less, relayLess)|bit(a.Now, relayNow))
	return binary.LittleEndian.AppendUint32(b, 0)
}

// ParseRelayAsk reads the argument of CmdRelay.
func ParseRelayAsk(b []byte) (RelayAsk, error) {
	want, flags, err := parseRelay(b, relayWait|relayIdle|relayLess|relayNow)
	return RelayAsk{want, flags&relayWait != 0, flags&relayIdle != 0, flags&relayLess != 0, flags&relayNow != 0}, err
}

// AppendRelayAnswer appends the answer to CmdRelay.
func AppendRelayAnswer(b []byte, a RelayAnswer) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(a.Tokens))
	b = binary.LittleEndian.AppendUint32(b, bit(a.Less, relayLess)|bit(a.Wanted, relayWanted))
	return binary.LittleEndian.AppendUint32(b, 0)
}

// ParseRelayAnswer reads the answer to CmdRelay.
func ParseRelayAnswer(b []byte) (RelayAnswer, error) {
	n, flags, err := parseRelay(b, relayLess|relayWanted)
	return RelayAnswer{n, flags&relayWanted != 0, flags&relayLess != 0}, err
}

// parseRelay reads a count of tokens and flags, of which no others than known may be set.
func parseRelay(b []byte, known uint32) (n int, flags uint32, err error) {
	if len(b) != RelaySize {
		return 0, 0, ErrFormat
	}
	count := binary.LittleEndian.Uint64(b)
	flags = binary.LittleEndian.Uint32(b[8:])
	if count > pool.MaxJobs || flags&^known != 0 || binary.LittleEndian.Uint32(b[12:]) != 0 {
		return 0, 0, ErrFormat
	}
	return int(count), flags, nil
}

// limitsSize is six fields of eight bytes.
const limitsSize = 48

func appendLimits(b []byte, l pool.Limits) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(l.Jobs))
	b = binary.LittleEndian.AppendUint64(b, uint64(l.MinJobs))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(l.LoadAverage))
	b = binary.LittleEndian.AppendUint64(b, uint64(l.RecheckTimeout))
	b = binary.LittleEndian.AppendUint64(b, uint64(l.MinMemory))
	return binary.LittleEndian.AppendUint64(b, uint64(l.PerProcess))
}

func parseLimits(b []byte) pool.Limits {
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	return pool.Limits{
		Jobs:           int(int64(u(0))),
		MinJobs:        int(int64(u(1))),
		LoadAverage:    math.Float64frombits(u(2)),
		RecheckTimeout: time.Duration(u(3)),
		MinMemory:      int64(u(4)),
		PerProcess:     int(int64(u(5))),
	}
}
