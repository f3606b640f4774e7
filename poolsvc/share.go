package poolsvc

import (
	"slices"
	"time"
)

// Calls of commands that allow it run side by side in one worker of the pool, or one after another if they are fast; see ahead.go. It
// is busy then, and idle again once the last of them has ended. They fill idle workers first, and then the one that runs the fewest. Nobody who waits is passed:
// where a call that wants a worker for itself is at the head of the queue, no call is added to those that run.

// use is how somebody has a member: for itself, unless it is one of several.
type use struct {
	shared bool          // others run beside it
	inLine bool          // others are before it or behind it in the worker's pipe
	cost   time.Duration // that it is expected to take, in line
}

// firstLocked begins the use of m, which is handed out, by somebody whom others may join.
func (p *Pool) firstLocked(m *member, w want) use {
	u := use{}
	switch {
	case w.lease, m.offers.find(w.command).Fresh(): // it holds a place, and no call of it runs there
	case m.offers.find(w.command).Concurrency > 1:
		u.shared = true
	case w.ahead && m.worker.TakesAhead():
		u.inLine = true
	}
	m.inLine, m.stuck = u.inLine, false
	if u.shared || u.inLine {
		p.joinable = append(p.joinable, m)
		p.joinLocked(m, w, &u)
	}
	return u
}

// joinLocked adds a use to those of m.
func (p *Pool) joinLocked(m *member, w want, u *use) {
	m.inUse++
	if m.inLine {
		u.cost = p.costLocked(w.command)
		m.cost += u.cost
	}
}

// joinedLocked has somebody join those who use m. It has room for them.
func (p *Pool) joinedLocked(m *member, w want) grant {
	u := use{shared: !m.inLine, inLine: m.inLine}
	p.joinLocked(m, w, &u)
	m.uses++
	if m.inLine {
		p.counts.ahead++
		p.watchLineLocked(m)
	}
	return grant{m: m, use: u}
}

// roomLocked reports whether m, which has users, may have one more.
func (p *Pool) roomLocked(m *member, w want) bool {
	switch {
	case m.offers.find(w.command).Fresh():
		return false
	case m.inLine:
		return p.joinsLineLocked(m, w)
	default:
		return m.offers.find(w.command).Concurrency > max(m.inUse, 1)
	}
}

// takeSharedLocked adds a call to a worker that has others, if it can.
func (p *Pool) takeSharedLocked(w want) grant {
	if waiting := p.queue.len() - p.queue.leases; waiting > 0 || p.queue.leases > 0 && p.leased < p.cfg.LeaseLimit {
		return grant{}
	}
	var best *member
	for _, m := range p.joinable {
		if p.mayShareLocked(m) && p.roomLocked(m, w) && (best == nil || m.inUse < best.inUse) && (p.fits(m) == nil || p.fits(m)(w)) {
			best = m
		}
	}
	if best == nil {
		return grant{}
	}
	return p.joinedLocked(best, w)
}

// mayShareLocked reports whether m has several users, or one whom others may join, and may be given more.
func (p *Pool) mayShareLocked(m *member) bool {
	return m.inUse > 0 && m.state == StateBusy && !m.retiring && m.worker.Healthy() && p.behindLocked(m) == nil
}

// shareLocked adds calls that wait to those of m, as long as there is room.
func (p *Pool) shareLocked(m *member) {
	for p.mayShareLocked(m) {
		w := p.queue.popShared(p.leased < p.cfg.LeaseLimit, p.fits(m), func(w want) bool { return p.roomLocked(m, w) })
		if w == nil {
			return
		}
		w.granted <- p.joinedLocked(m, w.want)
	}
}

// giveLocked hands m, which is free, to w, and lets others join if w can share it.
func (p *Pool) giveLocked(m *member, w *waiter) {
	p.handOutLocked(m, w.lease)
	w.granted <- grant{m: m, use: p.firstLocked(m, w.want)}
	p.shareLocked(m)
}

// takeBackLocked ends one use of m: the others go on.
func (p *Pool) takeBackLocked(m *member, u use) {
	if u.shared || u.inLine {
		m.inUse--
		m.cost -= u.cost
	}
	if m.inUse > 0 {
		p.shareLocked(m)
		return
	}
	if u.shared || u.inLine {
		p.joinable = slices.DeleteFunc(p.joinable, func(other *member) bool { return other == m })
	}
	p.offerLocked(m)
}
