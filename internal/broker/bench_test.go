package broker

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"

	"steve/internal/front"
	"steve/internal/fuseconn"
	"steve/internal/fusewire"
	"steve/internal/journal"
	"steve/internal/pool"
	"steve/internal/testkit/fakekernel"
)

// script is a device that gives the same few requests again and again, under uniques that never come twice, and takes any
// answer. Unlike a fakekernel.Kernel it keeps nothing, and so allocates nothing.
type script struct {
	messages [][]byte
	next     int
	unique   uint64
	left     int // messages to give before EAGAIN
	answers  int // without an error
}

func (s *script) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, syscall.EAGAIN
	}
	s.left--
	n := copy(p, s.messages[s.next])
	s.next = (s.next + 1) % len(s.messages)
	s.unique += 2
	binary.NativeEndian.PutUint64(p[8:], s.unique)
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	if binary.NativeEndian.Uint32(p[4:]) == 0 {
		s.answers++
	}
	return len(p), nil
}

// hotPath is a broker of one token on a script.
type hotPath struct {
	*Broker
	script
	served int
}

func newHotPath(tb testing.TB, journaled bool, messages ...[]byte) *hotPath {
	h := &hotPath{script: script{messages: messages}}
	tokens := pool.New(pool.DefaultLimits(1))
	conn := fuseconn.New(&h.script)
	var book *Journal
	var note func(journal.Fact)
	if journaled {
		j, err := journal.Create(nil)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			j.Close()
			syscall.Close(j.FD())
		})
		conn = fuseconn.NewIn(&h.script, j.Slot())
		book = &Journal{Journal: j, Failed: func(err error) { tb.Error(err) }}
		note = book.Note
	}
	server, err := front.New(front.Config{Conn: conn, FD: -1, Pool: tokens, Note: note, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { server.Close() })
	if book != nil {
		book.Facts = server.Facts
		book.Checkpoint(tokens)
	}
	h.Broker, err = New(Config{Pool: tokens, Front: server, Journal: book})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { syscall.Close(h.wakeup) })
	return h
}

// serve serves the script once, to whose end each request must have been answered well.
func (h *hotPath) serve(tb testing.TB) {
	h.left = len(h.messages)
	h.served += h.left
	for h.requests() {
	}
	h.journal.trim(h.pool)
	if h.err != nil || h.answers != h.served {
		tb.Fatalf("%d of %d requests answered well, error %v", h.answers, h.served, h.err)
	}
}

// Requests of this process.
var (
	caller       = fusewire.Header{PID: uint32(os.Getpid())}
	readRequest  = fakekernel.BuildRead(caller, fusewire.ReadIn{Fh: 1, Size: 1, ReadFlags: fusewire.ReadLockOwner})
	writeRequest = fakekernel.BuildWrite(caller, fusewire.WriteIn{Fh: 1, WriteFlags: fusewire.WriteLockOwner, Data: []byte{'+'}})
	pollRequest  = fakekernel.BuildPoll(caller, fusewire.PollIn{Fh: 1, Kh: 1, Flags: fusewire.PollScheduleNotify})
)

// No READ, WRITE or POLL of a known process allocates, from the device to its answer.
func TestHotPathDoesNotAllocate(t *testing.T) {
	for name, messages := range map[string][][]byte{
		"take and return":  {readRequest, writeRequest},
		"wait in a read":   {readRequest, readRequest, writeRequest, writeRequest},
		"poll a free one":  {pollRequest},
		"wake from a poll": {readRequest, pollRequest, writeRequest, pollRequest, readRequest, writeRequest},
	} {
		for _, journaled := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, journal %t", name, journaled), func(t *testing.T) {
				h := newHotPath(t, journaled, messages...)
				h.serve(t)
				// Enough of them for some checkpoints.
				if n := testing.AllocsPerRun(10000, func() { h.serve(t) }); n != 0 {
					t.Errorf("%v allocations for %d requests", n, len(messages))
				}
			})
		}
	}
}

// BenchmarkReadWrite is a take and a return without the device: all that steve itself does for them.
func BenchmarkReadWrite(b *testing.B) { benchmark(b, readRequest, writeRequest) }

// BenchmarkPoll is a poll of a free token.
func BenchmarkPoll(b *testing.B) { benchmark(b, pollRequest) }

func benchmark(b *testing.B, messages ...[]byte) {
	for _, journaled := range []bool{false, true} {
		b.Run(fmt.Sprintf("journal=%t", journaled), func(b *testing.B) {
			h := newHotPath(b, journaled, messages...)
			b.ReportAllocs()
			for b.Loop() {
				h.serve(b)
			}
		})
	}
}
