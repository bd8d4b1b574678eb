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
	NestedSize   = 8
)

// The commands, numbered as in <asm-generic/ioctl.h>: direction, size, type 'S', number.
// A direction is as the program sees it: read is out of the kernel.
const (
	CmdVersion = dirRead | VersionSize<<16 | 'S'<<8 | 1
	CmdStatus  = dirRead | StatusSize<<16 | 'S'<<8 | 2
	CmdSet     = dirWrite | SettingsSize<<16 | 'S'<<8 | 3
	CmdNested  = dirRead | NestedSize<<16 | 'S'<<8 | 4
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
	// Holders and Waiters are processes: those that hold a token, and those in a blocked read or an armed poll.
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

// AppendNested appends the answer to CmdNested: whether an ancestor process of the caller holds a token.
func AppendNested(b []byte, holds bool) []byte {
	var n uint64
	if holds {
		n = 1
	}
	return binary.LittleEndian.AppendUint64(b, n)
}

// ParseNested reads an answer to CmdNested.
func ParseNested(b []byte) (bool, error) {
	if len(b) != NestedSize {
		return false, ErrFormat
	}
	return binary.LittleEndian.Uint64(b) != 0, nil
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
