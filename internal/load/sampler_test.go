package load

import (
	"errors"
	"os"
	"testing"
)

func TestSampler(t *testing.T) {
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	if l, err := s.LoadAverage(); err != nil || l < 0 {
		t.Errorf("LoadAverage: %v, %v", l, err)
	}
	m, err := s.MemAvailable()
	if err != nil {
		t.Fatal(err)
	}
	// The second sample must be of now too: what is kept between samples is a buffer, no position in the file.
	again, err := s.MemAvailable()
	if err != nil || m < 1 || again < 1 {
		t.Errorf("MemAvailable: %d MiB, then %d, %v", m, again, err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := s.LoadAverage(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.MemAvailable(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("two samples allocate %v times", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	var path *os.PathError
	if _, err := s.LoadAverage(); !errors.As(err, &path) || path.Path != "/proc/loadavg" {
		t.Errorf("after Close: %v, want an error that names the file", err)
	}
}

func BenchmarkSampler(b *testing.B) {
	s, err := Open()
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			s.LoadAverage()
		}
	})
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			s.MemAvailable()
		}
	})
}
