package daemon

import (
	"io"
	"log/slog"
	"os"
	"time"

	"steve/internal/pool"
)

// logBacklog is how many lines may wait for a reader of standard error before more are dropped.
const logBacklog = 256

// A lineWriter writes lines from a goroutine of its own, and drops them when they are not read: the thread that serves
// must never wait for a terminal.
type lineWriter struct {
	lines chan []byte
	done  chan struct{}
}

func newLineWriter(w io.Writer) *lineWriter {
	l := &lineWriter{lines: make(chan []byte, logBacklog), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for line := range l.lines {
			w.Write(line)
		}
	}()
	return l
}

func (l *lineWriter) Write(p []byte) (int, error) {
	select {
	case l.lines <- append([]byte(nil), p...):
	default:
	}
	return len(p), nil
}

// flushTimeout bounds how long an end waits for somebody to read the log.
const flushTimeout = time.Second

// Close writes what is left. Nothing may be written after it.
func (l *lineWriter) Close() {
	close(l.lines)
	select {
	case <-l.done:
	case <-time.After(flushTimeout):
	}
}

// newLogger logs from level on. Under a service manager the time is the journal's to note.
func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if os.Getenv("JOURNAL_STREAM") != "" {
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// observer logs what the pool is told and what it answers: all of it for --debug, what an operator may want to know for
// --verbose, and nothing, at no cost, else.
func observer(log *slog.Logger, level slog.Level) func(time.Duration, int, pool.Event, []pool.Effect) {
	if level > slog.LevelInfo {
		return nil
	}
	return func(now time.Duration, held int, e pool.Event, effects []pool.Effect) {
		switch {
		case e.Kind == pool.Exit && held > 0:
			log.Info("a process ended without returning its tokens, they are back in the pool", "client", e.Client, "tokens", held)
		case e.Kind == pool.Set:
			log.Info("settings", "request", e.String(), "outcome", effects[0].Kind.String())
		}
		if level > slog.LevelDebug {
			return
		}
		log.Debug("event", "at", now, "event", e.String())
		for _, f := range effects {
			log.Debug("effect", "effect", f.String())
		}
	}
}
