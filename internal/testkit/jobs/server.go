package jobs

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"steve/internal/ctl"
	"steve/internal/testkit/steved"
)

// A Server is a running steve.
type Server struct {
	*steved.Steve
	Jobs int // its tokens
	Conn *ctl.Conn
}

// StartSteve starts a steve that is stopped at the end of the test, when it must have all tokens.
func StartSteve(t testing.TB, transport string, jobs int) *Server {
	t.Helper()
	s, err := steved.Start(filepath.Join(Tools(t), "steve"), "--transport", transport, "--jobs", strconv.Itoa(jobs))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	conn, err := ctl.Open(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &Server{s, jobs, conn}
}

// Await returns when the steve's counts satisfy ok, and when they were asked for.
func (s *Server) Await(t testing.TB, what string, ok func(ctl.Status) bool) time.Time {
	t.Helper()
	return Await(t, what, func() (bool, string) {
		status, err := s.Conn.Status()
		if err != nil {
			t.Fatal(err)
		}
		return ok(status), fmt.Sprintf("%+v", status)
	})
}

// AwaitAll returns when all tokens are back, as Await does.
func (s *Server) AwaitAll(t testing.TB) time.Time {
	t.Helper()
	return s.Await(t, "return of all tokens", func(status ctl.Status) bool {
		return status.Held == 0 && status.Free == s.Jobs && status.Holders == 0
	})
}

// AwaitBusy returns when want jobs run and all tokens are out.
func (s *Server) AwaitBusy(t testing.TB, slots *Counter, want int) {
	t.Helper()
	s.Await(t, fmt.Sprintf("client with all tokens and %d jobs", want), func(status ctl.Status) bool {
		return status.Held == s.Jobs && slots.Running(t) == want
	})
}

// Held returns the tokens held, by process id.
func (s *Server) Held(t testing.TB) map[int]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	held, err := s.Holders(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// Direct is the environment of clients that find the token file in MAKEFLAGS.
func (s *Server) Direct() []string {
	return []string{"MAKEFLAGS= -j --jobserver-auth=fifo:" + s.Path}
}

// ForStevie is the environment of a stevie.
func (s *Server) ForStevie() []string { return []string{"STEVE_DEVICE=" + s.Path} }
