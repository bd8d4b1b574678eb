package torture

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// A child is a process of a client's, of another kind, on the client's second lane. It ends when its parent has.
type child struct {
	*exec.Cmd
	in, out *os.File
}

func (c *client) spawn(kind string) (_ *child, err error) {
	s := c.settings
	s.Kind, s.Lane, s.Seed = kind, c.Lane+1, c.random.Uint64()
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	inRead, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer inRead.Close()
	out, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer outWrite.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), clientVar+"="+string(text))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inRead, outWrite, os.Stderr
	return &child{cmd, in, out}, cmd.Start()
}

// end kills the child. Whether it had ended of itself does not matter: what counts is what it said.
func (c *child) end() {
	c.Process.Kill()
	c.Wait()
	c.in.Close()
	c.out.Close()
}

// obey has the child do its work, and checks what it says then.
func (c *child) obey(want string) error {
	if _, err := c.in.WriteString("."); err != nil {
		return err
	}
	return c.hear(want)
}

// hear checks the next word of a child.
func (c *child) hear(want string) error {
	var b [16]byte
	n, _ := c.out.Read(b[:])
	if got := string(b[:n]); got == want+"\n" {
		return nil
	} else if n > 0 {
		return fmt.Errorf("a child says %q, want %q", got, want)
	}
	err := c.Wait()
	switch c.ProcessState.ExitCode() {
	case exitEIO:
		err = unix.EIO
	case exitCutOff:
		err = unix.ECONNABORTED
	}
	return fmt.Errorf("a child has ended: %w", err)
}
