package torture

import (
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// blocking waits in read, as make before 4.4 and jobserver-rs do.
func blocking(c *client) (func() error, error) {
	fd, err := c.open(unix.O_RDWR)
	return func() error {
		if err := c.read(fd); err != nil {
			return err
		}
		if err := c.work(1); err != nil {
			return err
		}
		return c.write(fd, 1)
	}, err
}

// polling waits in ppoll, as make does, and as often as another was quicker.
func polling(c *client) (func() error, error) {
	return withoutBlocking(c, c.readable)
}

// retrying asks again and again, as cc-rs does.
func retrying(c *client) (func() error, error) {
	return withoutBlocking(c, func(int) error {
		time.Sleep(time.Millisecond)
		c.pause(9 * time.Millisecond)
		return nil
	})
}

func withoutBlocking(c *client, wait func(fd int) error) (func() error, error) {
	fd, err := c.open(unix.O_RDWR | unix.O_NONBLOCK)
	return func() error {
		for {
			err := c.read(fd)
			if err == nil {
				break
			}
			if err != unix.EAGAIN {
				return err
			}
			if err := wait(fd); err != nil {
				return err
			}
		}
		if err := c.work(1); err != nil {
			return err
		}
		return c.write(fd, 1)
	}, err
}

// twoThreads has two tokens: one thread waits for the second on one open file, while another works with the first and
// gives it back on another, as cargo does.
func twoThreads(c *client) (func() error, error) {
	reads, err := c.open(unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	writes, err := c.open(unix.O_WRONLY)
	if err != nil {
		return nil, err
	}
	other := c.on(1)
	taken, done := make(chan struct{}), make(chan error, 2)
	go func() {
		for range taken {
			err := other.work(1)
			if err == nil {
				err = other.write(writes, 1)
			}
			done <- err
		}
	}()
	return func() error {
		for range 2 {
			if err := c.read(reads); err != nil {
				return err
			}
			taken <- struct{}{}
		}
		if err := <-done; err != nil {
			return err
		}
		return <-done
	}, nil
}

// several takes what there is and gives it back by one write, as the kernel's jobserver-exec does.
func several(c *client) (func() error, error) {
	waits, err := c.open(unix.O_RDWR)
	if err != nil {
		return nil, err
	}
	tries, err := c.open(unix.O_RDWR | unix.O_NONBLOCK)
	return func() error {
		n, err := c.takeSeveral(waits, tries, 4)
		if err != nil {
			return err
		}
		if err := c.work(n); err != nil {
			return err
		}
		before, after := c.around(batch)
		if err := before(); err != nil {
			return err
		}
		if err := c.write(waits, n); err != nil {
			return err
		}
		return after()
	}, err
}

// takeSeveral waits for one token and takes others that are free, bound in all.
func (c *client) takeSeveral(waits, tries, bound int) (n int, err error) {
	for n = 0; n < bound; n++ {
		fd := tries
		if n == 0 {
			fd = waits
		}
		if err := c.read(fd); err == unix.EAGAIN {
			break
		} else if err != nil {
			return n, err
		}
	}
	return n, nil
}

// around returns what to call before and after something that the server may be killed at: one of the two strikes.
func (c *client) around(m moment) (before, after func() error) {
	none := func() error { return nil }
	strike := func() error { return c.strike(m) }
	if c.random.IntN(2) == 0 {
		return strike, none
	}
	return none, strike
}

// relaying passes tokens on, as a stevie with a FIFO does.
func relaying(c *client) (func() error, error) {
	conn, err := c.connect()
	less := false
	return func() error {
		var got ctl.RelayAnswer
		for got.Tokens == 0 {
			err := c.ask(relay, func() (err error) {
				got, err = conn.Relay(ctl.RelayAsk{Want: 2, Wait: true, Less: less})
				return err
			})
			if err != nil {
				return err
			}
			less = got.Less
		}
		if err := c.work(got.Tokens); err != nil {
			return err
		}
		return c.ask(write, func() error { return conn.Return(got.Tokens) })
	}, err
}

// changing changes the number of tokens, between fewest and most.
func changing(c *client) (func() error, error) {
	conn, err := c.connect()
	return func() error {
		n := fewest + c.random.IntN(most-fewest+1)
		before, after := c.around(resizing)
		if err := before(); err != nil {
			return err
		}
		err := c.ask(resize, func() error { return conn.Set(pool.FieldJobs, pool.Limits{Jobs: n}) })
		if err != nil {
			return err
		}
		c.pause(10 * time.Millisecond)
		return after()
	}, err
}

// connect opens the token file for questions.
func (c *client) connect() (conn *ctl.Conn, err error) {
	err = c.ask(open, func() error {
		conn, err = ctl.Open(c.Path)
		return err
	})
	return conn, err
}
