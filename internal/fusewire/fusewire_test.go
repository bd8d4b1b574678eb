package fusewire_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"steve/internal/fusewire"
	"steve/internal/testkit/fakekernel"
)

var header = fusewire.Header{Unique: 6, NodeID: 1, UID: 1000, GID: 100, PID: 4711}

// samples are requests as the kernel sends them, one of each kind that is parsed here.
func samples() [][]byte {
	return [][]byte{
		fakekernel.BuildInit(header, fusewire.InitIn{Major: 7, Minor: 45, MaxReadahead: 1 << 17, Flags: fusewire.InitExt | fusewire.InitHasResend}),
		fakekernel.BuildCuseInit(header, fusewire.CuseInitIn{Major: 7, Minor: 41, Flags: 1}),
		fakekernel.BuildOpen(header, fusewire.OpenIn{Flags: 0o100002}),
		fakekernel.BuildRead(header, fusewire.ReadIn{Fh: 9, Size: 4096, ReadFlags: fusewire.ReadLockOwner, LockOwner: 1 << 60, Flags: 0o104002}),
		fakekernel.BuildWrite(header, fusewire.WriteIn{Fh: 9, Data: []byte("+++")}),
		fakekernel.BuildRelease(header, fusewire.ReleaseIn{Fh: 9, Flags: 2}),
		fakekernel.BuildFlush(header, fusewire.FlushIn{Fh: 9, LockOwner: 5}),
		fakekernel.BuildPoll(header, fusewire.PollIn{Fh: 9, Kh: 3, Flags: fusewire.PollScheduleNotify, Events: 0x19}),
		fakekernel.BuildIoctl(header, fusewire.IoctlIn{Fh: 9, Cmd: 0xc0085301, Arg: 1 << 47, OutSize: 8, Data: []byte("eight by")}),
		fakekernel.BuildInterrupt(header, fusewire.InterruptIn{Unique: 4}),
		fakekernel.BuildGetattr(header, fusewire.GetattrIn{Flags: fusewire.GetattrFh, Fh: 9}),
		fakekernel.BuildSetattr(header, fusewire.SetattrIn{Valid: fusewire.SetattrSize, Size: 0}),
	}
}

// A codec reads a kind of request and writes it again.
type codec struct {
	reencode func(fusewire.Request) ([]byte, error)
	min      int      // bytes of the shortest body
	open     bool     // a longer body is taken for a newer kernel's
	ignored  [][2]int // the bytes of the body that are not kept, from and to
}

func recode[T any](parse func([]byte) (T, error), build func(fusewire.Header, T) []byte) func(fusewire.Request) ([]byte, error) {
	return func(req fusewire.Request) ([]byte, error) {
		in, err := parse(req.Body)
		if err != nil {
			return nil, err
		}
		return build(req.Header, in), nil
	}
}

var codecs = map[fusewire.Opcode]codec{
	fusewire.OpInit:      {recode(fusewire.ParseInit, fakekernel.BuildInit), 16, true, [][2]int{{20, 64}}},
	fusewire.OpCuseInit:  {recode(fusewire.ParseCuseInit, fakekernel.BuildCuseInit), 16, true, [][2]int{{8, 12}}},
	fusewire.OpOpen:      {recode(fusewire.ParseOpen, fakekernel.BuildOpen), 8, false, nil},
	fusewire.OpRead:      {recode(fusewire.ParseRead, fakekernel.BuildRead), 40, false, [][2]int{{36, 40}}},
	fusewire.OpWrite:     {recode(fusewire.ParseWrite, fakekernel.BuildWrite), 40, false, [][2]int{{36, 40}}},
	fusewire.OpRelease:   {recode(fusewire.ParseRelease, fakekernel.BuildRelease), 24, false, nil},
	fusewire.OpFlush:     {recode(fusewire.ParseFlush, fakekernel.BuildFlush), 24, false, [][2]int{{8, 16}}},
	fusewire.OpPoll:      {recode(fusewire.ParsePoll, fakekernel.BuildPoll), 24, false, nil},
	fusewire.OpIoctl:     {recode(fusewire.ParseIoctl, fakekernel.BuildIoctl), 32, false, nil},
	fusewire.OpInterrupt: {recode(fusewire.ParseInterrupt, fakekernel.BuildInterrupt), 8, false, nil},
	fusewire.OpGetattr:   {recode(fusewire.ParseGetattr, fakekernel.BuildGetattr), 16, false, [][2]int{{4, 8}}},
	fusewire.OpSetattr: {recode(fusewire.ParseSetattr, fakekernel.BuildSetattr), 88, false,
		[][2]int{{4, 8}, {24, 68}, {72, 76}, {84, 88}}},
}

// checkLaw parses b as what its header says it is, and fails unless it is refused, or encodes to b again but for the
// bytes that are not kept, and then to the same again.
func checkLaw(t *testing.T, b []byte) {
	req, err := fusewire.ParseRequest(b)
	if err != nil {
		var lengthErr *fusewire.LengthError
		if !errors.As(err, &lengthErr) || errors.Is(err, fusewire.ErrTruncated) == errors.Is(err, fusewire.ErrLength) {
			t.Errorf("error %v is not one of a length", err)
		}
		if len(b) >= fusewire.HeaderSize && req.Len == uint32(len(b)) {
			t.Errorf("refused in spite of the right length: %v", err)
		}
		return
	}
	if int(req.Len) != len(b) || len(req.Body) != len(b)-fusewire.HeaderSize {
		t.Fatalf("%d bytes parsed as %d with a body of %d", len(b), req.Len, len(req.Body))
	}
	c, ok := codecs[req.Opcode]
	if !ok {
		return
	}
	again, err := c.reencode(req)
	if err != nil {
		if len(req.Body) < c.min && !errors.Is(err, fusewire.ErrTruncated) {
			t.Errorf("%v with a body of %d bytes: %v", req.Opcode, len(req.Body), err)
		}
		return
	}
	second, err := fusewire.ParseRequest(again)
	if err != nil {
		t.Fatal(err)
	}
	if third, err := c.reencode(second); err != nil || !bytes.Equal(again, third) {
		t.Errorf("encoded again %x, and once more %x: %v", again, third, err)
	}
	if len(again) != len(b) {
		if !c.open {
			t.Errorf("%d bytes encode to %d", len(b), len(again))
		}
		return
	}
	kept := bytes.Clone(b)
	clear(kept[36:40]) // total_extlen, padding
	for _, r := range c.ignored {
		clear(kept[fusewire.HeaderSize+r[0] : fusewire.HeaderSize+r[1]])
	}
	switch req.Opcode {
	case fusewire.OpInterrupt:
		copy(kept[8:16], again[8:16]) // the builder makes it from the target's
	case fusewire.OpInit:
		copy(kept[56:60], again[56:60]) // flags2, which counts with InitExt only
	}
	if !bytes.Equal(kept, again) {
		t.Errorf("%v\n     %x\n gives %x", req.Opcode, kept, again)
	}
}

func TestLaw(t *testing.T) {
	seen := map[fusewire.Opcode]bool{}
	for _, b := range samples() {
		req, err := fusewire.ParseRequest(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := codecs[req.Opcode].reencode(req)
		if req.Opcode == fusewire.OpInterrupt {
			copy(again[8:16], b[8:16])
		}
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%v\n     %x\n gives %x, %v", req.Opcode, b, again, err)
		}
		seen[req.Opcode] = true
	}
	for op := range codecs {
		if !seen[op] {
			t.Errorf("no sample of %v", op)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, b := range samples() {
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(bytes.Clone(b), 0))
	}
	f.Fuzz(checkLaw)
}

// FuzzParseBody spares the fuzzer the search for headers that do not lie.
func FuzzParseBody(f *testing.F) {
	for _, b := range samples() {
		req, err := fusewire.ParseRequest(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(req.Opcode), req.Body)
	}
	f.Fuzz(func(t *testing.T, op uint32, body []byte) {
		checkLaw(t, fakekernel.Build(fusewire.Header{Opcode: fusewire.Opcode(op), Unique: 2}, body))
	})
}

// TestWrongLength gives every parser every length but the right ones.
func TestWrongLength(t *testing.T) {
	for _, b := range samples() {
		req, err := fusewire.ParseRequest(b)
		if err != nil {
			t.Fatal(err)
		}
		c := codecs[req.Opcode]
		for n := 0; n <= len(req.Body)+8; n++ {
			short := req
			short.Body = append(bytes.Clone(req.Body), make([]byte, 8)...)[:n]
			_, err := c.reencode(short)
			want := error(nil)
			switch {
			case req.Opcode == fusewire.OpInit && n < 20, n < len(req.Body) && !c.open, n < c.min:
				want = fusewire.ErrTruncated
			case n > len(req.Body) && !c.open:
				want = fusewire.ErrLength
			}
			if !errors.Is(err, want) {
				t.Errorf("%v with a body of %d bytes: %v, want %v", req.Opcode, n, err, want)
			}
		}
	}
}

func TestParseRequestLength(t *testing.T) {
	whole := fakekernel.BuildOpen(header, fusewire.OpenIn{})
	for _, tt := range []struct {
		name   string
		msg    []byte
		want   error
		header bool // there in spite of the error
	}{
		{"nothing", nil, fusewire.ErrTruncated, false},
		{"part of a header", whole[:39], fusewire.ErrTruncated, false},
		{"header only", whole[:40], fusewire.ErrTruncated, true},
		{"a byte short", whole[:47], fusewire.ErrTruncated, true},
		{"a byte more", append(bytes.Clone(whole), 0), fusewire.ErrLength, true},
		{"header that says 0", append(make([]byte, 4), whole[4:]...), fusewire.ErrLength, true},
		{"header that says 4 GiB", append([]byte{255, 255, 255, 255}, whole[4:]...), fusewire.ErrTruncated, true},
	} {
		req, err := fusewire.ParseRequest(tt.msg)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if got := req.Unique == header.Unique && req.Opcode == fusewire.OpOpen; got != tt.header {
			t.Errorf("%s: the header is %+v", tt.name, req.Header)
		}
		if req.Body != nil {
			t.Errorf("%s: there is a body", tt.name)
		}
	}
}

// TestInitWithoutExt has the INIT of kernels before 7.36, which is 16 bytes long, and one whose flags2 does not count.
func TestInitWithoutExt(t *testing.T) {
	whole := fakekernel.BuildInit(header, fusewire.InitIn{Major: 7, Minor: 31, Flags: fusewire.InitHasResend | fusewire.InitMaxPages})
	for _, body := range [][]byte{whole[40:56], whole[40:]} {
		in, err := fusewire.ParseInit(body)
		if err != nil || in != (fusewire.InitIn{Major: 7, Minor: 31, Flags: fusewire.InitMaxPages}) {
			t.Errorf("%d bytes: %+v, %v", len(body), in, err)
		}
	}
}

func TestStrings(t *testing.T) {
	for _, tt := range []struct {
		v    fmt.Stringer
		want string
	}{
		{fusewire.Opcode(0), "OPCODE(0)"},
		{fusewire.Opcode(7), "OPCODE(7)"},
		{fusewire.Opcode(54), "OPCODE(54)"},
		{fusewire.Opcode(1<<32 - 1), "OPCODE(4294967295)"},
		{fusewire.InitFlags(0), "0"},
		{fusewire.InitAtomicOTrunc | fusewire.InitAsyncDIO | fusewire.InitMaxPages | fusewire.InitExt | fusewire.InitHasResend,
			"ATOMIC_O_TRUNC|ASYNC_DIO|MAX_PAGES|INIT_EXT|HAS_RESEND"},
		{fusewire.InitFlags(1<<42 | 1<<63), "REQUEST_TIMEOUT|0x8000000000000000"},
		{fusewire.DirectIO | fusewire.Nonseekable | fusewire.Stream | fusewire.Noflush | fusewire.ParallelDirectWrites,
			"DIRECT_IO|NONSEEKABLE|STREAM|NOFLUSH|PARALLEL_DIRECT_WRITES"},
		{fusewire.KeepCache | fusewire.CacheDir | 1<<8, "KEEP_CACHE|CACHE_DIR|0x100"},
		{fusewire.ReadLockOwner | 1, "LOCKOWNER|0x1"},
		{fusewire.WriteCache | fusewire.WriteLockOwner | fusewire.WriteKillSuidgid, "CACHE|LOCKOWNER|KILL_SUIDGID"},
		{fusewire.ReleaseFlush | fusewire.ReleaseFlockUnlock, "FLUSH|FLOCK_UNLOCK"},
		{fusewire.PollScheduleNotify, "SCHEDULE_NOTIFY"},
		{fusewire.IoctlCompat | fusewire.IoctlCompatX32, "COMPAT|COMPAT_X32"},
		{fusewire.SetattrSize | fusewire.SetattrKillSuidgid, "SIZE|KILL_SUIDGID"},
	} {
		if got := tt.v.String(); got != tt.want {
			t.Errorf("%T prints %q, want %q", tt.v, got, tt.want)
		}
	}
}

func TestLengthErrorText(t *testing.T) {
	_, err := fusewire.ParseRead(make([]byte, 39))
	if want := "READ: 39 bytes, want 40: truncated message"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestNoAllocation holds for the requests that come for every token.
func TestNoAllocation(t *testing.T) {
	read := fakekernel.BuildRead(header, fusewire.ReadIn{Fh: 9, Size: 1})
	write := fakekernel.BuildWrite(header, fusewire.WriteIn{Fh: 9, Data: []byte("+")})
	poll := fakekernel.BuildPoll(header, fusewire.PollIn{Fh: 9, Kh: 3})
	interrupt := fakekernel.BuildInterrupt(header, fusewire.InterruptIn{Unique: 4})
	release := fakekernel.BuildRelease(header, fusewire.ReleaseIn{Fh: 9})
	out := make([]byte, 0, 64)
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"READ", func() {
			req, _ := fusewire.ParseRequest(read)
			in, _ := fusewire.ParseRead(req.Body)
			out = append(fusewire.AppendReplyHeader(out[:0], req.Unique, 0, int(in.Size)), '+')
		}},
		{"WRITE", func() {
			req, _ := fusewire.ParseRequest(write)
			in, _ := fusewire.ParseWrite(req.Body)
			out = fusewire.AppendWrite(fusewire.AppendReplyHeader(out[:0], req.Unique, 0, 8), uint32(len(in.Data)))
		}},
		{"POLL", func() {
			req, _ := fusewire.ParseRequest(poll)
			in, _ := fusewire.ParsePoll(req.Body)
			out = fusewire.AppendPoll(fusewire.AppendReplyHeader(out[:0], req.Unique, 0, 8), in.Events)
			out = fusewire.AppendPollWake(out[:0], in.Kh)
		}},
		{"INTERRUPT", func() {
			req, _ := fusewire.ParseRequest(interrupt)
			in, _ := fusewire.ParseInterrupt(req.Body)
			out = fusewire.AppendReplyHeader(out[:0], in.Unique, 4, 0)
		}},
		{"RELEASE", func() {
			req, _ := fusewire.ParseRequest(release)
			in, _ := fusewire.ParseRelease(req.Body)
			out = fusewire.AppendReplyHeader(out[:0], req.Unique+in.Fh, 0, 0)
		}},
	} {
		if n := testing.AllocsPerRun(100, tt.f); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}
