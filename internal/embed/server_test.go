package embed

import (
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/pool"
)

// dialAs connects to the server of p as a client of the test's own making.
func dialAs(t *testing.T, p *Pool) *conn {
	t.Helper()
	c, err := p.place.dial()
	if c == nil {
		t.Fatal("no server: ", err)
	}
	t.Cleanup(c.Close)
	c.file.SetReadDeadline(time.Now().Add(patience))
	return c
}

func (c *conn) raw(b []byte) { c.file.Write(b) }

func TestGarbageIsRefused(t *testing.T) {
	p := join(t, t.TempDir(), 2)
	greeting := appendRequest(nil, request{kind: hello})
	for _, test := range []struct {
		name     string
		messages [][]byte
	}{
		{"short", [][]byte{{1, 2, 3}}},
		{"long", [][]byte{make([]byte, 4096)}},
		{"zeroes", [][]byte{make([]byte, requestSize)}},
		{"a hello and a byte", [][]byte{append(appendRequest(nil, request{kind: hello}), 0)}},
		{"a page of no report", [][]byte{appendRequest(nil, request{kind: report, n: 1})}},
		{"no hello", [][]byte{appendRequest(nil, request{kind: take, ticket: 1})}},
		{"two hellos", [][]byte{greeting, greeting}},
		{"an answer", [][]byte{greeting, appendRequest(nil, request{kind: taken, ticket: 1})}},
		{"a count too many", [][]byte{greeting, appendRequest(nil, request{kind: take, ticket: 1, n: 1})}},
		{"too large a count", [][]byte{appendRequest(nil, request{kind: hello, n: pool.MaxJobs + 1})}},
		{"no ticket", [][]byte{greeting, appendRequest(nil, request{kind: status})}},
		{"a ticket twice", [][]byte{
			greeting,
			appendRequest(nil, request{kind: relay, ticket: 1}),
			appendRequest(nil, request{kind: relay, ticket: 1}),
		}},
		{"a wish for a slot beside one", [][]byte{
			appendRequest(nil, request{kind: hello, ticket: 1}),
			appendRequest(nil, request{kind: nest, ticket: 1}),
		}},
		{"tokens it does not hold", [][]byte{greeting, appendRequest(nil, request{kind: giveBack, n: 1})}},
		{"lost tokens it does not hold", [][]byte{greeting, appendRequest(nil, request{kind: lost, n: 1})}},
		{"a question out of range", [][]byte{greeting, appendRequest(nil, request{kind: relay, ticket: 1, ask: ctl.RelayAsk{Want: pool.MaxJobs + 1}})}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dialAs(t, p)
			for _, m := range test.messages {
				c.raw(m)
			}
			for {
				a, err := c.receive()
				if err == nil && a.kind == welcome {
					continue
				}
				if !isEnd(err) {
					t.Errorf("answered %v %v", a, err)
				}
				break
			}
			if s := statusOf(t, p); s.Held != 0 || s.Free != 2 || s.Waiters != 0 {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// isEnd says whether err is the end of a connection that the other side has made.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// A client that says it has tokens of which no lock is seen is believed, as its locks may be on their way, and so are
// those of one that ends.
func TestHelloWithTokens(t *testing.T) {
	p := join(t, t.TempDir(), 2)
	c := dialAs(t, p)
	c.send(request{kind: hello, n: 2})
	if a, err := c.receive(); err != nil || a.kind != welcome || a.n != 2 {
		t.Fatalf("answered %+v, %v", a, err)
	}
	if s := statusOf(t, p); s.Held != 2 || s.Free != 0 {
		t.Errorf("status %+v", s)
	}
	c.Close()
	await(t, "they are back", func() bool { return statusOf(t, p).Free == 2 })
}

// A client that asks and does not read the answers is dropped, and nobody waits for it.
func TestDeafClientIsDropped(t *testing.T) {
	p := join(t, t.TempDir(), 1)
	c := dialAs(t, p)
	c.send(request{kind: hello})
	c.file.SetWriteDeadline(time.Now().Add(patience))
	var err error
	for ticket := uint32(1); err == nil; ticket++ {
		c.out = appendRequest(c.out[:0], request{kind: status, ticket: ticket})
		_, err = c.file.Write(c.out)
	}
	if !isEnd(err) {
		t.Errorf("the server waits: %v", err)
	}
	within(t, "another client's request", func() { statusOf(t, p) })
}

// A grant of which no lock is left in the file is given back, and asked again when there is one.
func TestLost(t *testing.T) {
	p := join(t, t.TempDir(), 1)
	thief := start(t, p.place.dir, 1)
	thief.do("take", "done")
	c := dialAs(t, p)
	c.send(request{kind: hello})
	if a, err := c.receive(); err != nil || a.kind != welcome {
		t.Fatalf("answered %+v, %v", a, err)
	}
	c.send(request{kind: take, ticket: 1})
	c.send(request{kind: status, ticket: 2})
	a, err := c.receive()
	if err != nil || a.kind != told || a.status.Held != 1 {
		t.Fatalf("answered %+v, %v", a, err)
	}
	thief.do("return 1", "done")
	if a, err := c.receive(); err != nil || a.kind != taken {
		t.Fatalf("answered %+v, %v", a, err)
	}
	// The token is on this client's ledger, and somebody else's lock.
	if ok, err := p.locks.take(1); !ok || err != nil {
		t.Fatal(ok, err)
	}
	c.send(request{kind: lost, n: 1})
	c.send(request{kind: take, ticket: 3})
	c.send(request{kind: status, ticket: 4})
	a, err = c.receive()
	if err != nil || a.kind != told || a.status.Held != 1 || a.status.Free != 0 || a.status.Holders != 1 {
		t.Fatalf("answered %+v, %v: a token was granted that is out", a, err)
	}
	// And back it is, which nobody tells the server.
	if err := p.locks.giveBack(1); err != nil {
		t.Fatal(err)
	}
	if a, err := c.receive(); err != nil || a.kind != taken || a.ticket != 3 {
		t.Fatalf("answered %+v, %v", a, err)
	}
}

// Who connects while the server is out of descriptors is heard as soon as there are some, though nobody has left.
func TestOutOfDescriptors(t *testing.T) {
	p := join(t, t.TempDir(), 1)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	connected := unix.Connect(fd, p.place.address())
	await(t, "the server cannot accept", func() (deaf bool) {
		p.served.broker.Inspect(func(*pool.Pool) { deaf = p.served.deaf })
		return deaf
	})
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || connected != nil {
		t.Fatal(err, connected)
	}
	if _, err := unix.Write(fd, appendRequest(nil, request{kind: hello})); err != nil {
		t.Fatal(err)
	}
	within(t, "a welcome", func() {
		var b [answerSize]byte
		n, err := unix.Read(fd, b[:])
		if a, _ := parseAnswer(b[:max(0, n)]); err != nil || a.kind != welcome {
			t.Errorf("answered %v, %v", a, err)
		}
	})
}
