package poolsvc

import (
	"context"
	"errors"
	"time"

	"charmer/workerproc"
)

// Request asks for one call. LeaseID, SessionID and Fresh exclude each other; without any of them a worker of the pool
// will do, unless the command is a fresh one. Nil durations mean those of the command or the configuration.
type Request struct {
	Command         string
	Args            []byte // JSON object; empty means {}
	LeaseID         string
	SessionID       string
	Fresh           bool           // run it in a worker of its own, which is stopped after it
	Timeout         *time.Duration // of wait and run together
	CheckoutTimeout *time.Duration // of the wait
	RequestID       string
	Traceparent     string
}

// Result is the answer of a command that returned.
type Result struct {
	Result  []byte // one JSON text
	Worker  WorkerRef
	Session *SessionRef // nil outside sessions
	Queue   time.Duration
	Run     time.Duration
}

// Execute runs a command and returns its one answer. The error is ErrUnknownCommand, ErrNotShared, ErrLeaseNotFound or
// ErrClientGone; a *RefusedError or *GoneError, with Python not started; or a *CallError. A call that certainly did not
// begin is tried on another worker; one that may have begun never is. ctx ends the wait for a worker, not the run.
func (p *Pool) Execute(ctx context.Context, req Request) (Result, error) {
	began := time.Now()
	command, err := p.lookup(req)
	if err != nil {
		return Result{}, err
	}
	req.Fresh = req.Fresh || command.Fresh()
	if req.Fresh && (req.LeaseID != "" || req.SessionID != "") {
		return Result{}, ErrNotShared
	}
	timeout := p.cfg.ExecuteTimeout
	if command.TimeoutMs > 0 {
		timeout = time.Duration(command.TimeoutMs * float64(time.Millisecond))
	}
	deadline := began.Add(orDefault(req.Timeout, timeout))
	for attempt := 1; ; attempt++ {
		h, err := p.hold(ctx, req, deadline)
		if err == nil && command.Name == "" {
			h, err = p.isolate(ctx, h, req, deadline)
		}
		if req.Fresh && attempt < maxAttempts && hasNotBegun(err) {
			continue
		}
		if err != nil {
			return Result{}, err
		}
		queued := time.Since(began)
		if !time.Now().Before(deadline) {
			return Result{}, p.tooLate(h, queued)
		}
		result, err := p.call(h, req, deadline)
		result.Queue = queued
		var crash *workerproc.CrashError
		switch {
		case !errors.As(err, &crash) || crash.Started:
			return result, err
		case h.lease != nil:
			return Result{}, &GoneError{Err: ErrLeaseExpired, Reason: "its worker is gone: " + crash.Exit.Reason, Exit: &crash.Exit}
		case h.session != nil:
			return Result{}, &GoneError{Err: ErrSessionLost, Reason: crash.Exit.Reason, Exit: &crash.Exit}
		case attempt >= maxAttempts:
			return result, err
		}
	}
}

// hasNotBegun reports whether err is the death of a worker that a call never reached.
func hasNotBegun(err error) bool {
	var crash *workerproc.CrashError
	return errors.As(err, &crash) && !crash.Started
}

// lookup finds the command that req names. As long as no worker has been ready any name may exist.
func (p *Pool) lookup(req Request) (workerproc.Command, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	commands := p.commandsForLocked(req)
	command, ok := commands[req.Command]
	if !ok && commands != nil {
		return command, ErrUnknownCommand
	}
	return command, nil
}

// held is the use of a worker for one call.
type held struct {
	m       *member
	lease   *lease      // nil unless on a lease
	stand   *member     // of a fresh call, the worker that stands by; else nil
	session *SessionRef // nil outside sessions
}

// hold takes the worker that req asks for.
func (p *Pool) hold(ctx context.Context, req Request, deadline time.Time) (held, error) {
	limit := min(orDefault(req.CheckoutTimeout, p.cfg.CheckoutTimeout), time.Until(deadline))
	switch {
	case req.LeaseID != "":
		l, err := p.holdLease(req.LeaseID)
		if err != nil {
			return held{}, err
		}
		h := held{m: l.m, lease: l}
		if l.m.session != nil {
			h.session = &SessionRef{ID: l.m.session.id, State: "resumed"}
		}
		return h, nil
	case req.SessionID != "":
		m, ref, err := p.acquireSession(ctx, sessionUse{id: req.SessionID, by: RequestRef{req.RequestID, req.Traceparent}, limit: limit})
		return held{m: m, session: ref}, err
	default:
		if !req.Fresh {
			m, err := p.acquire(ctx, false, req.Command, limit)
			return held{m: m}, err
		}
		stand, err := p.acquire(ctx, false, "", limit) // which does not run the call, so any will do
		if err != nil {
			return held{}, err
		}
		return p.holdFresh(ctx, stand, req.Command, deadline)
	}
}

// giveBack ends what hold began.
func (p *Pool) giveBack(h held) {
	switch {
	case h.lease != nil:
		p.unholdLease(h.lease)
	case h.stand != nil:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.endFreshLocked(h)
		p.leaveLocked()
	default:
		p.release(h.m)
	}
}

// giveBackUnused is giveBack for a call that was not sent.
func (p *Pool) giveBackUnused(h held) {
	if h.session != nil && h.session.State == "new" {
		p.mu.Lock()
		h.m.session.fresh = true // nobody has used it
		p.mu.Unlock()
	}
	p.giveBack(h)
}

// tooLate gives back a worker that came when the request's time was up.
func (p *Pool) tooLate(h held, queued time.Duration) error {
	p.giveBackUnused(h)
	p.mu.Lock()
	defer p.mu.Unlock()
	return &RefusedError{Err: ErrCheckoutTimeout, Detail: "timeout_ms had passed when a worker could begin",
		RetryAfter: p.retryAfterLocked(), Waited: queued, QueueLength: p.queue.len()}
}

// call sends the call to the worker that is held, and gives the worker back.
func (p *Pool) call(h held, req Request, deadline time.Time) (Result, error) {
	m := h.m
	call := &workerproc.Call{Command: req.Command, Args: req.Args, RequestID: req.RequestID, Traceparent: req.Traceparent, Deadline: deadline}
	if h.session != nil {
		call.SessionID, call.SessionState = h.session.ID, h.session.State
	}
	began := time.Now()
	p.mu.Lock()
	if m.state == StateStopping { // Close came first, and the hook of a session's end may run
		p.mu.Unlock()
		p.giveBack(h)
		return Result{}, &RefusedError{Err: ErrDraining, RetryAfter: time.Second}
	}
	m.used = m.used || h.lease != nil
	m.running = &RunningCall{RequestID: req.RequestID, Command: req.Command, Since: began}
	worker := m.worker
	p.mu.Unlock()

	reply, err := worker.Call(call)

	p.mu.Lock()
	run := time.Since(began)
	p.ranLocked(m)
	p.accountLocked(m, run, err)
	p.mu.Unlock()
	p.giveBack(h)
	if err != nil {
		err = &CallError{Worker: m.ref(), Command: req.Command, Err: err}
	}
	return Result{Result: reply.Result, Worker: m.ref(), Session: h.session, Run: run}, err
}

// ranLocked ends the running call of m in the books, if there is one.
func (p *Pool) ranLocked(m *member) {
	if m.running != nil {
		p.counts.busy += time.Since(m.running.Since)
		m.running = nil
	}
}

// accountLocked counts a call that has its answer.
func (p *Pool) accountLocked(m *member, run time.Duration, err error) {
	p.counts.execution(outcome(err), run)
	var failed *workerproc.CommandError
	if err == nil || errors.As(err, &failed) {
		m.calls++
		p.wearLocked(m, time.Now())
		if m.session != nil {
			m.session.calls++
		}
		p.provedLocked(m)
	}
}

// outcome names how a call ended, from a closed set.
func outcome(err error) string {
	var (
		failed   *workerproc.CommandError
		timeout  *workerproc.TimeoutError
		protocol *workerproc.ProtocolError
		large    *workerproc.TooLargeError
	)
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &failed) && failed.Started():
		return "app_error"
	case errors.As(err, &failed), errors.As(err, &large):
		return "invalid_args"
	case errors.As(err, &timeout):
		return "timeout"
	case errors.As(err, &protocol):
		return "protocol"
	default:
		return "crash"
	}
}
