package builds

import (
	"testing"
	"time"

	"steve/internal/testkit/jobs"
)

func TestMain(m *testing.M) { jobs.Main(m) }

// reclaimTime is how long after the end of a process its tokens may be missing.
const reclaimTime = 100 * time.Millisecond
