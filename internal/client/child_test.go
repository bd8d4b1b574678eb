package client

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What came before the command was there ends it, INT included.
func TestRunSignalBefore(t *testing.T) {
	for _, s := range []unix.Signal{unix.SIGINT, unix.SIGTERM} {
		c, err := newCommand([]string{"sleep", "20"})
		if err != nil {
			t.Fatal(err)
		}
		signals := make(chan os.Signal, 1)
		signals <- s
		if status, err := c.run(untouched(), signals, make(chan os.Signal, 1)); status != StatusSignal+int(s) || err != nil {
			t.Errorf("%v: %d, %v, want %d", s, status, err, StatusSignal+int(s))
		}
	}
}
