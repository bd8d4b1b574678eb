package fuseconn_test

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"

	"steve/internal/fuseconn"
	"steve/internal/fusewire"
	"steve/internal/testkit/fakekernel"
)

// noWait is for handshakes that need not wait.
func noWait() error { return errors.New("waited") }

func TestHandshakeVersions(t *testing.T) {
	for _, tt := range []struct {
		name         string
		major, minor uint32
		want         uint32 // minor of the answer; 0: refused
		hint         string
	}{
		{"oldest", 7, 31, 31, ""},
		{"too old", 7, 30, 0, "the kernel speaks version 7.30 of the protocol, steve 7.31 to 7.45: a newer kernel is needed"},
		{"ours", 7, 45, 45, ""},
		{"newer", 7, 99, 45, ""},
		{"older major", 6, 45, 0, "version 6.45"},
		{"newer major", 8, 0, 0, "an older kernel is needed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := fakekernel.New(t)
			file.Queue(fakekernel.BuildInit(request(2), fusewire.InitIn{Major: tt.major, Minor: tt.minor}))
			cuse := fakekernel.New(t)
			cuse.Queue(fakekernel.BuildCuseInit(request(2), fusewire.CuseInitIn{Major: tt.major, Minor: tt.minor}))
			for _, h := range []struct {
				name string
				k    *fakekernel.Kernel
				err  error
			}{
				{"FUSE", file, fuseconn.New(file).HandshakeFile(noWait)},
				{"CUSE", cuse, fuseconn.New(cuse).HandshakeCUSE("steve", noWait)},
			} {
				r, ok := h.k.Reply(2)
				switch {
				case !ok:
					t.Errorf("%s: no answer", h.name)
				case tt.want == 0:
					if h.err == nil || !strings.HasPrefix(h.err.Error(), h.name+" handshake: ") || !strings.Contains(h.err.Error(), tt.hint) {
						t.Errorf("%s: %v, want %q", h.name, h.err, tt.hint)
					}
					if r.Errno != syscall.EPROTO {
						t.Errorf("%s: answered with %d, want EPROTO", h.name, r.Errno)
					}
				case h.err != nil:
					t.Errorf("%s: %v", h.name, h.err)
				default:
					major, minor := binary.NativeEndian.Uint32(r.Body), binary.NativeEndian.Uint32(r.Body[4:])
					if major != 7 || minor != tt.want {
						t.Errorf("%s: answered with %d.%d, want 7.%d", h.name, major, minor, tt.want)
					}
				}
			}
		})
	}
}

func TestHandshakeFileFlags(t *testing.T) {
	for _, tt := range []struct {
		offer, want fusewire.InitFlags
	}{
		{0, 0},
		{fusewire.InitMaxPages, fusewire.InitMaxPages},
		{fusewire.InitExt, fusewire.InitExt},
		{math.MaxUint64, fusewire.InitExt | fusewire.InitMaxPages}, // no ATOMIC_O_TRUNC, ASYNC_DIO, HAS_RESEND
	} {
		k := fakekernel.New(t)
		k.Queue(fakekernel.BuildInit(request(2), fusewire.InitIn{Major: 7, Minor: 45, MaxReadahead: 1 << 17, Flags: tt.offer}))
		if err := fuseconn.New(k).HandshakeFile(noWait); err != nil {
			t.Fatal(err)
		}
		want := fusewire.AppendInit(nil, fusewire.InitOut{Major: 7, Minor: 45, Flags: tt.want, MaxBackground: 64,
			CongestionThreshold: 48, MaxWrite: 4096, TimeGran: 1, MaxPages: 1})
		checkReply(t, k, 2, 0, string(want))
	}
}

func TestHandshakeCUSE(t *testing.T) {
	k := fakekernel.New(t)
	k.Queue(fakekernel.BuildCuseInit(request(2), fusewire.CuseInitIn{Major: 7, Minor: 41, Flags: fusewire.CuseUnrestrictedIoctl}))
	if err := fuseconn.New(k).HandshakeCUSE("steve", noWait); err != nil {
		t.Fatal(err)
	}
	want := fusewire.AppendCuseInit(nil, fusewire.CuseInitOut{Major: 7, Minor: 41, MaxRead: 4096, MaxWrite: 4096, DevName: "steve"})
	checkReply(t, k, 2, 0, string(want))
}

// TestHandshakeWaits has INIT come only after the handshake waited for it twice.
func TestHandshakeWaits(t *testing.T) {
	k := fakekernel.New(t)
	waits := 0
	err := fuseconn.New(k).HandshakeFile(func() error {
		if waits++; waits == 2 {
			k.Queue(fakekernel.BuildInit(request(2), fusewire.InitIn{Major: 7, Minor: 45}))
		}
		return nil
	})
	if err != nil || waits != 2 {
		t.Errorf("%v after %d waits", err, waits)
	}
}

func TestHandshakeFails(t *testing.T) {
	late := errors.New("late")
	for _, tt := range []struct {
		name  string
		queue []byte
		end   bool
		want  error
		text  string
	}{
		{name: "nothing comes", want: late, text: "FUSE handshake: late"},
		{name: "the device is gone", end: true, want: fuseconn.ErrEnd, text: "FUSE handshake: the device is gone"},
		{name: "in use", queue: read(2), text: "FUSE handshake: the first request is READ, not INIT: the connection is in use already"},
		{name: "truncated", queue: fakekernel.Build(fusewire.Header{Opcode: fusewire.OpInit, Unique: 2}, make([]byte, 15)),
			want: fusewire.ErrTruncated, text: "FUSE handshake: INIT: 15 bytes, want 16: truncated message"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := fakekernel.New(t)
			if tt.queue != nil {
				k.Queue(tt.queue)
			}
			if tt.end {
				k.End()
			}
			err := fuseconn.New(k).HandshakeFile(func() error { return late })
			if err == nil || err.Error() != tt.text || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%v, want %s", err, tt.text)
			}
			if tt.queue != nil {
				checkReply(t, k, 2, syscall.EPROTO, "")
			}
		})
	}
}
