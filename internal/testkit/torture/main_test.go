package torture

import (
	"os"
	"testing"

	"steve/internal/testkit/jobs"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(clientVar); text != "" {
		os.Exit(runClient(text))
	}
	jobs.Main(m)
}
