package pool

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write what the stories in testdata bring about into them")

// TestStories plays testdata/*.txt. A story is paragraphs: events, a line "----", then all their effects and the state they
// leave. Before an event may stand when it happens, "at 20ms" or "+20ms"; otherwise no time has passed. Lines that begin
// with # are for the reader. Two more words are commands: "pool", with settings, begins anew, and "restore" goes on with a
// copy made from the pool's State.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			told, err := play(string(text))
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case told == string(text):
			case *rewrite:
				if err := os.WriteFile(file, []byte(told), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				t.Errorf("%s (-rewrite accepts what was got):\n%s", file, firstDifference(string(text), told))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	i := 0
	for i < min(len(w), len(g)) && w[i] == g[i] {
		i++
	}
	rest := func(lines []string) string { return strings.Join(lines[i:min(i+3, len(lines))], "\n  ") }
	return fmt.Sprintf("line %d\nwant\n  %s\ngot\n  %s", i+1, rest(w), rest(g))
}

// A teller plays one story.
type teller struct {
	pool    *Pool
	twin    *twin
	auditor *auditor
	now     time.Duration
	effects string // of the paragraph so far
	out     strings.Builder
}

// play returns text with the effects and states that its events bring about.
func play(text string) (string, error) {
	var s teller
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		fmt.Fprintln(&s.out, line)
		switch {
		case line == "----":
			fmt.Fprint(&s.out, s.effects)
			fmt.Fprintln(&s.out, s.describe())
			s.effects = ""
			for i+1 < len(lines) && lines[i+1] != "" {
				i++
			}
		case line != "" && !strings.HasPrefix(line, "#"):
			if err := s.command(line); err != nil {
				return "", fmt.Errorf("line %d: %s: %w", i+1, line, err)
			}
		}
	}
	return s.out.String(), nil
}

func (s *teller) command(line string) error {
	words := strings.Fields(line)
	var err error
	switch {
	case words[0] == "at" && len(words) > 2:
		s.now, err = time.ParseDuration(words[1])
		words = words[2:]
	case strings.HasPrefix(words[0], "+") && len(words) > 1:
		var d time.Duration
		d, err = time.ParseDuration(words[0][1:])
		s.now += d
		words = words[1:]
	}
	if err != nil {
		return err
	}
	switch words[0] {
	case "pool":
		e, err := parseEvent("set " + strings.Join(words[1:], " "))
		if err != nil {
			return err
		}
		l := DefaultLimits(1).With(e.Mask, e.Limits)
		s.pool, s.twin, s.auditor, s.now = New(l), newTwin(l), newAuditor(), 0
		return nil
	case "restore":
		before := s.pool.State()
		if s.pool, err = Restore(before); err == nil && !reflect.DeepEqual(s.pool.State(), before) {
			err = fmt.Errorf("the state is\n%+v, was\n%+v", s.pool.State(), before)
		}
		return err
	}
	e, err := parseEvent(strings.Join(words, " "))
	if err != nil {
		return err
	}
	effects := s.pool.Step(s.now, e)
	for _, f := range effects {
		s.effects += fmt.Sprintln(f)
	}
	if twins := s.twin.step(s.now, e); !slices.Equal(effects, twins) {
		return fmt.Errorf("effects are %v, the twin's %v", effects, twins)
	}
	if err := s.pool.CheckInvariants(); err != nil {
		return err
	}
	return s.auditor.book(s.pool, e, effects)
}

// describe is the state on one line. Holders have numbers of tokens, guests stand behind their host. Relays are those that
// have no answer yet, in the order of their questions; of the candidates, the next to be served comes first.
func (s *teller) describe() string {
	p, state := s.pool, s.pool.State()
	var holders, lenders, guests, reserved, relays, candidates []string
	for _, c := range state.Clients {
		if len(c.Jobs) > 0 {
			holders = append(holders, fmt.Sprintf("%d:%d", c.ID, len(c.Jobs)))
		}
		if c.Lender {
			lenders = append(lenders, fmt.Sprintf("%d:%s", c.ID, map[bool]string{true: "in", false: "out"}[c.In]))
		}
		if c.Host != 0 {
			guests = append(guests, fmt.Sprintf("%d:%d", c.Host, c.ID))
		}
	}
	for _, r := range state.Reservations {
		reserved = append(reserved, fmt.Sprintf("%d:%v", r.Client, r.Deadline))
	}
	for _, r := range state.Relays {
		relays = append(relays, fmt.Sprint(r.Client))
	}
	for _, c := range s.twin.candidates() {
		candidates = append(candidates, fmt.Sprint(c.ID))
	}
	line := fmt.Sprintf("%v: free=%d held=%d", s.now, p.Free(), p.Held())
	for _, l := range []struct {
		name  string
		items []string
	}{
		{"holders", holders}, {"lenders", lenders}, {"guests", guests}, {"reserved", reserved}, {"relays", relays},
		{"candidates", candidates},
	} {
		if len(l.items) > 0 {
			line += " " + l.name + "=" + strings.Join(l.items, ",")
		}
	}
	if n := p.Forgiven(); n > 0 {
		line += fmt.Sprintf(" forgiven=%d", n)
	}
	if n := p.Waiters(); n > 0 {
		line += fmt.Sprintf(" waiters=%d", n)
	}
	if at, ok := p.Next(); ok {
		line += fmt.Sprintf(" next=%v", at)
	}
	if p.Stale(s.now) {
		line += " stale"
	}
	return line
}

// parseEvent reads what Event.String writes.
func parseEvent(line string) (Event, error) {
	var e Event
	words := strings.Fields(line)
	e.Kind = EventKind(max(0, slices.Index(eventNames[:], words[0])))
	if e.Kind == 0 {
		return e, fmt.Errorf("no event %q", words[0])
	}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		if err := e.parseField(name, value); err != nil {
			return e, fmt.Errorf("%s: %w", word, err)
		}
	}
	return e, nil
}

func (e *Event) parseField(name, value string) (err error) {
	switch name {
	case "wait":
		e.Wait = true
	case "private":
		e.Private = true
	case "idle":
		e.Idle = true
	case "less":
		e.Less = true
	case "now":
		e.Now = true
	case "forgive":
		e.Forgive = true
	case "under":
		i := slices.Index(e.Under[:], 0)
		if i < 0 {
			return fmt.Errorf("too many")
		}
		err = parse(value, &e.Under[i])
	case "client":
		err = parse(value, &e.Client)
	case "ticket":
		err = parse(value, &e.Ticket)
	case "handle":
		err = parse(value, &e.Handle)
	case "n":
		err = parse(value, &e.N)
	case "load":
		err = parse(value, &e.Load)
	case "memory":
		err = parse(value, &e.Memory)
	case "jobs":
		e.Mask |= FieldJobs
		err = parse(value, &e.Limits.Jobs)
	case "min-jobs":
		e.Mask |= FieldMinJobs
		err = parse(value, &e.Limits.MinJobs)
	case "load-average":
		e.Mask |= FieldLoadAverage
		err = parse(value, &e.Limits.LoadAverage)
	case "load-recheck-timeout":
		e.Mask |= FieldRecheckTimeout
		e.Limits.RecheckTimeout, err = time.ParseDuration(value)
	case "min-memory-avail":
		e.Mask |= FieldMinMemory
		err = parse(value, &e.Limits.MinMemory)
	case "per-process-limit":
		e.Mask |= FieldPerProcess
		err = parse(value, &e.Limits.PerProcess)
	default:
		err = fmt.Errorf("no such field")
	}
	return err
}

func parse(s string, to any) error {
	_, err := fmt.Sscan(s, to)
	return err
}
