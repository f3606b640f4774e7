package poolsvc

import (
	"iter"
	"time"

	"charmer/workerproc"
)

// A spare is a ready worker without an owner. Whoever would start a worker and wait for it takes a spare instead, at
// once, and the next spare is started behind it: the pool for a place that has come free, a session that opens, and a
// fresh call.

// everyoneLocked iterates over all workers: of the pool, of sessions, and aside of both.
func (p *Pool) everyoneLocked() iter.Seq[*member] {
	return func(yield func(*member) bool) {
		for _, m := range p.members {
			if !yield(m) {
				return
			}
		}
		for _, m := range p.aside {
			if !yield(m) {
				return
			}
		}
	}
}

// The automatic number of spares. A fork costs nothing worth saving and shares the memory of the app; other spares import
// it each for themselves.
const (
	AutomaticSpares = -1 // for Config.Spares
	forkedSpares    = 2
)

// learnMethodLocked sets the automatic number of spares by how the last worker was started.
func (p *Pool) learnMethodLocked(worker Worker) {
	if p.cfg.Spares != AutomaticSpares {
		return
	}
	p.spares = 0
	if worker.StartMethod() == "fork" {
		p.spares = forkedSpares
	}
}

// sweepSparesLocked has spares again once there is a zygote to fork them from: the last worker may have been started while
// there was none.
func (p *Pool) sweepSparesLocked() {
	if p.cfg.Spares == AutomaticSpares && p.spares == 0 && p.everReadyLocked() && p.cfg.Zygote(p.current).State == workerproc.ZygoteReady {
		p.spares = forkedSpares
		p.fillLocked()
	}
}

// memberLocked finds a worker, whoever has it, or returns nil.
func (p *Pool) memberLocked(id uint64) *member {
	if m := p.members[id]; m != nil {
		return m
	}
	return p.aside[id]
}

// forgetLocked takes m out of the books.
func (p *Pool) forgetLocked(m *member) {
	delete(p.members, m.id)
	delete(p.aside, m.id)
}

// takeSpareLocked returns a spare that is the caller's now, or nil. One that is still on its way up will be ready sooner
// than a new one, so it is taken too if no other is there. Its worker is nil then; else it is ready and healthy.
func (p *Pool) takeSpareLocked() *member {
	var best *member
	for _, m := range p.aside {
		switch {
		case !m.spare || m.retiring || !(m.state == StateSpare && m.worker.Healthy() || m.worker == nil):
		case best == nil, best.worker == nil && m.worker != nil, (best.worker == nil) == (m.worker == nil) && m.id < best.id:
			best = m
		}
	}
	if best != nil {
		delete(p.aside, best.id)
		best.spare = false
	}
	return best
}

// fillFromSparesLocked has spares take the places of the pool that nobody has.
func (p *Pool) fillFromSparesLocked() {
	for len(p.aside) > 0 && p.censusLocked().have < p.targetLocked() {
		m := p.takeSpareLocked()
		if m == nil {
			return
		}
		p.members[m.id] = m
		p.settleLocked(m)
		if m.worker != nil {
			m.limits = p.newLimits(time.Now()) // it has not aged
			p.offerLocked(m)
		}
	}
}

// fillSparesLocked starts the spares that are missing, once the pool itself has all that it needs: then they take no
// turn from it. A pool that is lazy has none before its first use, and one that drains starts none; nor does one with
// workers that are yet to prove that they live, after others failed. Spares that are too many stop.
func (p *Pool) fillSparesLocked(c census) {
	have := 0
	for _, m := range p.aside {
		if m.spare && !m.retiring && m.state != StateStopping {
			have++
		}
	}
	for _, m := range p.aside {
		if m.state == StateSpare && have > p.spares {
			p.stopLocked(m, ExitSpare)
			have--
		}
	}
	if p.draining || c.starting > 0 || c.proving > 0 || c.have < p.targetLocked() || (p.cfg.Lazy && !p.everReadyLocked()) {
		return
	}
	for ; have < p.spares && p.mayStartLocked(c); have++ {
		p.launchLocked(&member{spare: true, slots: p.poolSlots}, p.aside)
		c.attempts++
	}
}

// giveWorkerLocked finds a worker for a session that opens: a spare, or a new one. A spare that is up is ready for use
// when the app's start hook has run, and until then counts as starting.
func (p *Pool) giveWorkerLocked(s *session) {
	m := p.takeSpareLocked()
	if m == nil {
		s.m = p.startLocked(s)
		return
	}
	s.m, m.session = m, s
	p.members[m.id] = m
	if m.worker != nil {
		m.readyAt = time.Time{}
		p.setStateLocked(m, StateStarting)
		if m.worker.HasHook(hookSessionStart) {
			p.wg.Go(func() { p.begin(m) }) // ends with the hook
		} else {
			p.begunLocked(m, nil)
		}
	}
	p.fillLocked() // with the next spare
}
