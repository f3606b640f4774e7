package poolsvc

// Calls of commands that allow it run side by side in one worker of the pool, which is busy then, and idle again once the
// last of them has ended. They fill idle workers first, and then the one that runs the fewest. Nobody who waits is passed:
// where a call that wants a worker for itself is at the head of the queue, no call is added to those that run.

// roomLocked reports whether a call of a command may run in m beside n others.
func (m *member) roomLocked(command string, n int) bool {
	return m.commands[command].Concurrency > max(n, 1)
}

// takeSharedLocked adds a call to a worker that runs others, or returns nil.
func (p *Pool) takeSharedLocked(command string) *member {
	if waiting := p.queue.len() - p.queue.leases; waiting > 0 || p.queue.leases > 0 && p.leased < p.cfg.LeaseLimit {
		return nil
	}
	var best *member
	for _, m := range p.members {
		if p.mayShareLocked(m) && m.roomLocked(command, m.shared) && (best == nil || m.shared < best.shared) && (p.fits(m) == nil || p.fits(m)(command)) {
			best = m
		}
	}
	if best != nil {
		best.shared++
		best.uses++
	}
	return best
}

// mayShareLocked reports whether m runs calls side by side, and may be given more.
func (p *Pool) mayShareLocked(m *member) bool {
	return m.shared > 0 && m.state == StateBusy && !m.retiring && m.worker.Healthy() && p.behindLocked(m) == nil
}

// shareLocked adds calls that wait to those that m runs, as long as there is room.
func (p *Pool) shareLocked(m *member) {
	for p.mayShareLocked(m) {
		w := p.queue.popShared(p.leased < p.cfg.LeaseLimit, p.fits(m), func(command string) bool { return m.roomLocked(command, m.shared) })
		if w == nil {
			return
		}
		m.shared++
		m.uses++
		w.granted <- grant{m: m, shared: true}
	}
}

// giveLocked hands m, which is free, to w, and lets others join if w can share it.
func (p *Pool) giveLocked(m *member, w *waiter) {
	p.handOutLocked(m, w.lease)
	shared := !w.lease && m.roomLocked(w.command, 0)
	if shared {
		m.shared = 1
	}
	w.granted <- grant{m: m, shared: shared}
	p.shareLocked(m)
}

// takeBackLocked ends one use of m: the others that share it go on.
func (p *Pool) takeBackLocked(m *member, shared bool) {
	if shared {
		m.shared--
	}
	if m.shared > 0 {
		p.shareLocked(m)
		return
	}
	p.offerLocked(m)
}
