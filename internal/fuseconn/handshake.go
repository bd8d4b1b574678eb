package fuseconn

import (
	"errors"
	"fmt"
	"syscall"

	"steve/internal/fusewire"
)

// What is taken of the kernel's offers. Left out on purpose: ATOMIC_O_TRUNC, without which O_TRUNC comes as a SETATTR,
// easily agreed to; HAS_RESEND, because a request that is sent again has another unique than the one written down at its
// first coming; ASYNC_DIO, because nothing here is long enough to be split.
const initWanted = fusewire.InitExt | fusewire.InitMaxPages

// Background requests, RELEASE above all, that may be unanswered at a time, and how many are called congestion.
const (
	maxBackground       = 64
	congestionThreshold = 48
)

// HandshakeFile waits for INIT, the first request of a mount, and answers it. wait returns when the device can be read,
// or an error, which ends the handshake. A kernel whose protocol is not spoken here is told EPROTO: the mount is then
// there, but every use of it fails.
func (c *Conn) HandshakeFile(wait func() error) error {
	req, err := c.first(fusewire.OpInit, wait)
	if err != nil {
		return fmt.Errorf("FUSE handshake: %w", err)
	}
	in, err := fusewire.ParseInit(req.Body)
	if err == nil {
		err = checkVersion(in.Major, in.Minor)
	}
	if err != nil {
		c.Fail(req.Unique, syscall.EPROTO)
		return fmt.Errorf("FUSE handshake: %w", err)
	}
	var body [64]byte
	err = c.Reply(req.Unique, fusewire.AppendInit(body[:0], fusewire.InitOut{
		Major:               fusewire.Major,
		Minor:               min(in.Minor, fusewire.Minor),
		Flags:               in.Flags & initWanted,
		MaxBackground:       maxBackground,
		CongestionThreshold: congestionThreshold,
		MaxWrite:            fusewire.MaxWrite,
		TimeGran:            1,
		MaxPages:            1,
	}))
	if err != nil {
		return fmt.Errorf("FUSE handshake: %w", err)
	}
	return nil
}

// HandshakeCUSE waits for CUSE_INIT, the first request on an open /dev/cuse, and answers it, which makes the device
// /dev/devName. wait and the versions are as for HandshakeFile.
//
// That the name is taken is not known here: the kernel accepts the answer, and the next read(2) fails with ENODEV.
func (c *Conn) HandshakeCUSE(devName string, wait func() error) error {
	req, err := c.first(fusewire.OpCuseInit, wait)
	if err != nil {
		return fmt.Errorf("CUSE handshake: %w", err)
	}
	in, err := fusewire.ParseCuseInit(req.Body)
	if err == nil {
		err = checkVersion(in.Major, in.Minor)
	}
	if err != nil {
		c.Fail(req.Unique, syscall.EPROTO)
		return fmt.Errorf("CUSE handshake: %w", err)
	}
	// Without CuseUnrestrictedIoctl the kernel copies an ioctl's memory as its number says, and no further.
	err = c.Reply(req.Unique, fusewire.AppendCuseInit(nil, fusewire.CuseInitOut{
		Major:    fusewire.Major,
		Minor:    min(in.Minor, fusewire.Minor),
		MaxRead:  fusewire.MaxWrite,
		MaxWrite: fusewire.MaxWrite,
		DevName:  devName,
	}))
	if err != nil {
		return fmt.Errorf("CUSE handshake: %w", err)
	}
	return nil
}

// first waits for the first request, which must be op.
func (c *Conn) first(op fusewire.Opcode, wait func() error) (fusewire.Request, error) {
	for {
		req, err := c.Next()
		switch {
		case errors.Is(err, ErrEmpty):
			if err := wait(); err != nil {
				return fusewire.Request{}, err
			}
		case err != nil:
			return fusewire.Request{}, err
		case req.Opcode != op:
			c.Fail(req.Unique, syscall.EPROTO)
			return fusewire.Request{}, fmt.Errorf("the first request is %v, not %v: the connection is in use already", req.Opcode, op)
		default:
			return req, nil
		}
	}
}

// checkVersion refuses a kernel that this server could not understand.
func checkVersion(major, minor uint32) error {
	if major == fusewire.Major && minor >= fusewire.MinMinor {
		return nil
	}
	hint := "a newer kernel is needed"
	if major > fusewire.Major {
		hint = "an older kernel is needed"
	}
	return fmt.Errorf("the kernel speaks version %d.%d of the protocol, steve %d.%d to %d.%d: %s",
		major, minor, fusewire.Major, fusewire.MinMinor, fusewire.Major, fusewire.Minor, hint)
}
