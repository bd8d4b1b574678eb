package front_test

import (
	"encoding/binary"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"steve/internal/ctl"
	"steve/internal/fusewire"
	"steve/internal/pool"
	"steve/internal/testkit/fakekernel"
)

// ask asks for a page of a report on an open file, and returns it.
func (w *world) ask(unique, fh uint64, offset int) (page []byte, errno syscall.Errno) {
	w.t.Helper()
	w.serve(fakekernel.BuildIoctl(header(unique), fusewire.IoctlIn{
		Fh: fh, Cmd: ctl.CmdReport, OutSize: ctl.ReportSize, Data: ctl.AppendReportAsk(nil, offset),
	}))
	r, ok := w.kernel.Reply(unique)
	if !ok {
		w.t.Fatalf("%#x has no answer", unique)
	}
	if r.Errno != 0 {
		return nil, r.Errno
	}
	const head = 16 // of the answer to any ioctl
	return r.Body[head:], 0
}

// rows returns how many rows a report has, and how many of them a page.
func rows(page []byte) (total, here int) {
	return int(binary.LittleEndian.Uint64(page)), int(binary.LittleEndian.Uint32(page[8:]))
}

// take has this process take n tokens.
func (w *world) take(n int) {
	w.t.Helper()
	for i := range uint64(n) {
		w.serve(read(1000+2*i, unix.O_NONBLOCK))
	}
	w.holds(n)
}

func TestReport(t *testing.T) {
	w := newWorld(t, 2)
	var clock unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &clock); err != nil {
		t.Fatal(err)
	}
	const age = 5 * time.Second
	w.now = time.Duration(clock.Nano()) - age // the time of the last step, however long ago that was
	w.take(1)

	page, _ := w.ask(2, 1, 0)
	if len(page) != ctl.ReportSize {
		t.Fatalf("%d bytes, want %d", len(page), ctl.ReportSize)
	}
	if total, here := rows(page); total != 2 || here != 2 {
		t.Errorf("%d rows, %d of them here, want 2", total, here)
	}
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(page[at:])) }
	if pid := u32(12); pid != os.Getpid() {
		t.Errorf("asked by process %d, want %d", pid, os.Getpid())
	}
	if status, err := ctl.ParseStatus(page[16:96]); err != nil || status.Held != 1 || status.Free != 1 || status.Limits != w.pool.Limits() {
		t.Errorf("status %+v, %v", status, err)
	}
	if kind, pid := u32(96), u32(100); kind != 1 || pid != os.Getpid() {
		t.Errorf("first row: kind %d, value %d, want 1, %d", kind, pid, os.Getpid())
	}
	got := time.Duration(binary.LittleEndian.Uint64(page[120:]))
	if kind, number := u32(112), u32(116); kind != 2 || number != 0 || got < age || got > age+time.Minute {
		t.Errorf("second row: kind %d, value %d, age %v, want 2, 0, %v or a little more", kind, number, got, age)
	}
}

// What a report says is of the time when its first page was read.
func TestReportPages(t *testing.T) {
	const tokens = 2 * ctl.ReportRows // and a row for the process: three pages
	w := newWorld(t, tokens)
	w.take(tokens)
	if _, errno := w.ask(2, 7, ctl.ReportRows); errno != syscall.ESTALE {
		t.Errorf("a second page before the first: %v, want ESTALE", errno)
	}
	w.ask(4, 7, 0)
	w.serve(write(6, "++++"))
	for i, want := range []int{ctl.ReportRows, 1} {
		page, errno := w.ask(uint64(8+2*i), 7, (i+1)*ctl.ReportRows)
		if errno != 0 {
			t.Fatalf("page %d: %v", i+2, errno)
		}
		if total, here := rows(page); total != tokens+1 || here != want {
			t.Errorf("page %d: %d rows, %d of them here, want %d and %d", i+2, total, here, tokens+1, want)
		}
		if status, _ := ctl.ParseStatus(page[16:96]); status.Held != tokens {
			t.Errorf("page %d: %d tokens held, want the %d of the first page", i+2, status.Held, tokens)
		}
	}
	if _, errno := w.ask(12, 7, ctl.ReportRows); errno != syscall.ESTALE {
		t.Errorf("a page of a report that was read to its end: %v, want ESTALE", errno)
	}
	if page, _ := w.ask(14, 7, 0); page == nil {
		t.Error("no new report on the same open file")
	} else if total, _ := rows(page); total != tokens-3 {
		t.Errorf("a new report has %d rows, want %d", total, tokens-3)
	}
	if _, errno := w.ask(16, 7, tokens); errno != syscall.EINVAL {
		t.Errorf("a page behind the end: %v, want EINVAL", errno)
	}
}

// Reports that are not read to their end are kept for so many open files, until these are closed.
func TestReportsKept(t *testing.T) {
	const kept = 8
	w := newWorld(t, ctl.ReportRows)
	w.take(ctl.ReportRows)
	unique := uint64(2)
	next := func() uint64 { unique += 2; return unique }
	for fh := range uint64(kept) {
		if _, errno := w.ask(next(), fh, 0); errno != 0 {
			t.Fatalf("report %d: %v", fh, errno)
		}
	}
	if _, errno := w.ask(next(), kept, 0); errno != syscall.EAGAIN {
		t.Errorf("one more: %v, want EAGAIN", errno)
	}
	if _, errno := w.ask(next(), 0, 0); errno != 0 {
		t.Errorf("a new one on an open file that has one: %v", errno)
	}
	w.serve(fakekernel.BuildRelease(header(next()), fusewire.ReleaseIn{Fh: 3}))
	if _, errno := w.ask(next(), kept, 0); errno != 0 {
		t.Errorf("one more, after a close: %v", errno)
	}
	w.serve(write(next(), "+"))
	if _, errno := w.ask(next(), kept+1, 0); errno != 0 {
		t.Errorf("one of one page, which is not kept: %v", errno)
	}
}

func TestReportTooLarge(t *testing.T) {
	const tokens = 1 << 16 // and a row for the process
	w := newWorld(t, tokens)
	for range tokens {
		w.pool.Step(w.now, pool.Event{Kind: pool.Acquire, Client: 1, Ticket: 2})
	}
	w.holds(tokens)
	w.serve(read(4, unix.O_NONBLOCK)) // which makes this process client 1
	if _, errno := w.ask(6, 1, 0); errno != syscall.ENOBUFS {
		t.Errorf("%v, want ENOBUFS", errno)
	}
	w.serve(write(8, "+"))
	if _, errno := w.ask(10, 1, 0); errno != 0 {
		t.Errorf("with a row less: %v", errno)
	}
}
