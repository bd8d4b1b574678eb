package fakekernel_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"steve/internal/fusewire"
	"steve/internal/testkit/fakekernel"
)

// verdicts is a testing.TB that notes failures instead of failing.
type verdicts struct {
	testing.TB
	lines []string
}

func (v *verdicts) Helper() {}

func (v *verdicts) Errorf(format string, args ...any) {
	v.lines = append(v.lines, fmt.Sprintf(format, args...))
}

// Fatal must not return.
func (v *verdicts) Fatal(args ...any) {
	v.lines = append(v.lines, fmt.Sprint(args...))
	panic(v)
}

func header(unique uint64) fusewire.Header { return fusewire.Header{Unique: unique, NodeID: 1} }

// reply is a whole answer.
func reply(unique uint64, errno syscall.Errno, body string) []byte {
	return append(fusewire.AppendReplyHeader(nil, unique, errno, len(body)), body...)
}

// TestRules breaks each rule about answers.
func TestRules(t *testing.T) {
	lie := reply(2, 0, "+")
	lie[0]++
	positive := reply(2, 0, "")
	positive[4] = 1
	for _, tt := range []struct {
		name    string
		answers [][]byte // to a READ of 1 byte with unique 2; only the last one is at fault
		errno   error    // of the last one
		verdict string
	}{
		{"kept", [][]byte{reply(2, 0, "+")}, nil, ""},
		{"error", [][]byte{reply(2, syscall.EAGAIN, "")}, nil, ""},
		{"wake-up", [][]byte{fusewire.AppendPollWake(nil, 9)}, nil, ""},
		{"twice", [][]byte{reply(2, 0, "+"), reply(2, 0, "+")}, syscall.ENOENT, "0x2 answered twice"},
		{"unasked", [][]byte{reply(4, 0, "+")}, syscall.ENOENT, "answer to 0x4, which was not asked"},
		{"too long", [][]byte{reply(2, 0, "++")}, syscall.EINVAL, "READ answered with 2 bytes"},
		{"lying length", [][]byte{lie}, syscall.EINVAL, "17 bytes written, the header says 18"},
		{"error with a body", [][]byte{reply(2, syscall.EAGAIN, "+")}, syscall.EINVAL, "answer to 0x2: error -11 with 1 bytes"},
		{"error out of range", [][]byte{reply(2, 512, "")}, syscall.EINVAL, "answer to 0x2: error -512 with 0 bytes"},
		{"positive error", [][]byte{positive}, syscall.EINVAL, "answer to 0x2: error 1 with 0 bytes"},
		{"no header", [][]byte{make([]byte, 15)}, syscall.EINVAL, "15 bytes written: shorter than a header"},
		{"unknown notification", [][]byte{reply(0, 0, "")}, syscall.EINVAL, "notification 0 with 0 bytes is no wake-up"},
		{"interrupts off", [][]byte{reply(3, syscall.ENOSYS, "")}, nil, "INTERRUPT answered with ENOSYS: the kernel would send none any more"},
		{"interrupt of an answered request", [][]byte{reply(2, 0, ""), reply(3, syscall.EAGAIN, "")}, syscall.ENOENT, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &verdicts{TB: t}
			k := fakekernel.New(v)
			k.Queue(fakekernel.BuildRead(header(2), fusewire.ReadIn{Size: 1}))
			if _, err := k.Read(make([]byte, fusewire.MinReadBuffer)); err != nil {
				t.Fatal(err)
			}
			for i, a := range tt.answers {
				_, err := k.Write(a)
				if i == len(tt.answers)-1 && err != tt.errno || i < len(tt.answers)-1 && err != nil {
					t.Errorf("answer %d: %v, want %v", i, err, tt.errno)
				}
			}
			if got := strings.Join(v.lines, "; "); got != tt.verdict {
				t.Errorf("verdict %q, want %q", got, tt.verdict)
			}
		})
	}
}

// TestReplySizes answers every kind of request with the right length, a byte less and a byte more.
func TestReplySizes(t *testing.T) {
	for _, tt := range []struct {
		request  []byte
		min, max int
	}{
		{fakekernel.BuildInit(header(2), fusewire.InitIn{}), 64, 64},
		{fakekernel.BuildCuseInit(header(2), fusewire.CuseInitIn{}), 73, 72 + 4096},
		{fakekernel.BuildOpen(header(2), fusewire.OpenIn{}), 16, 16},
		{fakekernel.BuildRead(header(2), fusewire.ReadIn{Size: 5}), 0, 5},
		{fakekernel.BuildWrite(header(2), fusewire.WriteIn{}), 8, 8},
		{fakekernel.BuildPoll(header(2), fusewire.PollIn{}), 8, 8},
		{fakekernel.BuildIoctl(header(2), fusewire.IoctlIn{OutSize: 5}), 16, 21},
		{fakekernel.BuildGetattr(header(2), fusewire.GetattrIn{}), 104, 104},
		{fakekernel.BuildSetattr(header(2), fusewire.SetattrIn{}), 104, 104},
		{fakekernel.Build(fusewire.Header{Opcode: fusewire.OpStatfs, Unique: 2}, nil), 80, 80},
		{fakekernel.BuildRelease(header(2), fusewire.ReleaseIn{}), 0, 0},
		{fakekernel.BuildFlush(header(2), fusewire.FlushIn{}), 0, 0},
	} {
		req, err := fusewire.ParseRequest(tt.request)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{tt.min - 1, tt.min, tt.max, tt.max + 1} {
			if n < 0 {
				continue
			}
			v := &verdicts{TB: t}
			k := fakekernel.New(v)
			k.Queue(tt.request)
			if _, err := k.Read(make([]byte, fusewire.MinReadBuffer)); err != nil {
				t.Fatal(err)
			}
			_, err := k.Write(reply(2, 0, strings.Repeat("x", n)))
			if good := n >= tt.min && n <= tt.max; good != (err == nil) || good != (len(v.lines) == 0) {
				t.Errorf("%v answered with %d bytes: %v, %q", req.Opcode, n, err, v.lines)
			}
		}
	}
}

func TestSmallBuffer(t *testing.T) {
	v := &verdicts{TB: t}
	if _, err := fakekernel.New(v).Read(make([]byte, 4096)); err != syscall.EINVAL || len(v.lines) != 1 {
		t.Errorf("%v, %q", err, v.lines)
	}
}

func TestWaitReply(t *testing.T) {
	k := fakekernel.New(t)
	k.Queue(fakekernel.BuildRead(header(2), fusewire.ReadIn{Size: 1}))
	answered := make(chan error, 1)
	go func() {
		k.Read(make([]byte, fusewire.MinReadBuffer))
		_, err := k.Write(reply(2, 0, "+"))
		answered <- err
	}()
	if r := k.WaitReply(2, time.Minute); r.Errno != 0 || string(r.Body) != "+" {
		t.Errorf("%+v", r)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestWaitReplyInVain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit time.Duration
		end   bool
		want  string
	}{
		{"late", time.Millisecond, false, "0x2 not answered in 1ms"},
		{"ended", time.Minute, true, "the device is gone, and 0x2 not answered"},
	} {
		v := &verdicts{TB: t}
		k := fakekernel.New(v)
		if tt.end {
			k.End()
		}
		func() {
			defer func() { recover() }()
			k.WaitReply(2, tt.limit)
		}()
		if got := strings.Join(v.lines, "; "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
