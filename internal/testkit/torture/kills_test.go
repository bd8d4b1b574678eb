package torture

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A killer kills the worker of a server while a crowd is at work.
type killer struct {
	server *server
	crowd  *crowd
	random *rand.Rand
	worker int // the last that was seen

	pauses pauses
	at     [moments]int // kills
}

func newKiller(s *server, c *crowd) *killer {
	return &killer{server: s, crowd: c, random: rand.New(rand.NewPCG(c.seed, 0))}
}

// longest is how long after a takeover the next kill comes, at most.
const longest = 25 * time.Millisecond

// kills is one kill after the other, each when the worker has answered something. Half of them come at random, the others
// when a client does what such a kill could spoil.
func (k *killer) kills(n int) error {
	for i := range n {
		at := anytime
		if i%2 == 1 {
			at = 1 + moment(i/2)%(moments-1)
		}
		if err := k.kill(at); err != nil {
			return fmt.Errorf("kill %d, %v: %w", i+1, at, err)
		}
	}
	return nil
}

func (k *killer) kill(at moment) error {
	b := k.crowd.board
	k.worker = k.server.worker(k.worker)
	strike := time.Now().Add(time.Duration(k.random.Int64N(int64(longest))))
	b.arm(k.worker, at)
	if at == anytime {
		time.Sleep(time.Until(strike))
	} else {
		err := k.crowd.until("client that kills", limit, func() bool { return b.armed.Load() == 0 })
		if err != nil {
			return err
		}
	}
	if err := b.strikeNow(); err != nil {
		return err
	}
	if err := k.crowd.until("answer of the next server", limit, b.hasServed); err != nil {
		return err
	}
	k.pauses = append(k.pauses, time.Duration(b.served.Load()-b.struck.Load()))
	k.at[at]++
	return nil
}

// hasServed says whether a client has heard from the server after the one that was killed.
func (b *board) hasServed() bool {
	served, ended := b.served.Load(), b.ended.Load()
	if served != 0 && served < ended { // by a client that had looked at the board before it was armed
		b.served.CompareAndSwap(served, 0)
		return false
	}
	return served != 0 && ended != 0
}

func (k *killer) String() string {
	var b strings.Builder
	for m := range moments {
		if k.at[m] > 0 {
			fmt.Fprintf(&b, ", %d %v", k.at[m], m)
		}
	}
	return strings.TrimPrefix(b.String(), ", ")
}
