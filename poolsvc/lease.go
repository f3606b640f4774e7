package poolsvc

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"charmer/workerproc"
)

// lease is the exclusive use of a worker over several calls. Pool.mu guards all fields but id.
type lease struct {
	id        string
	m         *member
	expiresAt time.Time
	busy      bool // a call runs on it; the worker is given back after it
	over      bool // ended while busy
}

// CheckoutRequest asks for a lease. SessionID is empty for an anonymous one. Nil durations mean the configured ones.
type CheckoutRequest struct {
	SessionID string
	By        RequestRef
	Timeout   *time.Duration
	TTL       *time.Duration
}

// LeaseInfo describes a lease that was granted.
type LeaseInfo struct {
	ID        string
	Worker    WorkerRef
	Session   *SessionRef // nil if anonymous
	ExpiresAt time.Time
	Waited    time.Duration
}

// Checkout leases a worker. Besides those of waiting (*RefusedError, ErrClientGone) its errors are, for a session, a
// *CallError from its start hook.
func (p *Pool) Checkout(ctx context.Context, req CheckoutRequest) (LeaseInfo, error) {
	began := time.Now()
	limit, ttl := orDefault(req.Timeout, p.cfg.CheckoutTimeout), orDefault(req.TTL, p.cfg.LeaseTTL)
	var m *member
	var ref *SessionRef
	var err error
	if req.SessionID == "" {
		var g grant
		g, err = p.acquire(ctx, want{lease: true}, limit)
		m = g.m
	} else {
		m, ref, err = p.acquireSession(ctx, sessionUse{id: req.SessionID, by: req.By, reopen: true, lease: true, limit: limit})
	}
	if err != nil {
		return LeaseInfo{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.leaveLocked() // a lease at rest is no work to wait for
	if m.state == stateGone {
		exit := m.worker.Exit()
		return LeaseInfo{}, &CallError{Worker: m.ref(), Command: "checkout", Err: &workerproc.CrashError{Exit: exit}}
	}
	l := &lease{id: rand.Text(), m: m, expiresAt: time.Now().Add(ttl)}
	m.lease = l
	p.leases[l.id] = l
	p.counts.leasesGranted++
	p.wakeJanitorLocked(l.expiresAt)
	return LeaseInfo{ID: l.id, Worker: m.ref(), Session: ref, ExpiresAt: l.expiresAt, Waited: time.Since(began)}, nil
}

// Renew makes a lease end ttl from now. The error is ErrLeaseNotFound or a *GoneError.
func (p *Pool) Renew(id string, ttl *time.Duration) (time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, err := p.leaseLocked(id)
	if err != nil {
		return time.Time{}, err
	}
	l.expiresAt = time.Now().Add(orDefault(ttl, p.cfg.LeaseTTL))
	p.wakeJanitorLocked(l.expiresAt)
	return l.expiresAt, nil
}

// givenBack is the reason of a lease that ended by Release.
const givenBack = "it was given back"

// Release gives a lease back, after the call that runs on it if there is one. Doing so twice is no error. Otherwise the
// error is ErrLeaseNotFound or a *GoneError.
func (p *Pool) Release(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, err := p.leaseLocked(id)
	if gone, ok := err.(*GoneError); ok && (gone.Reason == givenBack || gone.Exit != nil) {
		return nil
	}
	if err != nil {
		return err
	}
	p.counts.leasesReleased++
	p.endLeaseLocked(l, givenBack, nil)
	return nil
}

// leaseLocked finds a live lease. One whose time is up is ended here, so that nobody sees it between that moment and
// the janitor's.
func (p *Pool) leaseLocked(id string) (*lease, error) {
	if l, ok := p.leases[id]; ok {
		if time.Now().Before(l.expiresAt) {
			return l, nil
		}
		p.expireLeaseLocked(l)
	}
	if gone := p.ended.get(id); gone != nil {
		return nil, gone
	}
	return nil, ErrLeaseNotFound
}

func (p *Pool) expireLeaseLocked(l *lease) {
	p.counts.leasesExpired++
	p.cfg.Log.Info("lease expired", "worker", l.m.id, "pid", l.m.pid)
	l.m.endCallsLocked(errLeaseOver)
	p.endLeaseLocked(l, "its time was up", nil)
}

// endLeaseLocked takes the lease away and, unless a call runs on it, offers its worker to others.
func (p *Pool) endLeaseLocked(l *lease, reason string, exit *workerproc.Exit) {
	delete(p.leases, l.id)
	p.ended.put(l.id, &GoneError{Err: ErrLeaseExpired, Reason: reason, Exit: exit})
	l.over = true
	l.m.lease = nil
	if l.m.state == stateGone || l.m.state == StateStopping {
		return
	}
	p.setStateLocked(l.m, StateBusy)
	if l.m.worn != "" {
		p.replaceWornLocked() // l.m too, now that it is not leased
	}
	if l.busy {
		p.offerIdleLocked()
	} else {
		p.offerLocked(l.m)
	}
}

// holdLease marks the lease as busy with a call.
func (p *Pool) holdLease(id string) (*lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, err := p.leaseLocked(id)
	if err != nil {
		return nil, err
	}
	if l.busy {
		return nil, &RefusedError{Err: ErrLeaseBusy, RetryAfter: p.retryAfterLocked()}
	}
	if err := p.admitLocked(); err != nil {
		return nil, err
	}
	l.busy = true
	return l, nil
}

// unholdLease ends what holdLease began.
func (p *Pool) unholdLease(l *lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.busy = false
	if l.over {
		p.offerLocked(l.m)
	} else if s := l.m.session; s != nil {
		s.lastUsed = time.Now()
	}
	p.leaveLocked()
}

func orDefault(d *time.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return *d
}

// tombs remembers why things ended, the last maxTombs of them.
type tombs struct {
	rows  map[string]*GoneError
	order []string // oldest first
}

func newTombs() tombs { return tombs{rows: map[string]*GoneError{}} }

func (t *tombs) get(id string) *GoneError { return t.rows[id] }

func (t *tombs) put(id string, gone *GoneError) {
	if _, ok := t.rows[id]; !ok {
		t.order = append(t.order, id)
	}
	t.rows[id] = gone
	for len(t.order) > maxTombs {
		delete(t.rows, t.order[0])
		t.order = t.order[1:]
	}
}

// remove forgets id and reports whether it was there.
func (t *tombs) remove(id string) bool {
	_, ok := t.rows[id]
	if ok {
		delete(t.rows, id)
		i := slices.Index(t.order, id)
		t.order = slices.Delete(t.order, i, i+1)
	}
	return ok
}
