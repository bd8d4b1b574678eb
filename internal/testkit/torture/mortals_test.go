package torture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// interrupted waits in read until a signal comes, and then once more.
func interrupted(c *client) (func() error, error) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGUSR1)
	fd, err := c.open(unix.O_RDWR)
	if err != nil {
		return nil, err
	}
	// A thread of its own, so that the signal can meet nothing but a read.
	begin, ended, thread := make(chan struct{}), make(chan error, 1), make(chan int)
	go func() {
		runtime.LockOSThread()
		thread <- unix.Gettid()
		for range begin {
			ended <- c.read(fd)
		}
	}()
	tid := <-thread
	other := c.on(1)
	return func() error {
		begin <- struct{}{}
		c.pause(2 * time.Millisecond)
		before, after := c.around(interrupt)
		if err := before(); err != nil {
			return err
		}
		if err := unix.Tgkill(os.Getpid(), tid, unix.SIGUSR1); err != nil {
			return err
		}
		if err := after(); err != nil {
			return err
		}
		switch err := <-ended; {
		case errors.Is(err, unix.EINTR):
			c.lane.signals.Add(1)
			return nil
		case err != nil:
			return err
		}
		if err := other.work(1); err != nil {
			return err
		}
		return other.write(fd, 1)
	}, nil
}

// fleeting opens the token file, looks at it and closes it.
func fleeting(c *client) (func() error, error) {
	return func() error {
		fd, err := c.open(unix.O_RDWR | unix.O_NONBLOCK)
		if err != nil {
			return err
		}
		err = c.read(fd)
		if err != nil && err != unix.EAGAIN {
			return err
		}
		if err == nil {
			if err := c.work(1); err != nil {
				return err
			}
			if err := c.write(fd, 1); err != nil {
				return err
			}
		}
		before, after := c.around(release)
		if err := before(); err != nil {
			return err
		}
		if err := c.close(fd); err != nil {
			return err
		}
		c.pause(2 * time.Millisecond)
		return after()
	}, nil
}

// bereaved has a child that takes tokens, and kills it.
func bereaved(c *client) (func() error, error) {
	return func() error {
		child, err := c.spawn("doomed")
		if err != nil {
			return err
		}
		defer child.end()
		if err := child.hear("holds"); err != nil {
			return err
		}
		before, after := c.around(death)
		if err := before(); err != nil {
			return err
		}
		if err := child.Process.Kill(); err != nil {
			return err
		}
		if err := after(); err != nil {
			return err
		}
		c.pause(20 * time.Millisecond)
		return nil
	}, nil
}

// doomed takes tokens, says so, and waits for its death.
func doomed(c *client) (func() error, error) {
	waits, err := c.open(unix.O_RDWR)
	if err != nil {
		return nil, err
	}
	tries, err := c.open(unix.O_RDWR | unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	n, err := c.takeSeveral(waits, tries, 3)
	if err != nil {
		return nil, err
	}
	var held []*os.File // or they would be closed, and the slots given up
	for range n {
		slot, err := c.Slots.take()
		if err != nil {
			return nil, err
		}
		held = append(held, slot)
	}
	return func() error {
		fmt.Println("holds")
		io.ReadAll(os.Stdin) // until the parent ends
		return fmt.Errorf("the parent of a client with %d tokens has ended", len(held))
	}, nil
}

// nesting has a child that shares its slot, and then one that takes a token of its own.
func nesting(c *client) (func() error, error) {
	fd, err := c.open(unix.O_RDWR)
	if err != nil {
		return nil, err
	}
	child, err := c.spawn("nested")
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := c.read(fd); err != nil {
			return err
		}
		if err := child.obey("shared"); err != nil {
			return err
		}
		if err := c.write(fd, 1); err != nil {
			return err
		}
		return child.obey("token")
	}, nil
}

// nested asks for a slot as often as its parent tells it to, and says what it got.
func nested(c *client) (func() error, error) {
	conn, err := c.connect()
	return func() error {
		if n, _ := os.Stdin.Read(make([]byte, 1)); n != 1 {
			os.Exit(0) // the parent has ended
		}
		shared := false
		err := c.ask(nest, func() (err error) { shared, err = conn.Nest(); return err })
		if err != nil {
			return err
		}
		if err := c.work(1); err != nil {
			return err
		}
		what, word, end := leave, "shared", conn.Leave
		if !shared {
			what, word, end = write, "token", func() error { return conn.Return(1) }
		}
		if err := c.ask(what, end); err != nil {
			return err
		}
		fmt.Println(word)
		return nil
	}, err
}
