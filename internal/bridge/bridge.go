// Package bridge gives a build real FIFOs whose tokens come from a steve and go back to it: for clients that take nothing
// else for a jobserver (ninja 1.13.0 to 1.13.2, LLVM), or that know it by descriptors only (make before 4.4).
//
// It asks for tokens by ctl.Server and puts them into FIFOs, watches those and takes tokens out again: loop.go has the rules.
// A process has one bridge at most, as a server has one question of each process. What a build is told of the FIFOs, and
// which build needs them, is not its concern.
package bridge

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
)

// defaultWindow is how many tokens a FIFO offers at most where Options say nothing. Clients that do not wait for tokens
// but look for them now and then (ninja) start as many jobs at a time.
const defaultWindow = 8

// Options are what can be chosen about a Bridge. The zero value is good.
type Options struct {
	// Dir is the directory in which a Bridge makes its own, and removes those of bridges killed. It is ctl.UserDir() if
	// empty, and made if it does not exist.
	Dir string
	// Window is how many tokens that nobody uses a FIFO offers at most, at least 1. 0 is 8.
	Window int
	// Failed, if not nil, is called once, if the server is gone, with the reason. The build goes on with the tokens it
	// has. It must not call the bridge.
	Failed func(error)
}

// A Bridge is two ways for a build to get tokens: a FIFO to be opened by its path, and a pair of descriptors. It costs no
// token until some process opens one of them.
//
// INVARIANT: bytes in the FIFOs and tokens that clients of theirs use = tokens on the ledger of this process for the bridge
// + at most one that was lent (see port), but for the moment in which a surplus is found
type Bridge struct {
	server  ctl.Server
	options Options
	home    *home
	watcher *watcher
	notices *notices
	finder  *finder

	path        *port // one FIFO, for clients that open it
	descriptors *port // two of them, for clients that inherit them
	ports       []*port

	events  chan [watches]uint32
	answers chan answer
	stolen  chan theft
	scanned chan scan
	suspend chan chan struct{}
	closing chan struct{}
	done    chan struct{} // closed when the loop has ended
	once    sync.Once
	err     error // of the first Close

	loop  loop  // the loop's own
	stats Stats // the loop's own

	mu        sync.Mutex // guards published
	published Stats
}

// Stats are counts since the start of a Bridge, and at the end the state it was in when it last moved.
type Stats struct {
	Received int // tokens from the server
	Recalled int // of those, given back unused, as others waited for them
	Stolen   int // taken from the build as it was returning them, as others had less
	Surplus  int // bytes that clients wrote beyond what they took, and that were swallowed
	Lent     int // of those, given back to a build that stood still
	Restored int // tokens that clients ended with, given back when none was left
	Asks     int // calls of Relay
	Scans    int // searches of /proc
	Opens    int // times that processes were seen to open a FIFO, several at once being one

	InUse int // tokens that clients have now
	Idle  int // tokens that are offered now
}

// New makes the FIFOs, in a private directory, and serves them. Close must be called in the end.
func New(server ctl.Server, o Options) (_ *Bridge, err error) {
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	if o.Dir == "" {
		o.Dir = ctl.UserDir()
	}
	b := &Bridge{
		server: server, options: o,
		events: make(chan [watches]uint32), answers: make(chan answer), stolen: make(chan theft), scanned: make(chan scan),
		suspend: make(chan chan struct{}), closing: make(chan struct{}), done: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			b.release()
		}
	}()
	if b.home, err = makeHome(o.Dir); err != nil {
		return nil, err
	}
	own := map[string]bool{}
	one, err := makeFIFO(b.home.path, pathName)
	if err != nil {
		return nil, err
	}
	b.path = &port{out: one, stands: true}
	b.ports = append(b.ports, b.path)
	if b.path.thief, err = unix.Open(one.path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, &os.PathError{Op: "open", Path: one.path, Err: err}
	}
	own[fmt.Sprint(b.path.thief)] = true
	b.descriptors = &port{}
	b.ports = append(b.ports, b.descriptors)
	if b.descriptors.out, err = makeFIFO(b.home.path, readName); err != nil {
		return nil, err
	}
	if b.descriptors.in, err = makeFIFO(b.home.path, writeName); err != nil {
		return nil, err
	}
	var files []*fifo
	for _, p := range b.ports {
		files = append(files, p.files()...)
	}
	for _, f := range files {
		own[fmt.Sprint(f.fd)] = true
	}
	if b.notices, err = watchFiles(files); err != nil {
		return nil, err
	}
	b.finder = &finder{files: files, own: own}
	if b.watcher, err = startWatcher(b.home); err != nil {
		return nil, err
	}
	if err := b.first(); err != nil {
		return nil, err
	}
	go b.notices.read(b.events, b.done)
	go b.run()
	return b, nil
}

// first makes the first offer. It is there before any client is, for some look for tokens only when they start: ninja finds
// itself work for those it gets then, LLVM counts them, and makes as many threads.
func (b *Bridge) first() error {
	answers := make(chan answer, 1)
	go func() {
		a, err := b.server.Relay(ctl.RelayAsk{Want: b.options.Window, Now: true})
		answers <- answer{RelayAnswer: a, err: err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-time.After(answerTimeout):
		return errors.New("the server does not answer")
	}
	if a.err != nil {
		return a.err
	}
	b.stats.Received += a.Tokens
	if n := a.Tokens - b.path.offer(a.Tokens); n > 0 {
		return b.server.Return(n)
	}
	return nil
}

// Dir is the private directory, which is removed in the end.
func (b *Bridge) Dir() string { return b.home.path }

// Started says that the build has begun with process pid, a child of this one that was not waited for. It is ended, with
// all that have one of the FIFOs, should this process be killed: the tokens would go to others while the build uses them.
func (b *Bridge) Started(pid int) error { return b.watcher.command(pid) }

// Suspend gives back what no client uses, and offers nothing until Resume. It is for a process that is about to be stopped,
// and could give nothing back then. It returns when that is done, or after a second if the server does not answer.
func (b *Bridge) Suspend() {
	done := make(chan struct{})
	timeout := time.After(time.Second)
	select {
	case b.suspend <- done:
	case <-b.done:
		return
	case <-timeout:
		return
	}
	select {
	case <-done:
	case <-b.done:
	case <-timeout:
	}
}

// Resume ends what Suspend has begun.
func (b *Bridge) Resume() {
	select {
	case b.suspend <- nil:
	case <-b.done:
	}
}

// Stats returns the counts.
func (b *Bridge) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.published
}

// answerTimeout is how long New and Close wait for a server that does not answer.
const answerTimeout = 3 * time.Second

// Close gives all tokens back, also those that clients still use, and removes the FIFOs. One call of Relay remains, which
// asks for nothing, until the server is closed or this process ends.
func (b *Bridge) Close() error {
	b.once.Do(func() {
		close(b.closing)
		select {
		case <-b.done:
			b.err = b.release()
		case <-time.After(answerTimeout):
			// The loop is in a call of the server's and has the descriptors. The directory can go, and with this process the rest.
			b.watcher.dismiss()
			b.err = errors.Join(errors.New("the server does not answer, the tokens of the bridge go back when this process ends"),
				b.home.remove())
		}
	})
	return b.err
}

// release frees what New has made so far.
func (b *Bridge) release() error {
	var errs []error
	if b.notices != nil {
		errs = append(errs, b.notices.close())
	}
	for _, p := range b.ports {
		p.close()
	}
	if b.watcher != nil {
		b.watcher.dismiss()
	}
	if b.home != nil {
		errs = append(errs, b.home.remove())
	}
	return errors.Join(errs...)
}

// fileNames are the FIFOs of a bridge in its directory: the one to be opened, and those that descriptors read and write.
const (
	pathName  = "fifo"
	readName  = "fifo-r"
	writeName = "fifo-w"
)

var fileNames = []string{pathName, readName, writeName}

// watches is the number of FIFOs.
const watches = 3
