package keeper

import (
	"os"

	"golang.org/x/sys/unix"
)

// A Word is what keeper and worker tell each other.
type Word string

// What a keeper says.
const (
	Report Word = "report" // print who holds and who waits
	Stop   Word = "stop"   // end for good: answer who waits, remove the file, exit with 0
	Park   Word = "park"   // stop serving between two requests, answer nobody, exit with Parked
)

// What a worker says.
const (
	Ready   Word = "ready"   // able to serve, as soon as nobody else does
	Serving Word = "serving" // about to read the first request
	Fatal   Word = "fatal"   // about to exit, with a message printed, and no other would fare better
)

// Parked is the exit status of a worker that wants another to go on from where it stopped.
const Parked = 75

// A Link is one end of the socket between a keeper and its worker.
type Link struct {
	num   int
	file  *os.File
	words chan Word
}

// Link opens a worker's end, once. It is nil in a process without a keeper.
func (r Role) Link() *Link {
	if r.Verb != Worker {
		return nil
	}
	return openLink(r.link)
}

// wordBacklog is more words than one side says while the other is busy.
const wordBacklog = 8

// openLink takes the socket num, which does not block.
func openLink(num int) *Link {
	l := &Link{num: num, file: os.NewFile(uintptr(num), linkName), words: make(chan Word, wordBacklog)}
	go func() {
		defer close(l.words)
		var b [32]byte
		for {
			n, err := l.file.Read(b[:])
			if err != nil { // the other end is closed
				return
			}
			l.words <- Word(b[:n])
		}
	}()
	return l
}

// Words are those that the other side says. The channel is closed when the other side is dead. Unknown words are of another
// version, and to be ignored.
func (l *Link) Words() <-chan Word { return l.words }

// Say never waits for the other side. EAGAIN says that it has not listened for long, another error that it is dead.
func (l *Link) Say(w Word) error {
	_, err := unix.SendmsgN(l.num, []byte(w), nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return os.NewSyscallError("sendmsg", err)
}

// newLink returns the keeper's end, and the number of the worker's.
func newLink() (ours *Link, theirs int, err error) {
	// Each message is one word, and one word is one message.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, os.NewSyscallError("socketpair", err)
	}
	return openLink(pair[0]), pair[1], nil
}
