package poolsvc

import (
	"maps"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"charmer/workerproc"
)

// check is called between any two actions, with every goroutine at rest.
func (m *model) check(t *rapid.T) {
	synctest.Wait()
	for _, a := range m.requests {
		if a.granted() && !slices.ContainsFunc(m.leases, func(l LeaseInfo) bool { return l.ID == a.hold.value.ID }) {
			m.leases = append(m.leases, a.hold.value)
		}
	}
	for _, v := range m.f.broken() {
		t.Error(v)
	}
	m.checkStats(t)
	m.checkOrder(t)
	m.checkCleanliness(t)
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	m.checkActiveLocked(t)
	m.checkMembersLocked(t)
	m.checkLeasesLocked(t)
	m.checkNobodyWaitsInVainLocked(t)
	m.checkSizeLocked(t)
	m.checkReplacedLocked(t)
	m.checkScaleLocked(t)
	m.checkPlacesLocked(t)
	m.checkSparesLocked(t)
	m.checkReloadLocked(t)
}

func (m *model) checkStats(t *rapid.T) {
	s := m.p.Stats()
	if c := s.Workers; c.Starting+c.Idle+c.Busy+c.Leased+c.Stopping != c.Size {
		t.Errorf("states do not sum to the size: %+v", c)
	}
	if c := s.Workers; c.Leased > s.Limits.Leases {
		t.Errorf("%d workers are leased, the limit is %d", c.Leased, s.Limits.Leases)
	}
	if s.Queue.Length > s.Queue.Limit+m.p.cfg.Workers*m.p.cfg.Prefetch { // calls that are withdrawn have been let in before
		t.Errorf("%d wait, the limit is %d", s.Queue.Length, s.Queue.Limit)
	}
	if len(s.Sessions) > s.Limits.Sessions {
		t.Errorf("%d sessions, the limit is %d", len(s.Sessions), s.Limits.Sessions)
	}
	c := s.Counts
	if c.Busy < m.busy {
		t.Errorf("the busy time went from %s back to %s", m.busy, c.Busy)
	}
	m.busy = c.Busy
	if n := int64(c.LeasesActive) + c.LeasesReleased + c.LeasesExpired + c.LeasesLost; n != c.LeasesGranted {
		t.Errorf("%d leases were granted, %d are accounted for", c.LeasesGranted, n)
	}
	if n := c.SessionsEnded + c.SessionsExpired + c.SessionsLost; n > c.SessionsCreated {
		t.Errorf("%d sessions were created, %d are gone", c.SessionsCreated, n)
	}
	if s.Starts.Failures == 0 && s.Starts.Backoff > 0 {
		t.Errorf("backoff of %s without a failure", s.Starts.Backoff)
	}
}

// checkOrder: whoever waits was not overtaken by one who came later to the same queue. Only calls may pass leases, which
// can be held up by their share, fresh calls, which wait for their workers after the queue, and calls of commands that not
// every generation has.
func (m *model) checkOrder(t *rapid.T) {
	begun := map[string]bool{}
	for _, w := range m.f.started() {
		for _, c := range w.received() {
			begun[c.RequestID] = true
		}
		w.mu.Lock()
		for _, l := range w.line { // who is sent together may come to a line in any order
			begun[l.call.RequestID] = true
		}
		w.mu.Unlock()
	}
	served := func(a *asked) bool { return a.granted() || (!a.lease && begun[a.id]) }
	for i, first := range m.requests {
		if first.leaseID != "" || first.fresh || first.settled() || served(first) || m.withdrawn(first) {
			continue
		}
		for j, second := range m.requests[i+1:] {
			passes := first.session == "" && (first.lease && !second.lease || strings.HasPrefix(first.command, "only"))
			if second.leaseID == "" && second.session == first.session && served(second) && !passes {
				t.Errorf("request %d overtook request %d in the queue of %q", i+1+j, i, first.session)
			}
		}
	}
}

// checkCleanliness: a worker that ran a fresh call runs no other. One that ran a call on an anonymous lease runs calls of
// that lease only, from then on.
func (m *model) checkCleanliness(t *rapid.T) {
	leaseOf, fresh := map[string]string{}, map[string]bool{} // by request
	for _, a := range m.requests {
		leaseOf[a.id], fresh[a.id] = a.leaseID, a.fresh
	}
	for _, w := range m.f.started() {
		holder := ""
		calls := slices.DeleteFunc(w.received(), func(c workerproc.Call) bool { return strings.HasPrefix(c.RequestID, "b") })
		for _, c := range calls { // and broadcasts, which are of nobody
			lease := leaseOf[c.RequestID]
			if fresh[c.RequestID] && len(calls) > 1 {
				t.Errorf("worker %d ran a fresh call and others", w.id)
			}
			if holder != "" && lease != holder && c.SessionID == "" && !m.p.cfg.LeaseReuse {
				t.Errorf("worker %d ran a call after those of a lease", w.id)
			}
			holder = lease
		}
	}
}

// checkActiveLocked: the count that a drain waits for is that of the requests without an answer.
func (m *model) checkActiveLocked(t *rapid.T) {
	open := 0
	for _, a := range m.requests {
		if !a.settled() {
			open++
		}
	}
	if m.p.active != open {
		t.Errorf("%d requests are active, %d have no answer", m.p.active, open)
	}
}

func (m *model) checkMembersLocked(t *rapid.T) {
	p := m.p
	for _, w := range p.members {
		n := 0
		for _, idle := range p.idle {
			if idle == w {
				n++
			}
		}
		rests := w.session == nil && w.state == StateIdle && w.worker.Healthy()
		if n > 1 || (rests && n == 0) || (n == 1 && (w.state != StateIdle || w.session != nil)) {
			t.Errorf("worker %d, %s, is %d times among the idle", w.id, w.state, n)
		}
		if len(w.running) > 0 && w.state != StateBusy && w.state != StateLeased {
			t.Errorf("worker %d runs a call and is %s", w.id, w.state)
		}
		if w.state == StateBusy && len(w.running) == 0 && !w.standsBy {
			t.Errorf("worker %d is busy with nothing", w.id)
		}
		if w.inUse > 0 && (w.state == StateIdle || w.state == StateLeased || w.session != nil) {
			t.Errorf("worker %d has %d users and is %s", w.id, w.inUse, w.state)
		}
		most := 3
		if w.inLine {
			most = 1 + p.cfg.Prefetch
		}
		if len(w.running) > max(1, w.inUse) || w.inUse > most {
			t.Errorf("worker %d runs %d calls for %d users", w.id, len(w.running), w.inUse)
		}
		if w.cost < 0 || w.inUse == 0 && w.cost != 0 || w.inUse > 1 && w.cost > aheadBudget {
			t.Errorf("the line of worker %d, of %d calls, is expected to take %s", w.id, w.inUse, w.cost)
		}
		if (w.inUse > 0) != slices.Contains(p.joinable, w) {
			t.Errorf("worker %d has %d users; others may join it: %v", w.id, w.inUse, w.inUse == 0)
		}
		if w.inUse > 1 && w.inLine && !p.looksAtLines && !w.stuck {
			t.Errorf("nobody looks at the line of worker %d", w.id)
		}
		if b := p.behindLocked(w); b != nil && (w.state == StateSpare || w.session == nil && w.state == StateIdle && w.worker.Healthy()) {
			t.Errorf("worker %d is %s, and has not run broadcast %d", w.id, w.state, b.seq)
		}
		if w.worker == nil && w.state != StateStarting {
			t.Errorf("worker %d has no process and is %s", w.id, w.state)
		}
	}
	for _, w := range p.idle {
		if p.members[w.id] != w {
			t.Errorf("worker %d is idle and not a member", w.id)
		}
	}
	for _, s := range p.sessions {
		if s.over || s.m.session != s || p.members[s.m.id] != s.m {
			t.Errorf("session %s has lost its worker %d, which is %s", s.id, s.m.id, s.m.state)
		}
	}
}

// checkLeasesLocked: every lease has a worker of its own.
func (m *model) checkLeasesLocked(t *rapid.T) {
	p := m.p
	leased := 0
	for _, w := range p.members {
		if w.session == nil && w.state == StateLeased {
			leased++
		}
		if (w.state == StateLeased) != (w.lease != nil) {
			t.Errorf("worker %d is %s, with lease %v", w.id, w.state, w.lease)
		}
		if w.lease != nil && p.leases[w.lease.id] != w.lease {
			t.Errorf("worker %d is held by a lease that nobody knows", w.id)
		}
	}
	if p.leased != leased {
		t.Errorf("%d workers are leased, %d are counted", leased, p.leased)
	}
	for _, l := range p.leases {
		if l.m.lease != l || l.over || p.members[l.m.id] != l.m {
			t.Errorf("lease of worker %d, %s, is not its own", l.m.id, l.m.state)
		}
		if !time.Now().Before(l.expiresAt) {
			t.Errorf("lease of worker %d is past its end", l.m.id)
		}
	}
}

// checkNobodyWaitsInVainLocked: no waiter has been forgotten while there is a worker for it.
func (m *model) checkNobodyWaitsInVainLocked(t *rapid.T) {
	p := m.p
	for e := p.queue.waiters.Front(); e != nil; e = e.Next() {
		w := e.Value.(*waiter)
		free := slices.ContainsFunc(p.idle, func(m *member) bool {
			return m.worker.Healthy() && (m.generation == p.current || p.fits(m)(w.want))
		})
		if free && (!w.lease || p.leased < p.cfg.LeaseLimit) {
			t.Errorf("a worker is idle while somebody waits; lease: %v", w.lease)
		}
	}
	for _, s := range p.sessions {
		if s.m.state == StateIdle && s.m.worker.Healthy() && s.queue.len() > 0 {
			t.Errorf("session %s is idle while %d wait for it", s.id, s.queue.len())
		}
	}
	if p.queue.len() > 0 && p.hopelessLocked() && m.stoppingLocked() == 0 { // the last one's death refuses those who wait
		t.Error("somebody waits for a pool that cannot start")
	}
}

// checkReloadLocked: a roll ends, unless something that the new code needs is still to come.
func (m *model) checkReloadLocked(t *rapid.T) {
	p := m.p
	if p.reload.rolling != (p.outdatedLocked() > 0) {
		t.Errorf("rolling %v with %d old workers", p.reload.rolling, p.outdatedLocked())
	}
	coming := p.draining || p.starts.failures > 0
	for _, w := range p.members {
		coming = coming || w.session == nil && (w.state == StateStarting || w.state == StateStopping || w.state == StateIdle && !w.worker.Healthy())
	}
	for _, w := range p.idle {
		if w.generation != p.current && !coming {
			t.Errorf("worker %d of generation %d is idle, the current one is %d, and nothing will replace it", w.id, w.generation, p.current)
		}
	}
	for _, w := range p.members {
		if w.generation > p.current && w.state != StateStopping { // by the end of the pool
			t.Errorf("worker %d has generation %d, the current one is %d", w.id, w.generation, p.current)
		}
	}
}

func (m *model) stoppingLocked() int {
	n := 0
	for _, w := range m.p.members {
		if w.session == nil && w.state == StateStopping {
			n++
		}
	}
	return n
}

// checkSizeLocked: workers that are missing are starting, or about to be started when the backoff is over.
func (m *model) checkSizeLocked(t *rapid.T) {
	p := m.p
	have, worn, starting, attempts := p.vacant, 0, 0, 0
	for _, w := range p.members {
		if w.state == StateStarting && w.worker == nil {
			attempts++
		}
		if w.session == nil && w.state == StateStarting {
			starting++ // its end starts others
		}
		if w.session == nil && w.state != StateStopping && !w.retiring {
			have++
			if w.worn != "" {
				worn++ // its replacement may be there
			}
		}
	}
	if len(m.reloads) > 0 {
		worn += p.vacant // so may that of a stand-by that died
	}
	if have-worn > p.cfg.Workers {
		t.Errorf("%d workers, the size is %d", have-worn, p.cfg.Workers)
	}
	if m.stoppingLocked() > 0 {
		starting++ // so does the end of a worker
	}
	if have < p.targetLocked() && slices.ContainsFunc(slices.Collect(maps.Values(p.aside)), waitsForOwner) {
		t.Errorf("%d workers are wanted, there are %d, and a spare waits", p.targetLocked(), have)
	}
	if have < p.targetLocked() && starting == 0 && p.starts.failures == 0 {
		t.Errorf("%d workers are wanted, there are %d, and none is starting", p.targetLocked(), have)
	}
	attempt := p.censusLocked().attempts > 0 // the end of which plans the next, also if it is that of a spare
	if have < p.targetLocked() && starting == 0 && !attempt && p.starts.failures > 0 && !time.Now().Before(p.starts.retryAt) {
		t.Errorf("%d workers are wanted, there are %d, and no attempt is planned", p.targetLocked(), have)
	}
	if limit := 2*p.cfg.StartParallelism + 1; attempts > 0 && m.f.maxStarting > limit { // of the pool, of sessions, of a reload
		t.Errorf("%d started at a time, the limit is %d", m.f.maxStarting, limit)
	}
}

// checkReplacedLocked: a tenth of the pool at most is being replaced for a limit, and nobody who is leased.
func (m *model) checkReplacedLocked(t *rapid.T) {
	p := m.p
	replaced, others := 0, 0
	for _, w := range p.members {
		if w.worn != "" && w.session != nil {
			t.Errorf("worker %d of a session has reached a limit", w.id)
		}
		if w.worn != "" && w.retiring && w.state == StateLeased {
			t.Errorf("worker %d is replaced for %s while it is leased", w.id, w.worn)
		}
		switch {
		case w.session != nil || w.state == StateStopping:
		case w.worn != "" && w.retiring:
			replaced++
		case !w.retiring && w.worn != ExitReload: // each of several reloads adds one, as long as those with old code are in use
			others++
		}
	}
	tenth := (p.cfg.Workers + 9) / 10
	if replaced > tenth || replaced+others > p.cfg.Workers+tenth {
		t.Errorf("%d workers are being replaced for limits, beside %d others; the size is %d", replaced, others, p.cfg.Workers)
	}
}

// checkScaleLocked: the size is within bounds, and whoever has waited too long has a worker on its way, or a look at the
// queue is planned.
func (m *model) checkScaleLocked(t *rapid.T) {
	p := m.p
	if p.cfg.Lazy || p.draining {
		return
	}
	if p.scale.size < p.cfg.MinWorkers || p.scale.size > p.cfg.Workers {
		t.Errorf("the size is %d, of %d to %d", p.scale.size, p.cfg.MinWorkers, p.cfg.Workers)
	}
	waits := !p.queue.since(p.leased < p.cfg.LeaseLimit).IsZero()
	if waits && p.scale.size < p.cfg.Workers && p.starts.failures == 0 && p.scale.look == nil {
		t.Errorf("somebody waits, the size is %d of %d, and no look is planned", p.scale.size, p.cfg.Workers)
	}
}

// checkSparesLocked: spares belong to nobody, and there are as many as there should be. Each fresh call has a place.
func (m *model) checkSparesLocked(t *rapid.T) {
	p := m.p
	n, catchUps, fresh, places := 0, 0, 0, p.vacant
	for _, w := range p.members {
		if w.standsBy {
			places++
		}
		if w.spare || w.freshCall != nil || w.state == StateSpare {
			t.Errorf("worker %d, %s, is a spare and has an owner", w.id, w.state)
		}
	}
	for _, w := range p.aside {
		if w.session != nil || w.lease != nil || w.spare == (w.freshCall != nil) || (w.spare && len(w.running) > 0 && !w.catchesUp) || p.members[w.id] != nil || slices.Contains(p.idle, w) {
			t.Errorf("worker %d, %s, is aside and has an owner", w.id, w.state)
		}
		if w.spare && w.state != StateStopping && !w.retiring {
			n++
		}
		if w.spare && w.catchesUp {
			catchUps++ // which may be too many, and stop after it
		}
		if w.state == StateSpare && w.generation != p.current {
			t.Errorf("spare %d is of generation %d, not %d", w.id, w.generation, p.current)
		}
		if w.freshCall != nil && w.state != StateStopping && (w.worker != nil || w.ctx.Err() == nil) { // and was not given up while it starts
			fresh++
		}
	}
	// A stand-by that was being replaced may have died while its fresh call runs on.
	replaces := m.crashed && (m.recycled || len(m.reloads) > 0 || p.cfg.MaxRequests > 0 || p.cfg.MaxAge > 0 || p.cfg.MaxMemory > 0)
	if fresh > places && !replaces {
		t.Errorf("%d fresh calls have workers, and %d places", fresh, places)
	}
	c := p.censusLocked()
	settled := p.starts.failures == 0 && c.starting == 0 && c.have == p.targetLocked()
	if tooMany := n-catchUps > p.spares && c.attempts == 0; tooMany || (settled && n < p.spares && !p.draining && (!p.cfg.Lazy || p.everReadyLocked())) {
		t.Errorf("%d spares, there should be %d", n, p.spares)
	}
}
