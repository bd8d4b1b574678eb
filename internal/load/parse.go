package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// ErrNoMemAvailable says that the kernel gives no estimate, as before Linux 3.14.
var ErrNoMemAvailable = errors.New("no MemAvailable")

// ParseLoadAverage returns the one-minute load average from the contents of /proc/loadavg (proc_loadavg(5)).
func ParseLoadAverage(b []byte) (float64, error) {
	// The kernel prints "%lu.%02lu ". ParseFloat alone would take more: Inf, hexadecimal, exponents.
	field, _, complete := bytes.Cut(b, []byte{' '})
	whole, fraction, dot := bytes.Cut(field, []byte{'.'})
	if !complete || !dot || !digits(whole) || !digits(fraction) {
		return 0, fmt.Errorf("no load average in %.40q", b)
	}
	l, err := strconv.ParseFloat(string(field), 64)
	if err != nil {
		return 0, fmt.Errorf("no load average in %.40q", b)
	}
	return l, nil
}

// ParseMemAvailable returns MemAvailable in MiB, rounded down, from the contents of /proc/meminfo (proc_meminfo(5)) or their
// beginning.
func ParseMemAvailable(b []byte) (int64, error) {
	for line := range bytes.Lines(b) {
		value, ok := bytes.CutPrefix(line, []byte("MemAvailable:"))
		if !ok {
			continue
		}
		kib, ok := bytes.CutSuffix(value, []byte(" kB\n"))
		kib = bytes.TrimLeft(kib, " ")
		if !ok || !digits(kib) {
			return 0, fmt.Errorf("no number of kB in %.40q", line)
		}
		n, err := strconv.ParseInt(string(kib), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("no number of kB in %.40q", line)
		}
		return n / 1024, nil
	}
	return 0, ErrNoMemAvailable
}

// digits reports whether b is one or more decimal digits.
func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
