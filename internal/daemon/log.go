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
	lines   chan []byte   // nil asks for an answer
	flushed chan struct{} // where it comes
}

func newLineWriter(w io.Writer) *lineWriter {
	l := &lineWriter{lines: make(chan []byte, logBacklog), flushed: make(chan struct{})}
	go func() {
		for line := range l.lines {
			if line != nil {
				w.Write(line)
				continue
			}
			select {
			case l.flushed <- struct{}{}:
			case <-time.After(flushTimeout): // who asked is gone by then
			}
		}
	}()
	return l
}

func (l *lineWriter) Write(p []byte) (int, error) {
	select {
	case l.lines <- append([]byte{}, p...):
	default:
	}
	return len(p), nil
}

// flushTimeout bounds how long an end waits for somebody to read the log.
const flushTimeout = time.Second

// Flush returns when what was written before has been passed on, or nobody reads it. It is for the end of a process.
func (l *lineWriter) Flush() {
	late := time.After(flushTimeout)
	select {
	case l.lines <- nil:
	case <-late:
		return
	}
	select {
	case <-l.flushed:
	case <-late:
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

// observer logs all that the pool is told and answers, for --debug. Else it is none, and costs nothing.
func observer(log *slog.Logger, level slog.Level) func(time.Duration, pool.Event, []pool.Effect) {
	if level > slog.LevelDebug {
		return nil
	}
	return func(now time.Duration, e pool.Event, effects []pool.Effect) {
		log.Debug("event", "at", now, "event", e.String())
		for _, f := range effects {
			log.Debug("effect", "effect", f.String())
		}
	}
}
