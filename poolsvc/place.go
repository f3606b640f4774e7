package poolsvc

import (
	"time"

	"charmer/workerproc"
)

// Ended says how a worker ended.
type Ended struct {
	ID     uint64
	PID    int
	Reason ExitReason
	Detail string    // one sentence, for instance "exited with code 1"
	At     time.Time // zero as long as it lives
}

// endLocked notes how m ended, for whoever is in its place.
func (m *member) endLocked(reason ExitReason, exit workerproc.Exit) {
	*m.end = Ended{ID: m.id, PID: m.pid, Reason: reason, Detail: exit.Reason, At: time.Now()}
}

// place is room for one worker of the pool. Its fields are those of the worker that was put in last.
type place struct {
	id          uint64
	end, before *Ended
}

// settleLocked puts a new worker of the pool into the place that came free last, or into a new one. It came free last if
// its worker is yet to end: that one is being replaced. The first worker of new code finds no place if nobody can go.
func (p *Pool) settleLocked(m *member) {
	best := -1
	var since time.Time
	for i, at := range p.places {
		holder := p.members[at.id]
		if holder != nil && holder.state != StateStopping && !holder.retiring {
			continue
		}
		free := at.last().At
		if holder != nil {
			free = time.Now()
		}
		if best < 0 || free.After(since) {
			best, since = i, free
		}
	}
	if best < 0 && len(p.places) == p.cfg.Workers {
		return
	}
	if best < 0 {
		best = len(p.places)
		p.places = append(p.places, place{end: &Ended{}})
	}
	m.before = p.places[best].end
	if p.members[p.places[best].id] == nil {
		m.before = p.places[best].last()
	}
	p.places[best] = place{m.id, m.end, m.before}
}

// resettleLocked finds a place again for a worker that was to be replaced and stays, if its replacement has taken its own
// and there is room.
func (p *Pool) resettleLocked(m *member) {
	free := -1
	for i, at := range p.places {
		holder := p.members[at.id]
		switch {
		case at.id == m.id:
			return
		case holder == nil || holder.state == StateStopping:
			free = i
		}
	}
	at := place{m.id, m.end, m.before}
	if free >= 0 {
		p.places[free] = at
	} else if len(p.places) < p.cfg.Workers {
		p.places = append(p.places, at)
	}
}

// last returns how the worker of a vacant place ended, or if that never came up, the one before it. Its At is zero if there
// was none.
func (at place) last() *Ended {
	if at.end.At.IsZero() && at.before != nil {
		return at.before
	}
	return at.end
}

// replacesLocked returns how the worker ended in whose place m is, or nil.
func (m *member) replacesLocked() *Ended {
	if m.before == nil || m.before.At.IsZero() {
		return nil
	}
	before := *m.before
	return &before
}
