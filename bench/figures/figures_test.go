package figures

import (
	"runtime"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{5, 1, 3}, 3},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := Median(tt.values); got != tt.want {
			t.Errorf("the median of %v is %v, want %v", tt.values, got, tt.want)
		}
	}
}

func TestRatioIsPaired(t *testing.T) {
	if got := Ratio([]float64{11, 120, 60}, []float64{10, 100, 20}); got != 1.2 {
		t.Errorf("the median of 1.1, 1.2 and 3 is %v", got)
	}
}

func TestMet(t *testing.T) {
	if Met(true) != "" || Met(false) != " (missed)" {
		t.Errorf("met is %q, missed is %q", Met(true), Met(false))
	}
}

func TestThis(t *testing.T) {
	m := This()
	if m.Kernel == "" || m.Go != runtime.Version() || m.Processors < 1 {
		t.Fatalf("%+v", m)
	}
	line := m.String()
	for _, part := range []string{m.Processor, m.Kernel, m.Go} {
		if !strings.Contains(line, part) {
			t.Errorf("%q does not tell %q", line, part)
		}
	}
}
