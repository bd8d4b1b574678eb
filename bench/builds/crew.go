package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// A process is a build that runs.
type process struct {
	site
	index      int // of the site
	cmd        *exec.Cmd
	began, end int64 // ns
	log        string
}

// start starts the build of a site, in a session of its own. Its jobs go to a log.
func (b bench) start(o *order, build int, jobs string) (*process, error) {
	s := b.sites[build]
	p := &process{site: s, index: build, log: filepath.Join(b.dir, s.name+".log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	argv := s.build
	if o.command != nil {
		argv = o.command(build, argv)
	}
	p.cmd = exec.Command(b.path(argv[0]), argv[1:]...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = s.dir, log, log
	p.cmd.Env = b.environment(append(o.env, "JOBS_LOG="+jobs, fmt.Sprintf("JOBS_BUILD=%d", build))...)
	p.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	p.began = monotonic()
	return p, p.cmd.Start()
}

// wait returns when the build has ended, with what it said where it failed.
func (p *process) wait() error {
	err := p.cmd.Wait()
	p.end = monotonic()
	if err != nil {
		text, _ := os.ReadFile(p.log)
		return fmt.Errorf("%q in %s: %w\n%s", p.cmd.Args, p.name, err, last(text))
	}
	return nil
}

// A crew is builds that run at the same time.
type crew struct {
	bench
	order   *order
	jobs    string // path of the log
	cancel  context.CancelCauseFunc
	running sync.WaitGroup

	mu     sync.Mutex // guards the rest, and that nothing is started once all is killed
	builds []*process
	living map[int]bool // process ids
}

// begin starts a build unless ctx is done. If the build fails all are canceled.
func (c *crew) begin(ctx context.Context, build int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p, err := c.start(c.order, build, c.jobs)
	if err != nil {
		return err
	}
	c.builds = append(c.builds, p)
	pid := p.cmd.Process.Pid
	c.living[pid] = true
	c.running.Go(func() {
		if err := p.wait(); err != nil {
			c.cancel(err)
		}
		c.mu.Lock()
		delete(c.living, pid)
		c.mu.Unlock()
	})
	return nil
}

// kill ends all that has begun.
func (c *crew) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	killTree(c.order.server)
}

// pids are those of the builds that run, and of what serves them.
func (c *crew) pids() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.living))
}
