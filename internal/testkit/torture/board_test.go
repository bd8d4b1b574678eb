package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A board is memory that the test shares with its clients. Times are those of CLOCK_MONOTONIC, in ns; 0 is never.
type board struct {
	// stop is 1 when clients are to end their round and exit.
	stop atomic.Int64
	// armed is the process to kill at the next armedAt, 0 if it was killed. Whoever swaps it for 0 does that.
	armed   atomic.Int64
	armedAt atomic.Int64 // a moment
	// struck is when the kill was sent, ended when the process had ended, and served when a client heard from the next
	// server: an answer to something that it asked after ended.
	struck, ended, served atomic.Int64

	lanes [maxLanes]lane
}

// A lane is where one thread of a client tells what it does.
type lane struct {
	rounds  atomic.Int64 // it has got on
	asked   atomic.Int64 // when it asked what it has no answer to yet
	what    atomic.Int64 // that, a request
	answers atomic.Int64
	longest atomic.Int64 // it had to wait for an answer
	signals atomic.Int64 // answers that were EINTR
	_       [2]int64     // a cache line
}

const maxLanes = 128

// newBoard returns a board and its file.
func newBoard(t *testing.T) (*board, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "board")
	if err := os.WriteFile(path, make([]byte, unsafe.Sizeof(board{})), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := openBoard(path)
	if err != nil {
		t.Fatal(err)
	}
	return b, path
}

// openBoard maps a board for as long as this process lives.
func openBoard(path string) (*board, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	mem, err := unix.Mmap(fd, 0, int(unsafe.Sizeof(board{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return (*board)(unsafe.Pointer(&mem[0])), nil
}

// A request is what a client asks of the server.
type request int64

const (
	open request = iota
	read
	write
	poll
	shut
	relay
	nest
	leave
	resize
	command // a program that asks for itself
)

func (r request) String() string {
	return [...]string{"open", "read", "write", "poll", "close", "RELAY", "NEST", "NEST to leave", "SET", "a program"}[r]
}

// ask calls f, which makes a request.
func (b *board) ask(l *lane, what request, f func() error) error {
	asked := now()
	l.what.Store(int64(what))
	l.asked.Store(asked)
	err := f()
	answered := now()
	l.asked.Store(0)
	l.answers.Add(1)
	if what == shut || what == command { // the server need not have had a say in it
		return err
	}
	l.longest.Store(max(l.longest.Load(), answered-asked))
	if ended := b.ended.Load(); ended != 0 && asked > ended {
		b.served.CompareAndSwap(0, answered)
	}
	return err
}

// doing tells what the lane waits for.
func (l *lane) doing() string {
	asked := l.asked.Load()
	if asked == 0 {
		return "between two requests"
	}
	return fmt.Sprintf("in %v for %v", request(l.what.Load()), time.Duration(now()-asked).Round(time.Millisecond))
}

func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}
