package daemon

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"steve/internal/pool"
)

func TestPermAndGroup(t *testing.T) {
	for _, tt := range []struct {
		text   string
		ofRoot bool
		want   os.FileMode
	}{
		{"", true, 0o660},
		{"", false, 0o600},
		{"0666", false, 0o666},
		{"640", true, 0o640},
	} {
		if got, err := (Config{Perm: tt.text}).perm(tt.ofRoot); got != tt.want || err != nil {
			t.Errorf("perm %q, root %t: %v, %v, want %v", tt.text, tt.ofRoot, got, err, tt.want)
		}
	}
	for text, want := range map[string]int{"root": 0, "0": 0, "4242": 4242, "": os.Getegid()} {
		if got, err := (Config{Group: text}).group(false); got != want || err != nil {
			t.Errorf("group %q: %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestLookUpUser(t *testing.T) {
	for _, name := range []string{"root", "0"} {
		c, err := lookUpUser(name)
		if err != nil {
			t.Fatal(err)
		}
		if c.uid != 0 || c.gid != 0 || len(c.groups) == 0 {
			t.Errorf("user %q is %+v", name, c)
		}
	}
}

// The thread that serves writes log lines, and must not wait for whoever reads them.
func TestLineWriterDropsRatherThanWaits(t *testing.T) {
	r, w := io.Pipe()
	l := newLineWriter(w)
	for range 3 * logBacklog {
		l.Write([]byte("line\n")) // nobody reads: this would block for ever
	}
	read := make(chan int)
	go func() {
		b, _ := io.ReadAll(r)
		read <- strings.Count(string(b), "line\n")
	}()
	l.Flush()
	w.Close()
	if n := <-read; n < logBacklog || n > logBacklog+1 {
		t.Errorf("%d lines arrived, want the first %d and at most the one being written", n, logBacklog)
	}
	l.Write([]byte("late\n"))
	l.Flush()
}

func TestLineWriterNobodyReads(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	l := newLineWriter(w)
	for range 3 * logBacklog {
		l.Write([]byte("line\n"))
	}
	l.Flush() // returns
}

func TestObserver(t *testing.T) {
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if observer(log, slog.LevelInfo) != nil {
		t.Error("events are looked at without --debug")
	}
	observer(log, slog.LevelDebug)(time.Second, pool.Event{Kind: pool.Return, Client: 1, Ticket: 2, N: 3},
		[]pool.Effect{{Kind: pool.Accept, Ticket: 2, N: 3}})
	for _, want := range []string{`event="return client=1 ticket=2 n=3"`, `effect="accept ticket=2 n=3"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, b.String())
		}
	}
}

func TestUserDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if got, err := userDir(); got != dir || err != nil {
		t.Errorf("userDir is %s, %v, want %s", got, err, dir)
	}
}
