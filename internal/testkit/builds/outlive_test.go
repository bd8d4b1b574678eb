package builds

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"steve/internal/testkit/jobs"
	"steve/internal/testkit/steved"
)

// testOutlive has all builds together while the worker of their steve is killed five times a second. They say what they
// say beside one that lives.
func testOutlive(t *testing.T, transport string, want map[string][]string) {
	s := jobs.StartSteve(t, transport, 4)
	ctx, cancel := context.WithCancel(t.Context())
	killed := make(chan int, 1)
	go func() {
		n, err := steved.KillEvery(ctx, s.Process.Pid, 200*time.Millisecond)
		if err != nil {
			t.Error(err)
		}
		killed <- n
	}()
	got := together(t, s)
	cancel()
	kills := <-killed
	about, err := s.Conn.Server()
	if err != nil {
		t.Fatal(err)
	}
	// On a busy machine one may be killed before it has taken over.
	if n := int(about.Takeovers); kills < 10 || n < kills/2 || n > kills {
		t.Errorf("%d kills, %d takeovers", kills, n)
	}
	t.Logf("%d kills", kills)
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s says\n%s\nwithout kills\n%s", name, strings.Join(got[name], "\n"), strings.Join(want[name], "\n"))
		}
	}
}

var duration = regexp.MustCompile(`\bin [0-9.ms ]+s\b`)

// unordered are the lines of a build that says them in the order in which its jobs begin, without the time it took.
func unordered(text string) []string {
	lines := strings.Split(duration.ReplaceAllString(text, "in time"), "\n")
	slices.Sort(lines)
	return lines
}
