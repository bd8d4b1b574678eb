//go:build dying

package daemon

import (
	"fmt"
	"math/rand/v2"
	"os"

	"golang.org/x/sys/unix"

	"steve/internal/fuseconn"
)

// A program built with the tag dying, for tests, kills itself at the point that STEVE_DIE names, at the 1st to 400th time
// that it comes there: "read" is after a request was read, "answer" before one is answered, "answered" after it, and
// "between" is between two answers to one request.
func init() {
	point := os.Getenv("STEVE_DIE")
	switch point {
	case "":
		return
	case "read", "answer", "answered", "between":
	default:
		panic(fmt.Sprintf("STEVE_DIE is %q", point))
	}
	wrapDevice = func(d fuseconn.Device) fuseconn.Device {
		return &dyingDevice{Device: d, point: point, left: 1 + rand.IntN(400)}
	}
}

type dyingDevice struct {
	fuseconn.Device
	point   string
	left    int
	answers int // since the last read
}

func (d *dyingDevice) at(point string) {
	if point != d.point {
		return
	}
	if d.left--; d.left == 0 {
		unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
}

func (d *dyingDevice) Read(p []byte) (int, error) {
	n, err := d.Device.Read(p)
	if err == nil {
		d.answers = 0
		d.at("read")
	}
	return n, err
}

func (d *dyingDevice) Write(p []byte) (int, error) {
	d.at("answer")
	if d.answers > 0 {
		d.at("between")
	}
	n, err := d.Device.Write(p)
	d.answers++
	d.at("answered")
	return n, err
}
