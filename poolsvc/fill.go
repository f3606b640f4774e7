package poolsvc

import (
	"context"
	"errors"
	"time"
)

// targetLocked is how many workers the pool should have now.
func (p *Pool) targetLocked() int {
	if !p.cfg.Lazy && !p.draining {
		return p.scale.size
	}
	held := p.vacant
	for _, m := range p.members {
		if m.session == nil && m.worker != nil && m.state != StateStopping && !m.retiring {
			held++
		}
	}
	wanted := p.queue.len() - p.queue.leases + min(p.queue.leases, p.cfg.LeaseLimit-p.leased)
	idle := 0 // that fit whoever waits
	for _, m := range p.idle {
		if !m.retiring && m.generation == p.current {
			idle++
		}
	}
	return min(p.cfg.Workers, held+max(0, wanted-idle))
}

// fillLocked starts as many workers as are missing. After failures it starts one at a time, and not before the backoff
// has passed; a pool that is lazy or draining starts one for each request that waits and may have it, and no more.
func (p *Pool) fillLocked() {
	if p.closed {
		return
	}
	p.watchQueueLocked()
	p.fillFromSparesLocked()
	c := p.censusLocked()
	for target := p.targetLocked(); c.have < target && p.mayStartLocked(c); c.have++ {
		p.startLocked(nil)
		c.starting++
		c.attempts++
	}
	p.fillSparesLocked(c)
}

// waitedForLocked lets the pool grow, if it does, for somebody who has begun to wait.
func (p *Pool) waitedForLocked() {
	if p.cfg.Lazy || p.draining {
		p.fillLocked()
	} else {
		p.watchQueueLocked()
	}
}

// census counts workers of the pool.
type census struct {
	have     int // places: of those that are not to leave, and of fresh calls whose stand-by has died
	starting int
	proving  int // that came up after others failed, which is not forgotten yet
	attempts int // whose start is not over, spares included
}

func (p *Pool) censusLocked() census {
	c := census{have: p.vacant}
	for m := range p.everyoneLocked() {
		if m.pooled() && m.state != StateStopping && !m.retiring {
			c.have++
		}
		if m.pooled() && m.state == StateStarting {
			c.starting++
		}
		if p.starts.failures > 0 && m.pooled() && m.readyAt.After(p.starts.failedAt) {
			c.proving++
		}
		if !m.owned() && (m.state == StateStarting || m.state == StateStopping && m.reason == "") {
			c.attempts++ // an end without a reason may yet turn out to be that of a start
		}
	}
	return c
}

// mayStartLocked reports whether the backoff allows one start more. Else its timer, or the end of the probe, fills again.
func (p *Pool) mayStartLocked(c census) bool {
	return p.starts.failures == 0 || c.attempts == 0 && !time.Now().Before(p.starts.retryAt)
}

// startLocked starts a worker, for the pool or for a session.
func (p *Pool) startLocked(owner *session) *member {
	slots := p.poolSlots
	if owner != nil {
		slots = p.ownSlots
	}
	return p.launchLocked(&member{session: owner, slots: slots}, p.members)
}

// launchLocked begins to start m of the current generation, one of those among.
func (p *Pool) launchLocked(m *member, among map[uint64]*member) *member {
	m.generation, m.offers = p.current, p.offers
	p.beginStartLocked(m)
	if m.pooled() {
		p.settleLocked(m)
	}
	among[m.id] = m
	return m
}

// beginStartLocked begins to start m.
func (p *Pool) beginStartLocked(m *member) {
	p.lastID++
	m.id, m.state, m.stage, m.spawnedAt, m.end = p.lastID, StateStarting, stageQueued, time.Now(), &Ended{}
	m.ctx, m.cancel = context.WithCancel(p.ctx)
	p.wg.Go(func() { p.start(m) }) // ends when the worker is ready or dead
}

// start brings a worker up and hands it to its owner.
func (p *Pool) start(m *member) {
	defer m.cancel()
	worker, err := p.spawn(m)
	if err == nil && m.session != nil {
		err = p.startSession(m, worker)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.retireGenerationsLocked()
	if worker == nil {
		p.forgetLocked(m)
		switch {
		case m.first:
			p.rollBackLocked(m, err)
			return
		case err == errNotNow:
			p.giveUpLocked()
			return
		case !m.owned() && m.generation < p.current: // given up, or its failure no longer matters
			p.fillLocked()
			p.giveUpLocked() // it may have been the last hope
			p.rolledLocked()
			return
		case m.session != nil && m.session.over, m.freshCall != nil && m.freshCall.queue.len() == 0: // nobody waits for it any more
			return
		}
		p.counts.startFailed(p.cfg.Zygote(m.generation).StartMethod())
		p.startFailedLocked(m, err)
		return
	}
	p.wg.Go(func() { p.watch(m) }) // ends with the process
	if err != nil {
		p.counts.startFailed(worker.StartMethod())
		p.begunLocked(m, err)
		return
	}
	p.upLocked(m)
}

// upLocked hands m, whose start is over, to its owner.
func (p *Pool) upLocked(m *member) {
	p.counts.started(m.worker)
	if m.session == nil { // else it is ready when the session is
		m.readyAt = time.Now()
		m.limits = p.newLimits(m.readyAt)
	}
	if m.first && !p.switchLocked(m) {
		return
	}
	p.learnLocked(m)
	p.learnMethodLocked(m.worker)
	if m.session != nil {
		p.begunLocked(m, nil)
	} else {
		p.offerLocked(m)
	}
	if m.owned() {
		p.fillLocked()   // a lazy pool that was ready for the first time has spares now
		p.giveUpLocked() // or there may be fewer
		return
	}
	p.cfg.Log.Info("worker ready", "worker", m.id, "pid", m.pid, "ready_after_ms", m.worker.ReadyAfter().Milliseconds())
	p.fillLocked() // a probe that came up ends the caution
	p.retireLocked()
	p.rollLocked()
}

// errNotNow means that a worker whose turn to start has come must not start after all.
var errNotNow = errors.New("another failed to start meanwhile")

// spawn runs the start of a process, as one of at most StartParallelism of its sort, or as the first of its generation. A
// worker of the pool that waited for its turn while others failed gives way to the backoff: its end, or that of the one
// probe, fills again.
func (p *Pool) spawn(m *member) (Worker, error) {
	if !m.first {
		select {
		case m.slots <- struct{}{}:
			defer func() { <-m.slots }()
		case <-m.ctx.Done():
			return nil, m.ctx.Err()
		}
	}
	p.mu.Lock()
	if err := m.ctx.Err(); err != nil { // it was given up while it got its turn
		p.mu.Unlock()
		return nil, err
	}
	if !m.owned() && !m.first && p.starts.failures > 0 && (time.Now().Before(p.starts.retryAt) || p.probingLocked()) {
		p.forgetLocked(m) // nobody may take it as a spare now
		p.mu.Unlock()
		return nil, errNotNow
	}
	m.stage, m.spawnedAt = "spawn", time.Now()
	generation := m.generation // which a reload could change as long as it was queued
	renew := !m.owned() && !m.first && p.starts.failures > 0 && !p.anyUpLocked()
	p.mu.Unlock()
	if renew {
		p.cfg.Renew(generation)
	}
	worker, err := p.cfg.Spawn(m.ctx, generation, m.id, func(pid int, stage string) {
		p.mu.Lock()
		m.pid, m.stage = pid, stage
		p.mu.Unlock()
		p.cfg.Log.Debug("worker starting", "worker", m.id, "pid", pid, "stage", stage)
	})
	if err != nil {
		return nil, err
	}
	if err := p.replay(m, worker); err != nil {
		worker.Kill()
		<-worker.Done()
		return nil, err
	}
	offers := p.known.of(worker.Commands(), p.cfg.Log) // without the lock: it may be new, and large
	p.mu.Lock()
	m.worker, m.pid, m.offers = worker, worker.PID(), offers
	p.mu.Unlock()
	return worker, nil
}

// probingLocked reports whether a process of the pool is on its way up.
func (p *Pool) probingLocked() bool {
	for m := range p.everyoneLocked() {
		if !m.owned() && m.state == StateStarting && m.stage != stageQueued {
			return true
		}
	}
	return false
}

// anyUpLocked reports whether a worker of the pool is up.
func (p *Pool) anyUpLocked() bool {
	for _, m := range p.members {
		if m.session == nil && m.worker != nil && m.state != StateStopping {
			return true
		}
	}
	return false
}

// learnLocked keeps in the pool what m offers, if it is of the current generation.
func (p *Pool) learnLocked(m *member) {
	if m.generation == p.current {
		p.offers = m.offers
	}
}

// everReadyLocked reports whether any worker has been ready, ever: its READY told the commands.
func (p *Pool) everReadyLocked() bool { return p.offers != nil }
