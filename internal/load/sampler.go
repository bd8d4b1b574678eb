// Package load tells how busy the machine is and how many processors this process may use. Reading is apart from parsing.
//
// Limits, and what follows from exceeding one, belong to pool.
package load

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Sampler reads the load average and the available memory as often as it is asked, without allocating.
// Its methods must not be called at the same time.
type Sampler struct {
	loadavg, meminfo *os.File
	buf              [512]byte // MemAvailable is in the first 100 bytes of meminfo
}

// Open opens /proc/loadavg and /proc/meminfo.
func Open() (*Sampler, error) {
	loadavg, err := os.Open("/proc/loadavg")
	if err != nil {
		return nil, err
	}
	meminfo, err := os.Open("/proc/meminfo")
	if err != nil {
		loadavg.Close()
		return nil, err
	}
	return &Sampler{loadavg: loadavg, meminfo: meminfo}, nil
}

// Close closes the files.
func (s *Sampler) Close() error {
	err := s.loadavg.Close()
	if err2 := s.meminfo.Close(); err == nil {
		err = err2
	}
	return err
}

// LoadAverage returns the average over one minute of the number of threads that run, wait for a processor, or are in
// uninterruptible sleep. The kernel renews it every 5 s.
func (s *Sampler) LoadAverage() (float64, error) {
	b, err := s.read(s.loadavg)
	if err != nil {
		return 0, err
	}
	l, err := ParseLoadAverage(b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.loadavg.Name(), err)
	}
	return l, nil
}

// MemAvailable returns the memory that can be had without swapping, in MiB, as the kernel estimates it.
func (s *Sampler) MemAvailable() (int64, error) {
	b, err := s.read(s.meminfo)
	if err != nil {
		return 0, err
	}
	m, err := ParseMemAvailable(b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.meminfo.Name(), err)
	}
	return m, nil
}

// read reads the beginning of f by one pread: the kernel makes these files anew for each read at 0, and a second read, further
// on, would continue another text.
func (s *Sampler) read(f *os.File) ([]byte, error) {
	n, err := unix.Pread(int(f.Fd()), s.buf[:], 0)
	if err != nil {
		return nil, &os.PathError{Op: "pread", Path: f.Name(), Err: err}
	}
	return s.buf[:n], nil
}
