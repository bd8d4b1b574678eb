package torture

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// clientVar has the settings of a client for the test binary that is started as one.
const clientVar = "STEVE_TORTURE_CLIENT"

// settings are what a client is told, in JSON.
type settings struct {
	Kind  string
	Path  string // of the token file
	Board string
	Lane  int // its first
	Slots slots
	Seed  uint64
	// Tools is the directory of the programs that it starts, Dir is its own.
	Tools, Dir string
}

// A client is a process that takes tokens and gives them back, until the board says stop.
type client struct {
	settings
	board  *board
	lane   *lane
	random *rand.Rand
}

// Exit statuses of a client, beside 0 and 1.
const (
	exitEIO    = 3 // see crowd.bearsEIO
	exitCutOff = 4 // the server is gone for good
)

// gone are the errors of a token file whose server is; noServer are those of an open where there is none.
var (
	gone     = []error{unix.ECONNABORTED, unix.ENOTCONN, unix.ENODEV}
	noServer = []error{unix.ENOENT, unix.ENXIO}
)

// isOneOf says whether err is one of some errors.
func isOneOf(err error, some []error) bool {
	return slices.ContainsFunc(some, func(e error) bool { return errors.Is(err, e) })
}

// runClient is main for a client.
func runClient(text string) int {
	err := play(text)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	switch {
	case errors.Is(err, unix.EIO):
		return exitEIO
	case isOneOf(err, gone):
		return exitCutOff
	default:
		return 1
	}
}

func play(text string) error {
	var c client
	if err := json.Unmarshal([]byte(text), &c.settings); err != nil {
		return err
	}
	b, err := openBoard(c.Board)
	if err != nil {
		return err
	}
	c.board, c.lane = b, &b.lanes[c.Lane]
	c.random = rand.New(rand.NewPCG(c.Seed, uint64(c.Lane)))
	kind := kinds[c.Kind]
	round, err := kind.start(&c)
	if err != nil {
		return err
	}
	for kind.child || b.stop.Load() == 0 {
		if err := round(); err != nil {
			return err
		}
		c.lane.rounds.Add(1)
	}
	return nil
}

// on is the client as it acts on another of its threads.
func (c *client) on(lane int) *client {
	other := *c
	other.lane = &c.board.lanes[c.Lane+lane]
	other.random = rand.New(rand.NewPCG(c.Seed, uint64(c.Lane+lane)))
	return &other
}

// ask makes a request. Its error says which it was.
func (c *client) ask(what request, f func() error) error {
	switch err := c.board.ask(c.lane, what, f); {
	case err == nil || err == unix.EAGAIN:
		return err
	case what == open && isOneOf(err, noServer):
		return fmt.Errorf("%v: %w, thus %w", what, err, unix.ENOTCONN)
	default:
		return fmt.Errorf("%v: %w", what, err)
	}
}

func (c *client) open(flags int) (fd int, err error) {
	err = c.ask(open, func() error {
		fd, err = unix.Open(c.Path, flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		return err
	})
	return fd, err
}

func (c *client) close(fd int) error {
	return c.ask(shut, func() error { return unix.Close(fd) })
}

// errEnd says that there was no token in an answer.
var errEnd = errors.New("end of file")

// read takes one token.
func (c *client) read(fd int) error {
	return c.ask(read, func() error {
		n, err := unix.Read(fd, make([]byte, 1))
		if err == nil && n != 1 {
			return errEnd
		}
		return err
	})
}

// write gives n tokens back, all at once.
func (c *client) write(fd, n int) error {
	return c.ask(write, func() error {
		written, err := unix.Write(fd, make([]byte, n))
		if err == nil && written != n {
			return fmt.Errorf("%d of %d tokens given back", written, n)
		}
		return err
	})
}

// readable waits until fd is.
func (c *client) readable(fd int) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	err := c.ask(poll, func() error {
		_, err := unix.Ppoll(fds, nil, nil)
		return err
	})
	if err != nil || fds[0].Revents == unix.POLLIN {
		return err
	}
	if fds[0].Revents&unix.POLLERR == 0 {
		return fmt.Errorf("%v: events %#x", poll, fds[0].Revents)
	}
	// Whatever error the request had: fuse_file_poll in fs/fuse/file.c.
	if err := c.read(fd); isOneOf(err, gone) {
		return err
	}
	return fmt.Errorf("%v: POLLERR, thus %w", poll, unix.EIO)
}

// work is the client's, with n tokens.
func (c *client) work(n int) error {
	for range n {
		slot, err := c.Slots.take()
		if err != nil {
			return err
		}
		defer slot.Close()
	}
	c.pause(2 * time.Millisecond)
	return nil
}

// pause is for a time at random: what a client does that does not concern the server.
func (c *client) pause(most time.Duration) { time.Sleep(time.Duration(c.random.Int64N(int64(most)))) }

// strike kills the server if it is to be killed now.
func (c *client) strike(m moment) error { return c.board.strike(m) }
