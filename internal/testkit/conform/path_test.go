package conform

import (
	"testing"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
)

// pathCases are about the other ways to read a file. Each may fail, if nothing is taken then; what it brings is on the
// ledger of the process.
var pathCases = []testCase{
	{name: "shared mapping", run: pathCase("mmap", unix.PROT_READ, unix.MAP_SHARED)},
	{name: "shared mapping for writing", run: pathCase("mmap", unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)},
	{name: "private mapping", run: pathCase("mmap", unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)},
	{name: "splice", run: pathCase("splice", 0, 0)},
	{name: "sendfile", run: pathCase("sendfile", 0, 0)},
	{name: "io_submit", run: pathCase("aio", 0, 0)},
	{name: "io_uring", run: pathCase("uring", 0, 0)},
}

// pathCase tries op with a token free, and with none.
func pathCase(op string, arg1, arg2 uintptr) func(*testing.T, *server) {
	return func(t *testing.T, s *server) {
		holder := newClient(t).on("")
		h := holder.open(s.path, unix.O_RDWR)
		for _, flags := range []int{unix.O_RDWR, unix.O_RDWR | unix.O_NONBLOCK} {
			c := newClient(t).on("")
			fd := c.open(s.path, flags)
			start := func() *pending {
				return c.op(op, []memory{{Arg: 5, Size: 8}}, uintptr(fd), arg1, arg2)
			}
			ends := func(p *pending) (held int) {
				r := p.wait()
				t.Logf("%v", r)
				if op == "mmap" && r.errno == 0 {
					t.Error("what a mapping has seen any number of readers may see")
				}
				if r.errno != 0 {
					return 0
				}
				return r.n
			}
			// waits returns true when the server has a waiter by it, false when it has ended.
			waits := func(p *pending) bool {
				s.becomes("ended or waiting", func(st ctl.Status) bool { return st.Waiters == 1 || p.ended() })
				return !p.ended()
			}

			held := ends(start()) // with a token free
			s.has(held)
			if held > 0 {
				c.gives(fd, held)
			}

			holder.takes(h)
			p := start() // with none free
			if !waits(p) {
				if ends(p) > 0 {
					t.Error("a token from an empty pool")
				}
				s.has(1)
				holder.gives(h, 1)
				continue
			}
			s.has(1)
			holder.gives(h, 1)
			s.has(ends(p))
			c.gives(fd, 1)

			holder.takes(h)
			if waits(start()) { // and ends with its process
				c.kill()
				s.waiting(0)
			}
			holder.gives(h, 1)
			s.has(0)
		}
	}
}
