package proc

import (
	"container/list"
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An ID is one process for the life of a Table, and of those that continue it. IDs start at 1 and are never given twice.
//
// The ID of a watched process is that process's alone, also when its pid is recycled. The ID of a process that is not
// watched goes with its pid: it can pass to a later process of the same pid. So charge nothing to an ID before Watch.
type ID uint64

const (
	// defaultBudget of idle watched processes: enough for the makes and compilers of a large build between two jobs.
	defaultBudget = 1024
	// spareDescriptors are left to the rest of the program and to reading /proc.
	spareDescriptors = 16
	// lookFor is how long one look at which watched processes have ended counts. One that ends after it may be taken for alive,
	// but in this time its pid does not become another's: pids are given in turn, and would have to be given all.
	lookFor = 100 * time.Microsecond
	// sweepFloor and twice what the last sweep left is when unused records, or threads, are swept next.
	sweepFloor = 4096
)

// Options of a Table.
type Options struct {
	// InUse says whether anything is kept for the process that must not get lost: tokens, a lent token, a request that
	// waits, a poll to wake. A process in use is never forgotten before it exits.
	InUse func(ID) bool
	// Forget is told an ID that the table drops although Exited has not reported it, and never will: what is remembered
	// for it must go. It is told IDs of which the owner keeps nothing as well.
	// Each ID that Caller returned, or that was adopted, ends in either one Forget or one Exited.
	Forget func(ID)
	// Note may be nil. It is told a process when Caller gives it an ID, and again when Watch begins to watch it, before they
	// return: what a later table needs to continue this one, see Table.Adopt. The start time costs Watch a look at /proc.
	Note func(Process)
	// Budget is how many processes that are not in use may stay watched; 0 is 1024, or a quarter of the limit on open
	// files if that is less.
	Budget int
}

// A Table maps threads to processes and watches processes for their end.
//
// All methods must be called from one goroutine, or be serialised: there is no lock. InUse, Forget and Note are called from
// within Caller and Watch, and must not call the Table.
//
// An ID that is neither watched nor in use may be dropped by the next Caller; one that is watched but not in use, by
// the next Watch. So between Caller, Watch and the pool's taking note of the process, nothing else may come.
type Table struct {
	inUse   func(ID) bool
	forget  func(ID)
	note    func(Process)
	budget  int
	maxFD   int // descriptors from here on are the spare ones
	epoll   int
	lastID  ID
	records map[ID]*record
	byPID   map[int]*record // the record whose process has the pid now, as far as known
	threads map[int]*record // a cache; a stale record in it counts as none
	watched *list.List      // of *record, longest watched first
	ended   []*record       // found dead by Adopt, and not yet reported; of no account once they are not in records
	trimAt  int             // len of watched at which idle ones are looked for
	// Sizes of records and threads beyond which they are swept.
	sweepRecordsAt, sweepThreadsAt int
	events                         [64]unix.EpollEvent

	start  time.Time
	looked time.Duration // since start, when none of the watched had ended
}

// record is a process. It is stale once no thread can be a thread of it any more: it was found dead, or was dropped.
type record struct {
	id    ID
	pid   int
	stale bool
	pidfd int           // valid while place is not nil
	place *list.Element // in Table.watched; nil if not watched
	start uint64        // as in Process
}

// NewTable returns an empty table.
//
// The soft limit on open files needs no raising here: package os does so when a program starts, and takes it back for
// children.
func NewTable(opts Options) (*Table, error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, os.NewSyscallError("getrlimit", err)
	}
	limit := int(min(files.Cur, 1<<30))
	budget := opts.Budget
	if budget == 0 {
		budget = max(1, min(defaultBudget, limit/4))
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &Table{
		inUse: opts.InUse, forget: opts.Forget, note: opts.Note,
		budget: budget, trimAt: budget,
		maxFD:   limit - spareDescriptors,
		epoll:   epoll,
		records: make(map[ID]*record),
		byPID:   make(map[int]*record),
		threads: make(map[int]*record),
		watched: list.New(),

		sweepRecordsAt: sweepFloor, sweepThreadsAt: sweepFloor,
		start: time.Now(), looked: -lookFor,
	}, nil
}

// Close closes the descriptors of the table. It calls no Forget.
func (t *Table) Close() error {
	for e := t.watched.Front(); e != nil; e = e.Next() {
		unix.Close(e.Value.(*record).pidfd)
	}
	return os.NewSyscallError("close", unix.Close(t.epoll))
}

// Caller returns the process that thread tid belongs to. It must be called while the thread is in a request, that is
// before the reply: afterwards the thread may end, and its id be another's.
//
// For a thread seen before it costs at most two system calls that do not block, and allocates nothing; for others it
// reads /proc. Errors: ErrUnseen for tid 0, which is what the kernel gives for a caller outside of our pid namespace;
// ErrGone if there is no such thread; ErrNoDescriptor; or that /proc cannot be read.
func (t *Table) Caller(tid int) (ID, error) {
	if tid <= 0 {
		return 0, ErrUnseen
	}
	if r := t.threads[tid]; r != nil && t.owns(r, tid) {
		return r.id, nil
	}
	return t.identify(tid)
}

// owns reports whether tid is, now, a thread of the process of r.
func (t *Table) owns(r *record, tid int) bool {
	if r.stale {
		return false
	}
	if r.place != nil {
		if t.anyExited() && !pidfdAlive(r.pidfd) {
			// Exited reports the ID later; from now on the pid may be another process's.
			t.unmap(r)
			return false
		}
		if tid == r.pid {
			return true // a pid is not recycled before its process is reaped, and then the pidfd was readable before
		}
	}
	return threadAlive(r.pid, tid)
}

// identify is Caller for a thread that is unknown, or whose id was another's when last seen.
func (t *Table) identify(tid int) (ID, error) {
	pid, err := Root.status(tid, "Tgid:")
	if err != nil {
		return 0, err
	}
	r := t.byPID[pid]
	if r != nil && !t.owns(r, tid) {
		if !r.stale {
			return 0, ErrGone // the process lives, the thread ended just now
		}
		r = nil
	}
	t.sweep(r)
	if r == nil {
		t.lastID++
		r = &record{id: t.lastID, pid: pid}
		t.records[r.id] = r
		t.byPID[pid] = r
		t.tell(r)
	}
	t.threads[tid] = r
	return r.id, nil
}

// Watch makes Exited report the end of the process. It must be called while a thread of the process is in a request,
// so that the pid is surely its own. Watching twice is watching once.
//
// When descriptors run out, processes that are not in use are dropped to get one. Errors: ErrGone, ErrNoDescriptor
// (then the process must be given nothing that is to be reclaimed), or one of pidfd_open or epoll_ctl.
func (t *Table) Watch(id ID) error {
	r := t.records[id]
	if r == nil {
		return ErrGone
	}
	if r.place != nil {
		return nil
	}
	if r.stale {
		return ErrGone
	}
	if t.watched.Len() >= t.trimAt {
		t.trim()
	}
	err := t.watch(r)
	if err == ErrNoDescriptor && t.evictHalf() {
		err = t.watch(r)
	}
	if err == nil {
		t.tell(r)
	}
	return err
}

// watch opens a pidfd, which keeps standing for this process when its pid is recycled. In epoll it becomes readable
// when the last thread of the process has exited, be the main thread gone before or not (pidfd_poll in fs/pidfs.c,
// kernel/fork.c before Linux 6.9; pidfd_open(2)). An execve, by whichever thread, keeps the pid and the pidfd
// (de_thread in fs/exec.c).
func (t *Table) watch(r *record) error {
	fd, err := unix.PidfdOpen(r.pid, 0)
	switch err {
	case nil:
	case unix.ESRCH, unix.EINVAL, unix.ENOENT:
		// With EINVAL, or ENOENT on newer kernels, the pid is now the id of a mere thread.
		t.unmap(r)
		return ErrGone
	default:
		return descriptorError("pidfd_open", err)
	}
	if fd >= t.maxFD {
		unix.Close(fd) // the kernel gives the lowest free number: fewer than spareDescriptors are left
		return ErrNoDescriptor
	}
	start := r.start
	if t.note != nil || start != 0 {
		if start, err = r.startTime(fd); err != nil {
			unix.Close(fd)
			if err == ErrGone {
				t.unmap(r)
			}
			return err
		}
	}
	// The event carries the ID, not the descriptor: numbers of descriptors are reused.
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(r.id), Pad: int32(r.id >> 32)}
	if err := unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		unix.Close(fd)
		return descriptorError("epoll_ctl", err)
	}
	r.pidfd, r.start = fd, start
	r.place = t.watched.PushBack(r)
	return nil
}

// unwatch closes the pidfd. It leaves epoll explicitly: a child between fork and exec may still hold a copy.
func (t *Table) unwatch(r *record) {
	unix.EpollCtl(t.epoll, unix.EPOLL_CTL_DEL, r.pidfd, nil)
	unix.Close(r.pidfd)
	t.watched.Remove(r.place)
	r.place = nil
}

// FD returns a descriptor that polls readable while Exited has something to report, other than what Adopt found.
func (t *Table) FD() int { return t.epoll }

// anyExited reports whether FD polled readable within lookFor. A pidfd becomes readable before its process is reaped, and
// so before its pid can be that of a thread whose request we have read. It takes a third of the time of pidfdAlive.
func (t *Table) anyExited() bool {
	now := time.Since(t.start)
	if now-t.looked < lookFor {
		return false
	}
	// Without a timeout it does not block. The event stays: it is taken away by the close alone (level-triggered).
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(t.epoll), uintptr(unsafe.Pointer(&t.events[0])), 1, 0, 0, 0)
	if n != 0 || errno != 0 {
		return true
	}
	t.looked = now
	return false
}

// An Exit is the end of a watched or an adopted process.
type Exit struct {
	ID  ID
	PID int
}

// Exited appends to dst the watched processes that have ended since it was last called, and those that Adopt found ended,
// and returns it. Their IDs are unknown to the table from then on. It does not block.
func (t *Table) Exited(dst []Exit) []Exit {
	for _, r := range t.ended {
		if t.records[r.id] == r {
			dst = append(dst, Exit{r.id, r.pid})
			t.drop(r)
		}
	}
	t.ended = nil
	for {
		n, err := unix.EpollWait(t.epoll, t.events[:], 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			panic(os.NewSyscallError("epoll_wait", err)) // the descriptor and the buffer are ours: it cannot fail
		}
		for _, event := range t.events[:n] {
			r := t.records[ID(uint32(event.Fd))|ID(uint32(event.Pad))<<32]
			dst = append(dst, Exit{r.id, r.pid})
			t.drop(r)
		}
		if n < len(t.events) {
			return dst
		}
	}
}

// PID returns the process id of a process, which may have exited unless one of its threads is in a request.
// It returns false for an ID that was reported by Exited or told to Forget.
func (t *Table) PID(id ID) (int, bool) {
	r := t.records[id]
	if r == nil {
		return 0, false
	}
	return r.pid, true
}

// Watched returns the watched process that has the process id pid now, if there is one.
func (t *Table) Watched(pid int) (ID, bool) {
	r := t.byPID[pid]
	if r == nil || r.place == nil || !pidfdAlive(r.pidfd) {
		return 0, false
	}
	return r.id, true
}

// Gone reports whether a process has ended for sure. Of one that is not watched this is the only sign, as its end is
// never reported; should its pid be another's by now, it does not count as gone.
func (t *Table) Gone(id ID) bool {
	r := t.records[id]
	return r == nil || r.place == nil && !threadAlive(r.pid, r.pid)
}

// drop removes a record.
func (t *Table) drop(r *record) {
	if r.place != nil {
		t.unwatch(r)
	}
	t.unmap(r)
	delete(t.records, r.id)
}

// unmap makes r stale: its pid, and its threads' ids, may from now on be another process's.
func (t *Table) unmap(r *record) {
	r.stale = true
	if t.byPID[r.pid] == r {
		delete(t.byPID, r.pid)
	}
}

// idle returns the watched processes that are not in use, longest watched first.
func (t *Table) idle() []*record {
	var idle []*record
	for e := t.watched.Front(); e != nil; e = e.Next() {
		if r := e.Value.(*record); !t.inUse(r.id) {
			idle = append(idle, r)
		}
	}
	return idle
}

func (t *Table) evict(records []*record) {
	for _, r := range records {
		t.drop(r)
		t.forget(r.id)
	}
}

// trim leaves half a budget of idle watched processes, so that it need not look again before another half a budget
// was watched: never are more than a budget watched beyond those that were in use when it last looked.
func (t *Table) trim() {
	idle := t.idle()
	t.trimAt = t.watched.Len() - len(idle) + t.budget
	t.evict(idle[:max(0, len(idle)-t.budget/2)])
}

// evictHalf drops half of the idle watched processes, at least one, and reports whether there was any.
func (t *Table) evictHalf() bool {
	idle := t.idle()
	t.evict(idle[:(len(idle)+1)/2])
	return len(idle) > 0
}

// sweep drops what the caches keep for nobody: records neither watched nor in use, and threads that are no more.
// They grow by as many as the last sweep left before they are swept again: constant time per new entry.
// keep is not dropped.
func (t *Table) sweep(keep *record) {
	if len(t.records) >= t.sweepRecordsAt {
		for id, r := range t.records {
			if r != keep && r.place == nil && !t.inUse(id) {
				t.drop(r)
				t.forget(id)
			}
		}
		t.sweepRecordsAt = sweepFloor + 2*len(t.records)
	}
	if len(t.threads) >= t.sweepThreadsAt {
		for tid, r := range t.threads {
			if r.stale || !threadAlive(r.pid, tid) {
				delete(t.threads, tid)
			}
		}
		t.sweepThreadsAt = sweepFloor + 2*len(t.threads)
	}
}

// pidfdAlive reports whether the process is not reaped yet. EPERM and the like mean that there is one.
func pidfdAlive(pidfd int) bool {
	// A kill, with signal 0 at that, never blocks: it may keep the scheduler from knowing.
	_, _, errno := unix.RawSyscall6(unix.SYS_PIDFD_SEND_SIGNAL, uintptr(pidfd), 0, 0, 0, 0, 0)
	return errno != unix.ESRCH
}

// threadAlive reports whether process pid has a thread tid now.
func threadAlive(pid, tid int) bool {
	_, _, errno := unix.RawSyscall(unix.SYS_TGKILL, uintptr(pid), uintptr(tid), 0)
	return errno != unix.ESRCH
}

// descriptorError returns ErrNoDescriptor for what ends when others close files or free memory.
func descriptorError(call string, err error) error {
	for _, full := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOSPC} {
		if errors.Is(err, full) {
			return ErrNoDescriptor
		}
	}
	return os.NewSyscallError(call, err)
}
