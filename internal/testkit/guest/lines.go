package guest

import (
	"errors"
	"io"
	"os"
	"sync"
)

// Lines are pipes from the guest, each copied to a writer as bytes come.
type lines struct {
	inputs  []*os.File // the guest's ends
	outputs []*os.File
	copying sync.WaitGroup
	errs    []error // by line, of the copy
}

// startLines makes a pipe to each writer and starts to copy.
func startLines(writers ...io.Writer) (*lines, error) {
	l := &lines{errs: make([]error, len(writers))}
	for range writers {
		r, w, err := os.Pipe()
		if err != nil {
			l.closeInputs()
			return nil, errors.Join(err, l.closeOutputs())
		}
		l.inputs = append(l.inputs, w)
		l.outputs = append(l.outputs, r)
	}
	for i, w := range writers {
		l.copying.Go(func() { _, l.errs[i] = io.Copy(w, l.outputs[i]) })
	}
	return l, nil
}

// closeInputs closes this process's copies of the guest's ends, so that the end
// of the guest is the end of each line.
func (l *lines) closeInputs() {
	for _, f := range l.inputs {
		f.Close()
	}
}

// wait waits for the end of each line and returns what went wrong in copying.
func (l *lines) wait() error {
	l.copying.Wait()
	return errors.Join(append(l.errs, l.closeOutputs())...)
}

func (l *lines) closeOutputs() error {
	var err error
	for _, f := range l.outputs {
		err = errors.Join(err, f.Close())
	}
	return err
}
