package embed

import (
	"fmt"
)

// run serves the connection and finds the next server when one ends, until the pool has ended.
func (p *Pool) run() {
	for {
		p.listen()
		if err := p.attach(); err != nil {
			p.end(err)
			return
		}
	}
}

// listen takes what comes from the server, until its end.
func (p *Pool) listen() {
	p.mu.Lock()
	c := p.conn
	p.mu.Unlock()
	for {
		a, err := c.receive()
		p.mu.Lock()
		if err == nil {
			err = p.take(a)
		}
		if err != nil {
			c.Close()
			p.conn = nil
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}

// attach connects to the server, or serves, and tells the server all that it must know.
func (p *Pool) attach() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.resume != nil {
		resume, paused := p.resume, p.paused
		p.mu.Unlock()
		p.stopServing()
		close(paused)
		<-resume
		p.mu.Lock()
	}
	if p.err != nil {
		return p.err
	}
	if s := p.served; s != nil && s.ended() {
		p.served = nil
	}
	p.elected = make(chan struct{})
	p.mu.Unlock()
	c, err := p.elect()
	p.mu.Lock()
	close(p.elected)
	p.elected = nil
	if err == nil && p.err != nil {
		c.Close()
		err = p.err
	}
	if err != nil {
		return err
	}
	p.conn = c
	h := request{kind: hello, n: uint64(p.locks.held())}
	if p.shares {
		h.ticket = 1
	}
	c.send(h)
	for _, t := range p.tickets() {
		c.send(p.calls[t].request)
	}
	return nil
}

// elect connects to the server. If there is none, this process becomes it.
//
// It can take as long as another process takes to do the same, if that is stopped meanwhile.
func (p *Pool) elect() (*conn, error) {
	if c, err := p.place.dial(); c != nil || err != nil {
		return c, err
	}
	// One after the other: the first finds that nobody serves, and does, the others connect to it.
	if err := p.locks.start(); err != nil {
		return nil, err
	}
	defer p.locks.started()
	if c, err := p.place.dial(); c != nil || err != nil {
		return c, err
	}
	if err := p.serve(); err != nil {
		return nil, err
	}
	c, err := p.place.dial()
	if c == nil && err == nil {
		err = fmt.Errorf("%s does not lead to the server behind it", p.place.path())
	}
	return c, err
}

// serve makes this process the server.
func (p *Pool) serve() error {
	p.mu.Lock()
	jobs, ended := p.jobs, p.err
	p.mu.Unlock()
	if ended != nil {
		return ended
	}
	// Who is a member knows the size. Otherwise those tell who are, by their locks.
	if jobs == 0 {
		if jobs = p.locks.size(); jobs == 0 {
			jobs = p.want
		}
		// At once: whoever serves after this process has to keep the size.
		if err := p.locks.join(jobs); err != nil {
			return err
		}
	}
	s, err := startServer(p.place, p.locks, jobs)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.served = s
	p.mu.Unlock()
	return nil
}

// stopServing ends the server, if it is here.
func (p *Pool) stopServing() {
	p.mu.Lock()
	s := p.served
	p.served = nil
	p.mu.Unlock()
	if s == nil {
		return
	}
	// Nobody must start meanwhile, or the socket might be the next server's.
	if p.locks.tryStart() {
		defer p.locks.started()
		if p.locks.size() == 0 {
			p.place.remove()
		}
	}
	s.stop()
}

// take takes an answer. An error is the end of the connection. The caller holds mu.
func (p *Pool) take(a answer) error {
	switch a.kind {
	case welcome:
		return p.joined(int(a.n))
	case refused:
		p.failed(fmt.Errorf("%s is served by process %d, which refuses this user", p.place.path(), p.conn.peer))
		return p.err
	}
	c := p.calls[a.ticket]
	if c == nil {
		return errFormat
	}
	granted := 0
	switch {
	case a.kind == taken, a.kind == nested && a.n == 1:
		granted = 1
	case a.kind == nested:
		p.shares = true
	case a.kind == relayed:
		granted = a.relay.Tokens
	}
	kept := 0
	for kept < granted {
		ok, err := p.locks.take(p.jobs)
		if err != nil {
			p.failed(err)
			return err
		}
		if !ok {
			p.send(request{kind: lost, n: uint64(granted - kept)})
			break
		}
		kept++
	}
	if a.kind == relayed {
		a.relay.Tokens = kept
	} else if kept < granted {
		p.send(c.request)
		return nil
	}
	delete(p.calls, a.ticket)
	c.answer <- a
	return nil
}

// joined notes the size of the pool that this process is now a member of. The caller holds mu.
func (p *Pool) joined(jobs int) error {
	first := p.jobs == 0
	if jobs != p.jobs {
		if err := p.locks.join(jobs); err != nil {
			p.failed(err)
			return err
		}
		p.jobs = jobs
	}
	if first {
		close(p.welcomed)
	}
	return nil
}
