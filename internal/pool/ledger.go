package pool

import (
	"math/bits"
	"time"
)

// A job is one token out, as its holder's report shows it.
type job struct {
	since  time.Duration
	number uint32
}

// A client is what the pool knows of one process: what it owes, what it waits for. The fields are in the order of how often
// they are used: to go round, a token needs the first 192 bytes, three cache lines.
type client struct {
	id   Client
	jobs []job // held, oldest first
	// rank is that of a candidate, which is either inLine, between ahead and behind, or has an index on the heap, else -1.
	rank          rank
	ahead, behind *client

	// since is when the present wait began; left is when the last one was given up (see Pool.claim).
	since, left time.Duration
	waiting     waiterList
	armed       int // watches that have not been told since they were armed
	reserved    int // entries of Pool.reservations
	index       int
	inLine      bool
	// retries: it was denied within retryWindow. Then it is on the list from Pool.oldestRetrier to newestRetrier.
	retries bool
	refused bool // its last Grant was, and Pool.refused has not come
	// taken: it has had a token before, so that a write of its own returns one and lends none.
	taken bool
	// lender: it returned a token before it ever took one. in: that private token is there to be read.
	lender, in      bool
	isHolder, waits bool // as counted in Pool.holders and Pool.waiters

	numbers   []uint64 // bit set: the numbers of jobs in use
	oneJob    [1]job   // room for jobs, and for numbers, of the many that never hold more than one
	oneNumber [1]uint64
	watches   *watch // by nextOfClient
	denied    time.Duration

	older, newer *client
	relay        *relay  // what it asked and has no answer to
	nest         *nest   // it waits for a slot or a token
	host         *client // the ancestor whose slot it shares
	guests       int     // clients whose host it is
	passes       bool    // it is a relay, and not one that asked just once, to keep what it gets
}

func newClient(id Client) *client {
	c := &client{id: id, index: -1, left: -2 * retryWindow}
	c.jobs, c.numbers = c.oneJob[:0], c.oneNumber[:0]
	return c
}

// held is the number of pool tokens that c has out. A lender's private token is not among them.
func (c *client) held() int { return len(c.jobs) }

// take puts one token on the ledger, under the lowest job number that is free.
func (c *client) take(now time.Duration) {
	n := uint32(0)
	for i := range c.numbers {
		if free := ^c.numbers[i]; free != 0 {
			n = uint32(64*i + bits.TrailingZeros64(free))
			break
		}
		n = uint32(64 * (i + 1))
	}
	c.use(n)
	c.jobs = append(c.jobs, job{now, n})
	c.taken = true
}

func (c *client) use(n uint32) {
	for int(n/64) >= len(c.numbers) {
		c.numbers = append(c.numbers, 0)
	}
	c.numbers[n/64] |= 1 << (n % 64)
}

func (c *client) uses(n uint32) bool {
	return int(n/64) < len(c.numbers) && c.numbers[n/64]&(1<<(n%64)) != 0
}

// giveBack takes the n oldest jobs off the ledger. Which of its jobs a client means no byte can say (clients write back
// other bytes than they read), and the oldest keeps the ages shown below the true ones instead of growing for ever.
func (c *client) giveBack(n int) {
	for _, j := range c.jobs[:n] {
		c.numbers[j.number/64] &^= 1 << (j.number % 64)
	}
	c.jobs = c.jobs[:copy(c.jobs, c.jobs[n:])]
}

// undo takes the newest job off the ledger.
func (c *client) undo() {
	last := len(c.jobs) - 1
	j := c.jobs[last]
	c.numbers[j.number/64] &^= 1 << (j.number % 64)
	c.jobs = c.jobs[:last]
}

// repay books a write of n bytes and returns how many of them were owed. A process that has never taken a token may
// return one: it becomes a lender, whose private token is no part of the pool (nasm-rs before 0.3.2 lends its implicit
// slot like that before it reads, and dies on an error). If forgive, it becomes none, and all that is left is forgiven.
func (c *client) repay(n int, forgive bool) (pool, private, forgiven int) {
	pool = min(n, c.held())
	c.giveBack(pool)
	n -= pool
	if n > 0 && !c.in && (c.lender || !c.taken && !forgive) {
		c.lender, c.in = true, true
		private = 1
	}
	if forgive {
		forgiven = n - private
	}
	return pool, private, forgiven
}
