package proc

import "iter"

// A Process is what a table has to know of a process to continue with it.
type Process struct {
	ID  ID
	PID int
	// Start is when a watched process started, by FS.StartTime; 0 if it is not watched. Together with the pid it stands for
	// that process alone: pids are given in turn, which takes longer than a tick.
	Start uint64
}

// Adopt makes p, which was in the table of a program that has ended, a process of this table, with the same ID. IDs given
// later are greater. Of an ID adopted twice the later call counts, so that all Note was told can be adopted as it came.
//
// A process with a Start is watched from now on. If it ended meanwhile, its pid being another's by now or not, the next
// Exited reports it. The same holds for a process without a Start if there is none of its pid; a zombie is one.
//
// It calls none of the functions in Options: nothing is dropped to get a descriptor. Errors, with which the process is not
// adopted: ErrNoDescriptor, one of pidfd_open or epoll_ctl, or that /proc cannot be read.
func (t *Table) Adopt(p Process) error {
	t.lastID = max(t.lastID, p.ID)
	r := &record{id: p.ID, pid: p.PID, start: p.Start}
	ended := !threadAlive(p.PID, p.PID)
	if p.Start != 0 && !ended {
		err := t.watch(r)
		if err != nil && err != ErrGone {
			return err
		}
		ended = err == ErrGone
	}
	if former := t.records[p.ID]; former != nil {
		t.drop(former)
	}
	t.records[p.ID] = r
	other := t.byPID[p.PID]
	switch {
	case ended:
		r.stale = true
		t.ended = append(t.ended, r)
	case other != nil && other.id > r.id:
		r.stale = true // the pid has passed to the other
	default:
		if other != nil {
			other.stale = true
		}
		t.byPID[p.PID] = r
	}
	return nil
}

// All returns the processes of the table, in no certain order: what a later table needs to continue this one. Only a table
// with a Note knows a Start of other processes than those it adopted.
func (t *Table) All() iter.Seq[Process] {
	return func(yield func(Process) bool) {
		for _, r := range t.records {
			if !yield(r.process()) {
				return
			}
		}
	}
}

func (r *record) process() Process { return Process{r.id, r.pid, r.start} }

// tell tells Note of r.
func (t *Table) tell(r *record) {
	if t.note != nil {
		t.note(r.process())
	}
}

// startTime returns the start time of r, of whose pid pidfd was opened: ErrGone if it is not the one known already.
func (r *record) startTime(pidfd int) (uint64, error) {
	start, err := Root.StartTime(r.pid)
	if err != nil {
		return 0, err
	}
	// Until the process of pidfd is reaped the pid is its own: then the time is its own too.
	if !pidfdAlive(pidfd) || r.start != 0 && r.start != start {
		return 0, ErrGone
	}
	return start, nil
}
