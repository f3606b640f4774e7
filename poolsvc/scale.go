package poolsvc

import "time"

// scaleWait is how long a request waits before a worker is started for it, and the least time between two looks at the
// queue. In a pool that is large enough most waits are over by then, and callers hardly notice one that is not. A fork is
// ready well within it, so that each look sees what the one before has brought.
const scaleWait = 30 * time.Millisecond

// scaling is how a pool grows and shrinks. Pool.mu guards it.
type scaling struct {
	size      int         // workers that there are to be, MinWorkers to Workers; a lazy pool has as many as it needs
	step      int         // the most workers that the next look may start
	look      *time.Timer // nil if no look is planned
	lookedAt  time.Time   // the last time
	changedAt time.Time   // when the pool last grew or shrank
}

// watchQueueLocked plans a look at the queue, if somebody is in it for whom the pool could grow.
func (p *Pool) watchQueueLocked() {
	if p.scale.look != nil || p.cfg.Lazy || p.draining || p.scale.size >= p.cfg.Workers || p.starts.failures > 0 {
		return
	}
	since := p.queue.since(p.leased < p.cfg.LeaseLimit)
	if since.IsZero() {
		return
	}
	at := since.Add(scaleWait)
	if soonest := p.scale.lookedAt.Add(scaleWait); at.Before(soonest) {
		at = soonest
	}
	p.scale.look = time.AfterFunc(time.Until(at), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.growLocked(time.Now())
	})
}

// growLocked starts workers for those who have waited too long and for whom none is starting: one, and at each look twice
// as many as at the last one, until that is enough. After failed starts the backoff decides alone.
func (p *Pool) growLocked(now time.Time) {
	p.scale.look, p.scale.lookedAt = nil, now
	missing := 0
	if !p.draining && p.starts.failures == 0 {
		missing = p.queue.late(now.Add(-scaleWait), p.cfg.LeaseLimit-p.leased) - p.arrivingLocked()
	}
	if missing <= 0 {
		p.scale.step = 1
		p.watchQueueLocked()
		return
	}
	n := min(p.scale.step, missing, p.cfg.Workers-p.scale.size)
	p.scale.size += n
	p.scale.step *= 2
	p.scale.changedAt = now
	p.cfg.Log.Info("the pool grows", "workers", p.scale.size, "by", n, "waiting", p.queue.len())
	p.fillLocked()
}

// arrivingLocked counts the workers on their way up that do not replace one that still serves.
func (p *Pool) arrivingLocked() int {
	n := 0
	for _, m := range p.members {
		switch {
		case m.session != nil || m.state == StateStopping:
		case m.retiring && m.worker != nil:
			n--
		case !m.retiring && m.state == StateStarting:
			n++
		}
	}
	return max(0, n)
}

// shrinkLocked stops the worker that has been idle longest, if that is ScaleDownAfter and the pool has neither grown nor
// shrunk for as long. Idle workers are handed out last-in, first-out, so that is one that the load does without. It keeps
// all while workers fail to start: there might be no way back.
func (p *Pool) shrinkLocked(now time.Time) {
	if p.draining || p.starts.failures > 0 || p.queue.len() > 0 || now.Sub(p.scale.changedAt) < p.cfg.ScaleDownAfter {
		return
	}
	have := p.vacant
	for _, m := range p.members {
		if m.session == nil && !m.retiring && m.state != StateStopping {
			have++
		}
	}
	if have <= p.cfg.MinWorkers {
		return
	}
	for _, m := range p.idle {
		if m.retiring {
			continue
		}
		if now.Sub(m.idleSince) >= p.cfg.ScaleDownAfter {
			p.scale.size = min(p.scale.size, have-1)
			p.scale.step, p.scale.changedAt = 1, now
			p.stopLocked(m, ExitIdle)
		}
		return // the others have been idle for less
	}
}
