package load

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseLoadAverage(t *testing.T) {
	tests := []struct {
		in   string
		want float64
		ok   bool
	}{
		{string(fixture(t, "loadavg")), 1.05, true},
		{"0.00 0.01 0.05 1/467 12345\n", 0, true},
		{"4096.25 0.01 0.05 1/467 12345\n", 4096.25, true},
		{"0.52 ", 0.52, true},
		{"0.52", 0, false}, // may be the half of a number
		{"", 0, false},
		{" 0.52 ", 0, false},
		{"-0.52 ", 0, false},
		{"+0.52 ", 0, false},
		{"Inf ", 0, false},
		{"NaN ", 0, false},
		{"1e3 ", 0, false},
		{"0x1.8p1 ", 0, false},
		{"1 ", 0, false},
		{".5 ", 0, false},
		{"5. ", 0, false},
		{"1.2.3 ", 0, false},
	}
	for _, tt := range tests {
		got, err := ParseLoadAverage([]byte(tt.in))
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("ParseLoadAverage(%q) = %v, %v; want %v, ok %v", tt.in, got, err, tt.want, tt.ok)
		}
	}
}

func TestParseMemAvailable(t *testing.T) {
	tests := []struct {
		name, in string
		want     int64
		ok       bool
	}{
		{"whole file", string(fixture(t, "meminfo")), 23734, true},
		{"rounded down", "MemAvailable:       2047 kB\n", 1, true},
		{"none", "MemAvailable:          0 kB\n", 0, true},
		{"other lines", "MemTotal: 9 kB\nXMemAvailable: 9 kB\nMemAvailable: 4096 kB\nMemFree: 9 kB\n", 4, true},
		{"cut number", "MemAvailable:       20", 0, false},
		{"cut line", "MemAvailable:       2048 kB", 0, false},
		{"other unit", "MemAvailable:       2048 MB\n", 0, false},
		{"negative", "MemAvailable:      -2048 kB\n", 0, false},
		{"too large", "MemAvailable: 99999999999999999999 kB\n", 0, false},
		{"no number", "MemAvailable: kB\n", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseMemAvailable([]byte(tt.in))
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("got %v, %v; want %v, ok %v", got, err, tt.want, tt.ok)
			}
		})
	}
	if _, err := ParseMemAvailable([]byte("MemTotal: 9 kB\n")); !errors.Is(err, ErrNoMemAvailable) {
		t.Errorf("without the line: %v, want ErrNoMemAvailable", err)
	}
}

// What parses is a number the kernel could have printed, and printed again it parses to itself.
func FuzzParseLoadAverage(f *testing.F) {
	f.Add(fixture(f, "loadavg"))
	f.Add([]byte("0.00 "))
	f.Add([]byte("1e9 "))
	f.Fuzz(func(t *testing.T, in []byte) {
		l, err := ParseLoadAverage(in)
		if err != nil {
			return
		}
		if l < 0 || math.IsInf(l, 0) || math.IsNaN(l) {
			t.Fatalf("%q gives %v", in, l)
		}
		s := strconv.FormatFloat(l, 'f', -1, 64)
		if math.Trunc(l) == l {
			s += ".0"
		}
		if again, err := ParseLoadAverage([]byte(s + " ")); again != l || err != nil {
			t.Fatalf("%q gives %v, which as %q gives %v, %v", in, l, s, again, err)
		}
	})
}

func FuzzParseMemAvailable(f *testing.F) {
	f.Add(fixture(f, "meminfo"))
	f.Add([]byte("MemAvailable: 1024 kB\n"))
	f.Add([]byte("MemAvailable: -1 kB\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := ParseMemAvailable(in)
		if err != nil {
			return
		}
		if m < 0 {
			t.Fatalf("%q gives %d", in, m)
		}
		s := fmt.Sprintf("MemAvailable:%15d kB\n", m*1024)
		if again, err := ParseMemAvailable([]byte(s)); again != m || err != nil {
			t.Fatalf("%q gives %v, which as %q gives %v, %v", in, m, s, again, err)
		}
	})
}
