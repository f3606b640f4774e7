package poolsvc

import (
	"context"
	"time"

	"charmer/workerproc"
)

// The hooks of docs/protocol.md, section 4.
const (
	hookSessionStart = "session_start"
	hookSessionEnd   = "session_end"
)

// session is state under a client's id: a worker of its own, and a queue in front of it. Pool.mu guards all fields but
// the first three.
type session struct {
	id        string
	createdAt time.Time
	opener    RequestRef // of the request that opened it, for its start hook
	m         *member
	queue     queue
	fresh     bool // nobody has been told yet that it is new
	over      bool // ended; its worker stops when it is free
	lastUsed  time.Time
	calls     int64
}

// RequestRef is what a call in Python is told of the request that it belongs to.
type RequestRef struct {
	ID          string
	Traceparent string // W3C trace context, or empty
}

// SessionRef names a session in replies. State is "new" for the first use, else "resumed".
type SessionRef struct {
	ID    string
	State string
}

// sessionUse asks for the use of a session.
type sessionUse struct {
	id     string
	by     RequestRef
	reopen bool // a lost session may begin anew
	lease  bool
	limit  time.Duration // of the wait
}

// acquireSession takes the worker of a session for the caller, and opens the session if it is not there. The caller
// gives it back with release. The error is a *RefusedError, a *GoneError, a *CallError of the start hook, or ErrClientGone.
func (p *Pool) acquireSession(ctx context.Context, use sessionUse) (*member, *SessionRef, error) {
	began := time.Now()
	p.mu.Lock()
	if err := p.admitLocked(); err != nil {
		p.counts.checkout(err, 0)
		p.mu.Unlock()
		return nil, nil, err
	}
	s, err := p.openLocked(use)
	if err == nil && s.m.state == StateIdle && s.m.worker.Healthy() { // else its death will answer those who wait
		p.handOutLocked(s.m, use.lease)
		ref := s.refLocked()
		p.counts.checkout(nil, 0)
		p.mu.Unlock()
		return s.m, ref, nil
	}
	limit := p.cfg.MaxQueue
	if err == nil && s.m.state == StateStarting {
		limit = max(1, limit) // who opens a session may wait for it
	}
	if err == nil && s.queue.len() >= limit {
		err = &RefusedError{Err: ErrQueueFull, RetryAfter: p.retryAfterLocked(), QueueLength: s.queue.len()}
	}
	if err != nil {
		p.leaveLocked()
		p.counts.checkout(err, 0)
		p.mu.Unlock()
		return nil, nil, err
	}
	w := s.queue.push(ctx, want{lease: use.lease})
	p.mu.Unlock()

	g, err := p.await(ctx, w, use.limit)
	waited := time.Since(began)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == ErrCheckoutTimeout && !s.m.readyAt.IsZero() {
		err = &RefusedError{Err: ErrSessionBusy, RetryAfter: p.retryAfterLocked(), Waited: waited, QueueLength: s.queue.len()}
	} else if err == ErrCheckoutTimeout {
		err = &RefusedError{Err: ErrCheckoutTimeout, Detail: "the session is still starting", RetryAfter: p.retryAfterLocked(), Waited: waited}
	}
	p.counts.checkout(err, waited)
	if err != nil {
		p.leaveLocked()
		return nil, nil, err
	}
	ref := &SessionRef{ID: s.id, State: "resumed"}
	if g.fresh {
		ref.State = "new"
	}
	return g.m, ref, nil
}

// refLocked tells the state of a session to the caller it was just handed to.
func (s *session) refLocked() *SessionRef {
	ref := &SessionRef{ID: s.id, State: "resumed"}
	if s.fresh {
		s.fresh, ref.State = false, "new"
	}
	return ref
}

// openLocked returns the session that use names, and begins to start one that is not there.
func (p *Pool) openLocked(use sessionUse) (*session, error) {
	if s, ok := p.sessions[use.id]; ok {
		return s, nil
	}
	if gone := p.lost.get(use.id); gone != nil && !use.reopen {
		return nil, gone
	}
	if len(p.sessions) >= p.cfg.MaxSessions {
		return nil, &RefusedError{Err: ErrSessionLimit, RetryAfter: 5 * time.Second}
	}
	if p.hopelessLocked() {
		return nil, p.crashLoopingLocked()
	}
	now := time.Now()
	s := &session{id: use.id, createdAt: now, opener: use.by, lastUsed: now, fresh: true}
	p.sessions[s.id] = s
	p.giveWorkerLocked(s)
	if gone := p.lost.get(use.id); gone != nil {
		s.m.before = gone.Ended
		p.lost.remove(use.id)
	}
	p.wakeJanitorLocked(s.expiresLocked(p.cfg))
	return s, nil
}

// startSession runs the app's start hook in the new worker of a session.
func (p *Pool) startSession(m *member, worker Worker) error {
	if !worker.HasHook(hookSessionStart) {
		return nil
	}
	return p.runHook(m, hookSessionStart, "new", m.session.opener, p.cfg.StartTimeout)
}

// begin brings a session up in a spare that it took.
func (p *Pool) begin(m *member) {
	err := p.startSession(m, m.worker)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begunLocked(m, err)
}

// begunLocked opens a session whose start hook has run, with err, in its worker.
func (p *Pool) begunLocked(m *member, err error) {
	if err != nil {
		reason := ExitSession
		if !m.worker.Healthy() {
			reason = "" // the hook has killed it, and the evidence will say how
		}
		p.stopLocked(m, reason)
		p.sessionFailedLocked(m.session, err)
		return
	}
	m.readyAt = time.Now()
	p.offerLocked(m)
	if !m.session.over {
		p.counts.sessionsCreated++ // those that did not come up would neither end nor be lost
	}
	if m.state == stateGone { // since the hook: watch leaves to this goroutine what becomes of the session
		exit := m.worker.Exit()
		p.loseSessionLocked(m.session, m.end, exit)
	}
}

// runHook runs a hook of the session that owns m. The error is a *CallError.
func (p *Pool) runHook(m *member, hook, state string, by RequestRef, limit time.Duration) error {
	_, err := m.worker.Call(context.Background(), &workerproc.Call{Command: hook, Hook: true, RequestID: by.ID, Traceparent: by.Traceparent,
		SessionID: m.session.id, SessionState: state, Deadline: time.Now().Add(limit)})
	if err == nil {
		return nil
	}
	p.cfg.Log.Warn("session hook failed", "session", m.session.id, "worker", m.id, "hook", hook, "request_id", by.ID, "err", err)
	return &CallError{Worker: m.ref(), Command: hook, Err: err}
}

// offerSessionLocked gives the worker of a session to the next caller of that session, or lets it rest.
func (p *Pool) offerSessionLocked(m *member) {
	s := m.session
	s.lastUsed = time.Now()
	if s.over {
		p.stopLocked(m, ExitSession)
		return
	}
	p.setStateLocked(m, StateIdle)
	if w := s.queue.pop(true, nil); w != nil {
		p.handOutLocked(m, w.lease)
		fresh := s.fresh
		s.fresh = false
		w.granted <- grant{m: m, fresh: fresh}
		return
	}
	p.wakeJanitorLocked(s.expiresLocked(p.cfg))
}

// sessionFailedLocked ends a session that did not come up.
func (p *Pool) sessionFailedLocked(s *session, err error) {
	if p.sessions[s.id] == s {
		delete(p.sessions, s.id)
	}
	s.over = true
	s.queue.fail(err)
}

// loseSessionLocked remembers why a session is gone, if it was not ended in good order.
func (p *Pool) loseSessionLocked(s *session, end *Ended, exit workerproc.Exit) {
	gone := &GoneError{Err: ErrSessionLost, Reason: exit.Reason, Exit: &exit, Ended: end}
	if p.sessions[s.id] == s {
		delete(p.sessions, s.id)
		p.lost.put(s.id, gone)
		p.counts.sessionsLost++
		p.cfg.Log.Warn("session lost", "session", s.id, "reason", string(end.Reason), "exit", exit.Reason)
	}
	s.queue.fail(gone)
}

// EndSession ends a session, and the call that runs in it if there is one. Requests that wait for it are refused with
// ErrSessionNotFound. Ending a lost session forgets that it was lost. The error is ErrSessionNotFound.
func (p *Pool) EndSession(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.sessions[id]
	if !ok {
		if p.lost.remove(id) {
			return nil
		}
		return ErrSessionNotFound
	}
	if !s.m.readyAt.IsZero() { // else it has not been counted as created
		p.counts.sessionsEnded++
	}
	p.endSessionLocked(s, ErrSessionNotFound)
	return nil
}

// endSessionLocked takes a session away. Its worker stops now, or when it is free.
func (p *Pool) endSessionLocked(s *session, err error) {
	delete(p.sessions, s.id)
	s.over = true
	s.queue.fail(err)
	m := s.m
	m.endCallsLocked(errSessionEnded)
	if m.readyAt.IsZero() {
		m.cancel()
		return // should it come up all the same, its start goroutine offers it, and offerSessionLocked stops it
	}
	if m.lease != nil {
		p.counts.leasesLost++
		p.endLeaseLocked(m.lease, "its session ended", nil)
		return
	}
	if m.state == StateIdle {
		p.stopLocked(m, ExitSession)
	}
}

// expireSessionLocked ends s if its time is up, and returns when that will be.
func (p *Pool) expireSessionLocked(s *session, now time.Time) time.Time {
	end := s.expiresLocked(p.cfg)
	if now.Before(end) {
		return end
	}
	if !s.m.readyAt.IsZero() {
		p.counts.sessionsExpired++
	}
	p.cfg.Log.Info("session expired", "session", s.id, "worker", s.m.id, "pid", s.m.pid)
	p.endSessionLocked(s, ErrSessionNotFound)
	return end
}

// expiresLocked returns when s ends if nothing uses it: idle too long, or at the end of its lifetime, used or not.
func (s *session) expiresLocked(cfg Config) time.Time {
	end := s.createdAt.Add(cfg.SessionLifetime)
	if idle := s.lastUsed.Add(cfg.SessionIdle); s.m.state == StateIdle && idle.Before(end) {
		return idle
	}
	return end
}

// SessionInfo describes a live session.
type SessionInfo struct {
	ID         string
	State      State
	Worker     *WorkerRef // nil while starting
	CreatedAt  time.Time
	LastUsedAt time.Time
	ExpiresAt  time.Time
	Calls      int64
	Waiting    int
}

// Session describes one session. The error is ErrSessionNotFound or a *GoneError.
func (p *Pool) Session(id string) (SessionInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.sessions[id]; ok {
		return p.sessionInfoLocked(s), nil
	}
	if gone := p.lost.get(id); gone != nil {
		return SessionInfo{}, gone
	}
	return SessionInfo{}, ErrSessionNotFound
}

func (p *Pool) sessionInfoLocked(s *session) SessionInfo {
	info := SessionInfo{ID: s.id, State: s.m.state, CreatedAt: s.createdAt, LastUsedAt: s.lastUsed,
		ExpiresAt: s.expiresLocked(p.cfg), Calls: s.calls, Waiting: s.queue.len()}
	if s.m.worker != nil {
		ref := s.m.ref()
		info.Worker = &ref
	}
	return info
}
