package proc

import "testing"

func TestCallerDoesNotAllocate(t *testing.T) {
	for name, setup := range callers {
		t.Run(name, func(t *testing.T) {
			table, tid := setup(t)
			if n := testing.AllocsPerRun(1000, func() { caller(t, table, tid) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

// One call for a known thread, and for comparison one for a thread that was never seen.
func BenchmarkCaller(b *testing.B) {
	for name, setup := range callers {
		b.Run(name, func(b *testing.B) {
			table, tid := setup(b)
			b.ReportAllocs()
			for b.Loop() {
				table.Caller(tid)
			}
		})
	}
	b.Run("unknown", func(b *testing.B) {
		table, tid := callers["unwatched"](b)
		b.ReportAllocs()
		for b.Loop() {
			delete(table.threads, tid)
			table.Caller(tid)
		}
	})
}

// callers are the kinds of known threads.
var callers = map[string]func(testing.TB) (table *Table, tid int){
	"unwatched": func(t testing.TB) (*Table, int) {
		table, _ := newTable(t, 0)
		p := start(t)
		caller(t, table, p.pid)
		return table, p.pid
	},
	"watched main thread": func(t testing.TB) (*Table, int) {
		table, _ := newTable(t, 0)
		p := start(t)
		watch(t, table, caller(t, table, p.pid))
		return table, p.pid
	},
	"watched other thread": func(t testing.TB) (*Table, int) {
		table, _ := newTable(t, 0)
		p := start(t)
		tid := p.number(t, "thread")
		watch(t, table, caller(t, table, tid))
		return table, tid
	},
}
