package torture

import (
	"bufio"
	"io"
	"strings"
	"sync"
)

// text is what somebody else goes on writing.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

// copy takes lines until there are no more.
func (x *text) copy(r io.ReadCloser) {
	defer r.Close()
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadString('\n')
		x.mu.Lock()
		x.b.WriteString(line)
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// last is the end of the text.
func (x *text) last() string {
	const most = 4096
	all := x.String()
	return all[max(0, len(all)-most):]
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}
