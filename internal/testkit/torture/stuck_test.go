package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// describe tells what a client is doing, for one that is stuck: its requests, and where its threads are in the kernel.
func (c *crowd) describe(m *member) string {
	var b strings.Builder
	for i := range lanesEach {
		fmt.Fprintf(&b, "lane %d, %s\n", i, c.board.lanes[m.lane+i].doing())
	}
	for _, pid := range m.Members(c.t) {
		b.WriteString(threads(pid))
	}
	return b.String() + m.Output(c.t)
}

// threads tells where in the kernel those of a process are that sleep for something else than other threads.
func threads(pid int) string {
	var b strings.Builder
	dirs, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, dir := range dirs {
		text := func(name string) string {
			text, _ := os.ReadFile(filepath.Join(dir, name)) // an empty one for a thread that has ended
			return strings.TrimSpace(string(text))
		}
		wchan := text("wchan")
		if strings.HasPrefix(wchan, "futex") {
			continue
		}
		stat := text("stat")
		if end := strings.LastIndexByte(stat, ')'); end > 0 {
			stat = stat[:min(len(stat), end+3)] // id, name, state
		}
		fmt.Fprintf(&b, "%s in %s, system call %s\n%s\n", stat, wchan, text("syscall"), text("stack"))
	}
	return b.String()
}
