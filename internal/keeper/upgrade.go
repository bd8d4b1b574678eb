package keeper

import (
	"fmt"
	"time"
)

// An upgrade goes like this:
//
//	a worker of the program on the disk is started beside the current one: next
//	next says ready               the current worker is told to park
//	the current worker is dead    next is the current one
//	it says serving               the keeper execs that program, and keeps its child
//
// Where a step is not done in time or next dies, next is killed and the program that the keeper runs goes on.

// upgrade begins one.
func (k *keeper) upgrade(now time.Time) {
	if k.next != nil || k.current != nil && k.current.trial {
		k.again = true
		return
	}
	role := k.Role
	role.Fresh = false
	p, err := startWorker(k.Disk, role)
	if err != nil {
		k.upgradeFailed(err.Error())
		return
	}
	p.trial, p.due = true, now.Add(k.start)
	k.next = p
	if k.current == nil {
		k.promote(now)
	}
}

// makeRoom has the current worker end, as next is ready.
func (k *keeper) makeRoom() {
	if !k.serving() { // whatever keeps it
		k.current.kill()
		return
	}
	k.say(k.current, Park)
	k.current.due = time.Now().Add(k.park)
}

// promote gives next its turn.
func (k *keeper) promote(now time.Time) {
	k.current, k.next, k.startAt = k.next, nil, time.Time{}
	if k.current.said[Serving] {
		k.nowServing()
		return
	}
	k.current.due = now.Add(k.start)
}

// upgradeFailed tells why. What is on the disk now may be better, if another was asked for meanwhile.
func (k *keeper) upgradeFailed(why string) {
	k.Log.Error("upgrade failed, going on with the old program", "program", k.Disk, "why", why)
	if k.serving() {
		k.upgradeAgain()
	}
}

// upgradeAgain begins the upgrade that was asked for during another.
func (k *keeper) upgradeAgain() {
	if k.again {
		k.again = false
		k.upgrade(time.Now())
	}
}

// follow makes the keeper the program that its worker is. It returns only if it cannot.
func (k *keeper) follow() {
	k.upgraded = false
	role := k.Role
	role.Verb, role.worker, role.link = Keeper, k.current.pid, k.current.link.num
	// Not what is on the disk by now: what has been seen to serve.
	err := become(fmt.Sprintf("/proc/%d/exe", k.current.pid), role)
	k.Log.Error("keeper goes on in the old program", "error", err)
}
