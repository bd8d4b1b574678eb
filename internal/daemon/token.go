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
	"steve/internal/fusewire"
	"steve/internal/journal"
	"steve/internal/keeper"
)

// A token is the token file, whichever way it came to be. Several processes can have part in one.
type token struct {
	about
	FD int
	// Delegate leaves the removal to a process that keeps the privileges this one is about to drop.
	Delegate func() error
	// Remove takes the file from its path; whoever has it open is served on.
	Remove func() error
	// Sign makes this process the one that second servers are told of.
	Sign func()
	// Close ends all of it. No other process must go on serving it.
	Close func() error
	// shared are the descriptors by which another process can have part in it.
	shared []keeper.FD
}

// about is what there is to know of a token file beside its descriptors.
type about struct {
	Transport Transport
	Path      string
	// File is what a FUSE file was made by.
	File *file.Config `json:",omitempty"`
	// OwnUserOnly: the kernel lets nobody but the user who made the file use it.
	OwnUserOnly bool
}

func (a about) openFlags() fusewire.OpenReplyFlags {
	if a.Transport == FUSE {
		return file.OpenFlags
	}
	return 0
}

// other is what else than tokens the file is asked for. Note is as in front.Config.
func (a about) other(note func(journal.Fact)) front.Other {
	if a.Transport == FUSE {
		return file.NewAttributes(*a.File, note)
	}
	return nil
}

// The names of the descriptors by which processes have part in a token file.
const (
	deviceFD    = "device"
	lockFD      = "lock"
	unmounterFD = "unmounter"
)

// adoptToken returns the token file that another process has made, by the descriptors that it shares.
func adoptToken(a about, fds []keeper.FD) (*token, error) {
	get := func(name string) int {
		for _, fd := range fds {
			if fd.Name == name {
				return fd.Num
			}
		}
		return -1
	}
	device := get(deviceFD)
	if device < 0 {
		return nil, fmt.Errorf("no descriptor to serve %s by", a.Path)
	}
	if a.Transport == CUSE {
		return cuseToken(a, &cuse.Device{Path: a.Path, FD: device}), nil
	}
	return fileToken(a, file.Adopt(*a.File, file.Shared{Device: device, Lock: get(lockFD), Unmounter: get(unmounterFD)})), nil
}

func cuseToken(a about, d *cuse.Device) *token {
	nothing := func() error { return nil } // the node goes with the last descriptor
	return &token{
		about: a, FD: d.FD, Delegate: nothing, Remove: nothing, Sign: func() {}, Close: d.Close,
		shared: []keeper.FD{{Name: deviceFD, Num: d.FD}},
	}
}

func fileToken(a about, m *file.Mount) *token {
	t := &token{about: a, FD: m.FD, Remove: m.Unmount, Sign: m.Sign, Close: m.Close}
	share := func() {
		s := m.Shared()
		t.shared = []keeper.FD{{Name: deviceFD, Num: s.Device}, {Name: lockFD, Num: s.Lock}}
		if s.Unmounter >= 0 {
			t.shared = append(t.shared, keeper.FD{Name: unmounterFD, Num: s.Unmounter})
		}
	}
	t.Delegate = func() error {
		err := m.Delegate()
		share()
		return err
	}
	share()
	return t
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
	return cuseToken(about{Transport: CUSE, Path: d.Path}, d), nil
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
	return fileToken(about{Transport: FUSE, Path: path, File: &config, OwnUserOnly: !root}, m), nil
}
