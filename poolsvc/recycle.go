package poolsvc

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// wearJitter is the most by which the limits of a worker differ from the configured ones, as a share of them: workers that
// are born together are not to be replaced together.
const wearJitter = 0.15

// limits end the life of a worker of the pool. Zero means no limit.
type limits struct {
	calls  int64
	until  time.Time
	memory int64 // private bytes
}

// newLimits draws the limits of a worker that is ready now.
func (p *Pool) newLimits(now time.Time) limits {
	var l limits
	if p.cfg.MaxRequests > 0 {
		l.calls = max(1, jittered(p.cfg.MaxRequests))
	}
	if p.cfg.MaxAge > 0 {
		l.until = now.Add(time.Duration(jittered(int64(p.cfg.MaxAge))))
	}
	if p.cfg.MaxMemory > 0 {
		l.memory = jittered(p.cfg.MaxMemory)
	}
	return l
}

// jittered returns n, give or take up to wearJitter of it.
func jittered(n int64) int64 {
	return int64(min(math.Round(float64(n)*(1+wearJitter*(2*rand.Float64()-1))), 1<<62))
}

// Recycle has a worker of the pool replaced: once the replacement is ready, the worker stops when it is free. The error
// is ErrWorkerNotFound, ErrNotRecyclable, or a *RefusedError while draining.
func (p *Pool) Recycle(id uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.members[id]
	switch {
	case p.aside[id] != nil:
		return ErrNotRecyclable
	case !ok:
		return ErrWorkerNotFound
	case m.session != nil:
		return ErrNotRecyclable
	case p.draining:
		return &RefusedError{Err: ErrDraining, RetryAfter: p.retryAfterLocked()}
	}
	m.retiring, m.worn = true, "" // on request: at once, however many are being replaced
	p.fillLocked()
	p.retireLocked()
	return nil
}

// retireLocked stops workers that are to be replaced, are free, and have been replaced.
func (p *Pool) retireLocked() {
	ready := p.vacant
	for _, m := range p.members {
		if m.session == nil && !m.retiring && m.worker != nil && m.state != StateStopping {
			ready++
		}
	}
	for _, m := range p.members {
		switch {
		case !m.retiring || m.state != StateIdle || ready < p.targetLocked():
		case m.generation == p.current:
			p.stopLocked(m, cmp.Or(m.worn, ExitRecycle))
		case p.starts.failures == 0: // else the newer code has yet to prove itself
			p.stopLocked(m, ExitReload)
		}
	}
}

// wearLocked notes whether m has reached a limit, and has it replaced when its turn comes. It serves on until then.
func (p *Pool) wearLocked(m *member, now time.Time) {
	if !m.pooled() || m.retiring || m.worn != "" || m.readyAt.IsZero() {
		return
	}
	switch l := m.limits; {
	case l.calls > 0 && m.calls >= l.calls:
		m.worn = ExitMaxRequests
	case !l.until.IsZero() && !now.Before(l.until):
		m.worn = ExitMaxAge
	case l.memory > 0 && m.private >= l.memory:
		m.worn = ExitMaxMemory
	default:
		return
	}
	p.cfg.Log.Debug("worker has reached a limit", "worker", m.id, "pid", m.pid, "reason", string(m.worn), "calls", m.calls, "private_bytes", m.private)
	p.replaceWornLocked()
}

// replaceWornLocked has worn workers replaced, the oldest first and a tenth of the pool at a time; not while workers fail
// to start, and not those that are leased, which come here when they are given back.
func (p *Pool) replaceWornLocked() {
	for p.replaceSomeLocked() { // as long as some stop at once, because the pool has one more than it needs
	}
}

// replaceSomeLocked is one round of replaceWornLocked. It returns false if there was nothing to do.
func (p *Pool) replaceSomeLocked() bool {
	if p.draining || p.starts.failures > 0 {
		return false
	}
	var next []*member
	underway := 0
	for _, m := range p.members {
		switch {
		case m.session != nil || m.worn == "":
		case m.retiring && m.state != StateStopping:
			underway++
		case m.state == StateIdle || m.state == StateBusy:
			next = append(next, m)
		}
	}
	if len(next) == 0 {
		return false
	}
	room := max(1, (p.targetLocked()+9)/10) - underway
	if room <= 0 {
		return false
	}
	slices.SortFunc(next, func(a, b *member) int {
		return cmp.Or(cmp.Compare(a.lateness(), b.lateness()), cmp.Compare(a.id, b.id))
	})
	for _, m := range next[:min(len(next), room)] {
		m.retiring = true
	}
	p.fillLocked()
	p.retireLocked()
	return true
}

// keepLocked has a worn worker stay, because a lease takes it for no one knows how long: others are to have their turn. Its
// replacement, if that is under way, takes the place of the next one, or its own when it comes back.
func (p *Pool) keepLocked(m *member) {
	if m.worn != "" && m.retiring {
		m.retiring = false
		p.resettleLocked(m)
	}
}

// sweepWornLocked looks for workers whose time is up, and for those whose turn has come.
func (p *Pool) sweepWornLocked(now time.Time) {
	for _, m := range p.members {
		p.wearLocked(m, now)
	}
	p.replaceWornLocked()
}

// measure looks after the memory of the pool's workers, and ends with the pool's context. A look can take the kernel some
// milliseconds, in which the worker may not get memory; so it comes at most once in measureInterval, only after calls,
// never within one, and takes at most a twentieth of the time.
func (p *Pool) measure() {
	timer := time.NewTimer(measureInterval)
	defer timer.Stop()
	silent := false // about errors
	for {
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			return
		}
		began := time.Now()
		for _, m := range p.unmeasured() {
			usage, err := m.worker.Usage()
			if err == nil {
				p.measured(m, usage.Private)
			} else if !errors.Is(err, os.ErrProcessDone) && !silent {
				silent = true
				p.cfg.Log.Warn("the memory of workers cannot be measured; max_memory has no effect", "worker", m.id, "pid", m.pid, "err", err)
			}
		}
		timer.Reset(max(measureInterval, 20*time.Since(began)))
	}
}

// unmeasured returns the workers of the pool that are new, or have answered calls since they were returned last.
func (p *Pool) unmeasured() []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*member
	for _, m := range p.members {
		if m.session != nil || m.readyAt.IsZero() || m.state == StateStopping || m.looked == m.calls+1 {
			continue
		}
		m.looked = m.calls + 1
		out = append(out, m)
	}
	return out
}

// measured notes the private memory of m. A worker that is over the limit unused is not replaced for it: its replacement
// would be no better.
func (p *Pool) measured(m *member, private int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.private = private
	if m.uses == 0 && m.limits.memory > 0 && private >= m.limits.memory {
		m.limits.memory = 0
		p.cfg.Log.Warn("an unused worker exceeds max_memory, and is not replaced for it", "worker", m.id, "pid", m.pid, "private_bytes", private)
		return
	}
	p.wearLocked(m, time.Now())
}
