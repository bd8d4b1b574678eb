package client

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/cli"
	"steve/internal/ctl"
)

// A signal that comes along with the token counts: nothing is run for a user who has typed ^C.
func TestWaitSignalAndToken(t *testing.T) {
	for range 20 { // either may be seen first
		taken, signals := make(chan error, 1), make(chan os.Signal, 1)
		taken <- nil
		signals <- unix.SIGINT
		// The connection is none, so that the token is not given back anywhere.
		err := wait(&ctl.Conn{}, taken, signals, os.Stderr)
		if got, want := cli.Status(err, 0), StatusSignal+int(unix.SIGINT); got != want {
			t.Fatalf("exit status %d, %v, want %d", got, err, want)
		}
	}
}
