package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"steve/internal/front/cuse"
	"steve/internal/fuseconn"
	"steve/internal/journal"
	"steve/internal/keeper"
	"steve/internal/systemd"
)

// bestKeeper is systemd where its store is known to be open to this service, which it says from version 254 on, and there
// will be a device to keep.
func (d *daemon) bestKeeper() KeptBy {
	if os.Getenv("FDSTORE") != "" && d.Transport != FUSE {
		if control, err := cuse.OpenControl(); err == nil {
			unix.Close(control)
			return KeptBySystemd
		}
	}
	return KeptByProcess
}

// underSystemd serves a device as one process. That and the journal are in systemd's store, from which the next process of
// the service has them.
func (d *daemon) underSystemd() (status int, err error) {
	t, j, err := d.fromStore()
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if err := j.Lock(true); err != nil {
		return 1, err
	}
	switch n := j.Attempt(); {
	case n > lastAttempt: // the next begins with a device of its own, and nobody waits for this one any more
		forget(t)
		return 1, fmt.Errorf("gave up on the builds that use %s, as %d processes in a row could not go on", t.Path, n-1)
	case n > lastWithPast && !j.Empty():
		d.startAfresh(j)
	}
	if err := d.dropPrivileges(t); err != nil {
		return 1, err
	}
	s, err := d.newService(t, j)
	if err != nil {
		return 1, err
	}
	defer s.close()
	d.serving(t)()
	end, err := s.run(nil)
	switch {
	case err == nil && end == parked:
		return keeper.Parked, nil
	case err != nil && !errors.Is(err, fuseconn.ErrEnd):
		return 1, err // the next may fare better
	}
	return exit(errors.Join(err, forget(t)))
}

// forget has systemd drop what it has stored for t.
func forget(t *token) error {
	return errors.Join(systemd.Remove(storedDevice(t.Path)), systemd.Remove(journalFD))
}

// How many processes in a row may try to go on from a journal, and on a device. systemd starts the next in any case, as
// it should after any number of kills, and cannot tell those from a server that is not able to live.
const (
	lastWithPast = 5
	lastAttempt  = 2 * lastWithPast
)

// storedDevice is the name of the device at path in systemd's store.
func storedDevice(path string) string { return "device" + strings.ReplaceAll(path, "/", ".") }

// fromStore returns the token file and its journal, be it that they were stored or that they are now.
func (d *daemon) fromStore() (t *token, j *journal.Journal, err error) {
	given, err := systemd.Inherited()
	if err != nil {
		d.log.Error("what systemd has stored for this service cannot be had", "error", err)
	}
	path := cuse.Path(d.DevName)
	device, book := -1, -1
	var useless []string
	for _, g := range given {
		switch {
		case g.Name == storedDevice(path) && device < 0 && alive(g.FD):
			device = g.FD
		case g.Name == journalFD && book < 0:
			book = g.FD
		default:
			unix.Close(g.FD)
			useless = append(useless, g.Name)
		}
	}
	for _, name := range useless { // be there others of the same name: what is of use is stored again
		systemd.Remove(name)
	}
	if device < 0 {
		t, err = openToken(d.Config, d.stderr)
		if err != nil {
			return nil, nil, err
		}
	} else {
		t = cuseToken(about{Transport: CUSE, Path: path}, &cuse.Device{Path: path, FD: device})
	}
	if t.Transport != CUSE {
		err = errors.New("systemd can keep a character device only; use --transport cuse or --keeper process")
	} else {
		j, err = d.storedJournal(t, device >= 0, book)
	}
	if err == nil {
		err = errors.Join(systemd.Store(storedDevice(path), t.FD), systemd.Store(journalFD, j.FD()))
	}
	if err != nil {
		forget(t) // without a journal nobody counts how often this is tried
		return nil, nil, errors.Join(err, t.Close())
	}
	return t, j, nil
}

// storedJournal returns the journal of t behind fd, which is -1 for none, or else a new one. Served says that t had a server.
func (d *daemon) storedJournal(t *token, served bool, fd int) (*journal.Journal, error) {
	if served && fd >= 0 {
		j, err := openJournal(fd, t, d.log)
		if err == nil {
			return j, nil
		}
		logRefused(d.log, err) // it is another user's, who cannot be made to give way
	} else if served {
		logRefused(d.log, errors.New("systemd has the device, but no journal"))
	}
	if fd >= 0 {
		unix.Close(fd)
	}
	text, err := json.Marshal(t.about)
	if err != nil {
		return nil, err
	}
	j, err := journal.Create(text)
	if err == nil && served {
		j.Clear()
	}
	return j, err
}

// alive says whether the device behind fd is still there.
func alive(fd int) bool {
	dead, err := fuseconn.FD(fd).Dead()
	return err == nil && !dead
}
