package bridge

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A finder looks in /proc for processes that have one of its files open. It sees those of this user, as root those of all:
// a build that goes on under sudo alone looks as if it had ended.
type finder struct {
	files []*fifo
	own   map[string]bool // descriptors of this process that do not count
	last  map[fileID]place
}

// A place is where a file was seen open.
type place struct{ pid, fd string }

// search returns which of the files some process has open. It looks first where each was seen last: the build's first process
// has them open all the time as a rule, and then nothing else is looked at.
func (f *finder) search() map[fileID]bool {
	found := map[fileID]bool{}
	self := selfPID()
	for id, at := range f.last {
		if got, ok := f.at(at); ok && got == id && (at.pid != self || !f.own[at.fd]) {
			found[id] = true
		}
	}
	f.last = keep(f.last, found)
	eachProcess(func(pid string) bool {
		if len(found) == len(f.files) {
			return false
		}
		eachDescriptor(pid, func(fd string) bool {
			if pid == self && f.own[fd] {
				return true
			}
			if id, ok := f.at(place{pid, fd}); ok && !found[id] {
				found[id] = true
				f.last[id] = place{pid, fd}
			}
			return len(found) < len(f.files)
		})
		return true
	})
	return found
}

func keep(m map[fileID]place, ids map[fileID]bool) map[fileID]place {
	kept := map[fileID]place{}
	for id := range ids {
		kept[id] = m[id]
	}
	return kept
}

// at returns which of the files is open at a place. Its name, which can look different from there, is only a hint; but
// nothing else is looked at closer: a file whose server is dead, of FUSE or NFS, would not let go of who does.
func (f *finder) at(p place) (fileID, bool) {
	path := "/proc/" + p.pid + "/fd/" + p.fd
	link, err := os.Readlink(path)
	if err != nil {
		return fileID{}, false
	}
	name := filepath.Base(link)
	for _, file := range f.files {
		if name != filepath.Base(file.path) {
			continue
		}
		var stat unix.Stat_t
		if unix.Stat(path, &stat) == nil && idOf(&stat) == file.id {
			return file.id, true
		}
	}
	return fileID{}, false
}

// holds says whether a process has one of the files open.
func (f *finder) holds(pid string) bool {
	held := false
	eachDescriptor(pid, func(fd string) bool {
		_, held = f.at(place{pid, fd})
		return !held
	})
	return held
}

// eachProcess calls f for the processes there are, until it returns false.
func eachProcess(f func(pid string) bool) {
	each("/proc", func(name string) bool {
		return strings.Trim(name, "0123456789") != "" || f(name)
	})
}

// eachDescriptor calls f for the descriptors of a process, until it returns false.
func eachDescriptor(pid string, f func(fd string) bool) { each("/proc/"+pid+"/fd", f) }

func each(dir string, f func(name string) bool) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(256)
		for _, name := range names {
			if !f(name) {
				return
			}
		}
		if err != nil || len(names) == 0 {
			return
		}
	}
}

func selfPID() string {
	pid, err := os.Readlink("/proc/self")
	if err != nil {
		return ""
	}
	return pid
}
