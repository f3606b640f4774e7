package poolsvc

import "time"

// janitor ends leases and sessions whose time is up. It sleeps until the next such moment, at most a tick, and then also
// looks for workers that are too old or idle. Each round proves that the lock can be had, which is what Live reports.
func (p *Pool) janitor() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.ctx.Done():
			return
		}
		timer.Reset(time.Until(p.sweep(time.Now())))
	}
}

// sweep ends what is due at now and returns when to look again.
func (p *Pool) sweep(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastTick.Store(int64(now.Sub(p.startedAt)))
	next := now.Add(tickInterval)
	for _, l := range p.leases {
		if !now.Before(l.expiresAt) {
			p.expireLeaseLocked(l)
		} else if l.expiresAt.Before(next) {
			next = l.expiresAt
		}
	}
	for _, s := range p.sessions {
		if end := p.expireSessionLocked(s, now); end.After(now) && end.Before(next) {
			next = end
		}
	}
	if p.starts.failures > 0 {
		for m := range p.everyoneLocked() {
			if m.session == nil && m.worker != nil && now.Sub(m.readyAt) >= m.trialLocked() {
				p.provedLocked(m)
			}
		}
	}
	p.sweepWornLocked(now)
	p.sweepSparesLocked()
	p.shrinkLocked(now)
	p.nextSweep = next
	return next
}

// wakeJanitorLocked has the janitor look again, if something ends before it would.
func (p *Pool) wakeJanitorLocked(end time.Time) {
	if !end.Before(p.nextSweep) {
		return // mostly: a round costs more than a call, with many sessions
	}
	select {
	case p.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Live reports whether the janitor ticks. It takes no lock, so it answers even if nobody else can.
func (p *Pool) Live() bool {
	return time.Since(p.startedAt)-time.Duration(p.lastTick.Load()) < liveWithin
}

// Uptime returns the time since New.
func (p *Pool) Uptime() time.Duration { return time.Since(p.startedAt) }
