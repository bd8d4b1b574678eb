package embed

import (
	"path/filepath"
	"testing"

	"steve/internal/pool"
)

func TestLocks(t *testing.T) {
	l, err := openLocks(filepath.Join(t.TempDir(), lockName))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for _, want := range []bool{true, true, true, false} {
		if ok, err := l.take(3); ok != want || err != nil {
			t.Fatalf("take of 3: %t, %v, want %t", ok, err, want)
		}
	}
	if err := l.giveBack(2); err != nil {
		t.Fatal(err)
	}
	if n := l.out(); n != 1 || l.held() != 1 {
		t.Errorf("%d out, %d held, want 1", n, l.held())
	}
	if ok, err := l.take(2); !ok || err != nil {
		t.Errorf("take of 2: %t, %v", ok, err)
	}
	if n := l.size(); n != 0 {
		t.Errorf("this process is its own only member, and the size is %d", n)
	}
	if err := l.join(pool.MaxJobs); err != nil {
		t.Error(err)
	}
	if err := l.join(1); err != nil {
		t.Error(err)
	}
}

// What other processes hold, in whatever order, is seen and left alone.
func TestForeignLocks(t *testing.T) {
	const jobs = 6
	p := join(t, t.TempDir(), jobs)
	a, b := start(t, p.place.dir, jobs), start(t, p.place.dir, jobs)
	for _, m := range []*member{a, b, a, b} {
		m.do("take", "done")
	}
	if err := p.Take(); err != nil {
		t.Fatal(err)
	}
	a.do("return 1", "done")
	if n := p.locks.out(); n != 4 {
		t.Errorf("%d out, want 4", n)
	}
	if n := p.locks.size(); n != jobs {
		t.Errorf("size %d, want %d", n, jobs)
	}
	for taken := 0; ; taken++ {
		ok, err := p.locks.take(jobs)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			if taken != 2 {
				t.Errorf("%d of the 2 left were found", taken)
			}
			break
		}
	}
	if err := p.locks.giveBack(3); err != nil {
		t.Fatal(err)
	}
}
