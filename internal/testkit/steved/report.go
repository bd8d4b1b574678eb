package steved

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Holders asks the steve for its report, as a user does by SIGUSR1, and returns the tokens held, by process id. Their sum
// is that of all tokens held. It needs a steve whose number of tokens is not lowered while it runs.
func (s *Steve) Holders(ctx context.Context) (map[int]int, error) {
	select {
	case <-s.reports: // of an earlier question
	default:
	}
	for {
		if err := s.Process.Signal(unix.SIGUSR1); err != nil {
			return nil, err
		}
		select {
		case held := <-s.reports:
			return held, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("no report that names the holders of all tokens held: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
			// A report leaves out a holder that has ended and was waited for before its command line was read. It is then
			// never complete, the next one may be.
		}
	}
}

// A reportReader makes reports of the lines that a steve prints.
type reportReader struct {
	complete chan map[int]int // has room for one: the last

	missing int // tokens held of which no holder was seen yet
	held    map[int]int
}

var (
	reportHead   = regexp.MustCompile(`^steve: currently (\d+) tokens available out of (\d+)$`)
	reportHolder = regexp.MustCompile(`^PID (\d+) \(.*\) holds (\d+) tokens`)
)

func (r *reportReader) add(line string) {
	if m := reportHead.FindStringSubmatch(line); m != nil {
		r.missing, r.held = number(m[2])-number(m[1]), map[int]int{}
	} else if m := reportHolder.FindStringSubmatch(line); m != nil && r.held != nil {
		if n := number(m[2]); n > 0 {
			r.held[number(m[1])] = n
			r.missing -= n
		}
	}
	if r.held == nil || r.missing != 0 {
		return
	}
	select {
	case <-r.complete:
	default:
	}
	r.complete <- r.held
	r.held = nil
}

// number is that of digits that a pattern has matched.
func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		panic(err)
	}
	return n
}
