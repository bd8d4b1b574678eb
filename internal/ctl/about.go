package ctl

import (
	"encoding/binary"
	"math"
)

// CmdServer asks what serves the token file.
const CmdServer = dirRead | AboutSize<<16 | 'S'<<8 | 7

// AboutSize is the size of the record of CmdServer, in bytes.
const AboutSize = 40

// About is what serves a token file: a worker, which answers, and a keeper, which starts another worker when that one ends.
type About struct {
	// Keeper and Worker are pids, as the server sees them. Keeper is 0 if there is none.
	Keeper, Worker int
	// Started is when the keeper started, in clock ticks since boot (field 22 in proc_pid_stat(5)). It is 0 where the keeper
	// is a service manager.
	Started uint64
	// Takeovers is how often another worker has taken over.
	Takeovers uint64
	// Forgiven are tokens that were returned though nobody was known to hold them, on open files older than a server
	// that started without the state of the last.
	Forgiven uint64
}

// AppendAbout appends the answer to CmdServer.
func AppendAbout(b []byte, a About) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(a.Keeper))
	b = binary.LittleEndian.AppendUint32(b, uint32(a.Worker))
	for _, n := range [...]uint64{a.Started, a.Takeovers, a.Forgiven, 0} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

// ParseAbout reads an answer to CmdServer.
func ParseAbout(b []byte) (About, error) {
	if len(b) != AboutSize {
		return About{}, ErrFormat
	}
	keeper, worker := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	if keeper > math.MaxInt32 || worker > math.MaxInt32 || binary.LittleEndian.Uint64(b[32:]) != 0 {
		return About{}, ErrFormat
	}
	return About{
		Keeper:    int(keeper),
		Worker:    int(worker),
		Started:   binary.LittleEndian.Uint64(b[8:]),
		Takeovers: binary.LittleEndian.Uint64(b[16:]),
		Forgiven:  binary.LittleEndian.Uint64(b[24:]),
	}, nil
}
