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
		taken, signals := make(chan taking, 1), make(chan os.Signal, 1)
		server := &given{}
		taken <- taking{slot: slot{server: server}}
		signals <- unix.SIGINT
		_, err := (&source{}).wait(taken, signals, nil, os.Stderr)
		if server.back != 1 {
			t.Fatalf("%d tokens given back, want the one taken", server.back)
		}
		if got, want := cli.Status(err, 0), StatusSignal+int(unix.SIGINT); got != want {
			t.Fatalf("exit status %d, %v, want %d", got, err, want)
		}
	}
}

// given is a server that counts what it is given back.
type given struct {
	ctl.Server
	back int
}

func (g *given) Return(n int) error {
	g.back += n
	return nil
}

// A signal ends an attempt to take more tokens that the server does not answer.
func TestLeaseSignal(t *testing.T) {
	signals := make(chan os.Signal, 1)
	signals <- unix.SIGTERM
	_, err := (&source{Server: mute{}}).lease(3, signals)
	if got, want := cli.Status(err, 0), StatusSignal+int(unix.SIGTERM); got != want {
		t.Errorf("exit status %d, %v, want %d", got, err, want)
	}
}

// A server that does not answer any more keeps no command's end from being told.
func TestGiveBackToMute(t *testing.T) {
	giveBack(slot{server: mute{}}.release)
}

// mute is a server that never answers.
type mute struct{ ctl.Server }

func (mute) Relay(ctl.RelayAsk) (ctl.RelayAnswer, error) { select {} }
func (mute) Return(int) error                            { select {} }
