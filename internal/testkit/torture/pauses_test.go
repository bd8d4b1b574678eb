package torture

import (
	"fmt"
	"slices"
	"time"
)

// pauses are times from a kill to the first answer that a client got from the next server.
type pauses []time.Duration

func (p pauses) String() string {
	if len(p) == 0 {
		return "no pauses"
	}
	p = slices.Clone(p)
	slices.Sort(p)
	at := func(percent int) time.Duration {
		return p[min(len(p)-1, len(p)*percent/100)].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d pauses: p50 %v, p99 %v, max %v", len(p), at(50), at(99), at(100))
}
