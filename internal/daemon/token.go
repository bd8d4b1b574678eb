package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"steve/internal/front"
	"steve/internal/front/cuse"
	"steve/internal/front/file"
	"steve/internal/fuseconn"
	"steve/internal/fusewire"
)

// A token is the token file, whichever way it came to be.
type token struct {
	Path      string
	FD        int
	Conn      *fuseconn.Conn
	OpenFlags fusewire.OpenReplyFlags
	Requests  front.Requests
	// OwnUserOnly: the kernel lets nobody but the user of this process use the file.
	OwnUserOnly bool
	// Delegate leaves the removal to a process that keeps the privileges this one is about to drop.
	Delegate func() error
	// Remove takes the file from its path; whoever has it open is served on.
	Remove func() error
	// Close ends all of it.
	Close func() error
}

// openToken makes the token file by the transport asked for, or the best there is.
func openToken(c Config, stderr io.Writer) (*token, error) {
	if c.Transport == FUSE {
		return openFile(c)
	}
	control, err := cuse.OpenControl()
	switch {
	case err == nil:
		if os.Geteuid() != 0 && (c.Perm != "" || c.Group != "") {
			fmt.Fprintln(stderr, "steve: --mode and --group have no effect, the device is root's; use a udev rule (see 60-steve.rules)")
		}
		return openCUSE(c, control)
	case c.Transport == CUSE:
		return nil, fmt.Errorf("%w; %s", err, cuseHint(err))
	}
	fmt.Fprintf(stderr, "steve: serving a FUSE file as there is no character device to be had (%v); ninja and LLVM would ignore it and must be run by stevie\n", err)
	return openFile(c)
}

func cuseHint(err error) string {
	if errors.Is(err, os.ErrPermission) {
		return "run steve as root, give this user the device (see 60-steve.rules), or use --transport fuse"
	}
	return "load the module (modprobe cuse), or use --transport fuse"
}

func openCUSE(c Config, control int) (*token, error) {
	if err := file.Clear(cuse.Path(c.DevName)); err != nil {
		unix.Close(control)
		return nil, err
	}
	d, err := cuse.New(control, c.DevName)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if err := permit(c, d); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return &token{
		Path: d.Path, FD: d.FD, Conn: d.Conn,
		Delegate: func() error { return nil }, // the node goes with the descriptor
		Remove:   func() error { return nil },
		Close:    d.Close,
	}, nil
}

func permit(c Config, d *cuse.Device) error {
	perm, err := c.perm(true)
	if err != nil {
		return err
	}
	gid, err := c.group(true)
	if err != nil {
		return err
	}
	return d.Permit(gid, perm, c.Perm != "" || c.Group != "")
}

func openFile(c Config) (*token, error) {
	root := os.Geteuid() == 0
	perm, err := c.perm(root)
	if err != nil {
		return nil, err
	}
	gid, err := c.group(root)
	if err != nil {
		return nil, err
	}
	path, runDir, err := c.place()
	if err != nil {
		return nil, err
	}
	config := file.Config{Path: path, Perm: perm, UID: os.Geteuid(), GID: gid, RunDir: runDir}
	m, err := file.Open(config)
	if err != nil {
		return nil, err
	}
	return &token{
		Path: m.Path, FD: m.FD, Conn: m.Conn, OpenFlags: file.OpenFlags, Requests: file.Requests(config),
		OwnUserOnly: !root,
		Delegate:    m.Delegate,
		Remove:      m.Unmount,
		Close:       m.Close,
	}, nil
}
