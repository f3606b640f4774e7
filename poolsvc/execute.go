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
	Finish          bool           // go on when ctx ends
	Timeout         *time.Duration // of wait and run together
	MaxTimeout      *time.Duration // the same, which can only shorten it
	CheckoutTimeout *time.Duration // of the wait
	RequestID       string
	Traceparent     string

	// Events takes what the call says before its answer, for a reader of its own, and Began is told where it runs, when it has been
	// sent. With Stream the items of the command come one by one, in Events, and it must be one that yields them. Both may be nil.
	Stream bool
	Events *workerproc.Feed
	Began  func(WorkerRef, *SessionRef)

	newest bool // only a worker of the current generation will do, as the arguments do not fit an older one
}

// Result is the answer of a command that returned.
type Result struct {
	Result  []byte // one JSON text
	Worker  WorkerRef
	Session *SessionRef // nil outside sessions
	Queue   time.Duration
	Run     time.Duration
}

// Execute runs a command and returns its one answer. The error is ErrUnknownCommand, ErrNotShared, ErrNotStreamable, ErrLeaseNotFound
// or ErrClientGone; a *CommandError if the arguments do not fit; a *RefusedError, a *GoneError, or a *CancelledError with StepDequeued, with Python not started; or a *CallError. A
// call that certainly did not begin is tried on another worker; one that may have begun never is. The end of ctx ends the call.
func (p *Pool) Execute(ctx context.Context, req Request) (_ Result, err error) {
	ctx, x, command, err := p.beginExecution(ctx, req)
	if err != nil {
		return Result{}, err
	}
	defer func() { p.endExecution(x, err) }()
	if err := command.check(req.Args); err != nil {
		return Result{}, p.refuseArgs(err)
	}
	deadline := x.deadline
	req.Fresh = req.Fresh || command.Fresh()
	if req.Fresh && (req.LeaseID != "" || req.SessionID != "") {
		return Result{}, ErrNotShared
	}
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
		if command.Name == "" && req.Stream { // of which nothing was known before
			if _, err := p.lookup(req); err != nil {
				p.giveBackUnused(h)
				return Result{}, err
			}
		}
		if h, err = p.holdFitting(ctx, h, &req, command, x); err != nil {
			return Result{}, err
		}
		result, err := p.callInTime(ctx, h, req, x)
		for err == workerproc.ErrWithdrawn {
			if h, err = p.holdAgain(ctx, h, req, x); err == nil {
				h, err = p.holdFitting(ctx, h, &req, command, x)
			}
			if err != nil {
				return Result{}, err
			}
			result, err = p.callInTime(ctx, h, req, x)
		}
		crash, crashed := errors.AsType[*workerproc.CrashError](err)
		switch {
		case !crashed || crash.Started:
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
	crash, ok := errors.AsType[*workerproc.CrashError](err)
	return ok && !crash.Started
}

// lookup finds the command that req names. As long as no worker has been ready any name may exist.
func (p *Pool) lookup(req Request) (command, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lookupLocked(req)
}

func (p *Pool) lookupLocked(req Request) (command, error) {
	offers := p.offersForLocked(req)
	found := offers.find(req.Command)
	switch {
	case offers == nil:
		return found, nil
	case found.Name == "":
		return found, ErrUnknownCommand
	case req.Stream && !found.Stream:
		return found, ErrNotStreamable
	default:
		return found, nil
	}
}

// held is the use of a worker for one call.
type held struct {
	m       *member
	lease   *lease      // nil unless on a lease
	stand   *member     // of a fresh call, the worker that stands by; else nil
	session *SessionRef // nil outside sessions
	use     use         // of m
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
			g, err := p.acquire(ctx, want{command: req.Command, ahead: p.mayGoAhead(req, limit), newest: req.newest}, limit)
			return held{m: g.m, use: g.use}, err
		}
		stand, err := p.acquire(ctx, want{}, limit) // which does not run the call, so any will do
		if err != nil {
			return held{}, err
		}
		return p.holdFresh(ctx, stand.m, req.Command, deadline)
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
		p.release(h.m, h.use)
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
	return p.neverBegan(queued)
}

// neverBegan refuses a request whose time was up before Python began with it.
func (p *Pool) neverBegan(queued time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &RefusedError{Err: ErrCheckoutTimeout, Detail: "timeout_ms had passed when a worker could begin",
		RetryAfter: p.retryAfterLocked(), Waited: queued, QueueLength: p.queue.len()}
}

// callInTime is call, unless the request's time is up.
func (p *Pool) callInTime(ctx context.Context, h held, req Request, x *execution) (Result, error) {
	now := time.Now()
	queued := now.Sub(x.since)
	if !now.Before(x.deadline) {
		return Result{}, p.tooLate(h, queued)
	}
	result, err := p.call(ctx, h, req, x)
	result.Queue += queued
	return result, err
}

// call sends the call to the worker that is held, and gives the worker back, unless the error is ErrWithdrawn.
func (p *Pool) call(ctx context.Context, h held, req Request, x *execution) (Result, error) {
	m := h.m
	call := &workerproc.Call{Command: req.Command, Args: req.Args, RequestID: req.RequestID, Traceparent: req.Traceparent, Deadline: x.deadline,
		Shared: h.use.shared, Ahead: h.use.inLine, Stream: req.Stream, Events: req.Events, Progress: func(said workerproc.Progress) { p.progress(x, said) }}
	if h.session != nil {
		call.SessionID, call.SessionState = h.session.ID, h.session.State
	}
	p.mu.Lock()
	if m.state == StateStopping { // Close came first, and the hook of a session's end may run
		p.mu.Unlock()
		p.giveBack(h)
		return Result{}, &RefusedError{Err: ErrDraining, RetryAfter: time.Second}
	}
	m.used = m.used || h.lease != nil
	p.runsLocked(m, x)
	call.Awake = p.awakeLocked(req.Command)
	worker := m.worker
	p.mu.Unlock()
	if req.Began != nil {
		req.Began(m.ref(), h.session)
	}

	reply, err := worker.Call(ctx, call)

	ended := time.Now()
	p.mu.Lock()
	p.ranLocked(m, x)
	if err == workerproc.ErrWithdrawn {
		x.m, x.began = nil, time.Time{}
		p.mu.Unlock()
		return Result{}, err
	}
	m.answers++
	m.stuck = false
	run := ended.Sub(x.began) - reply.Waited
	p.accountLocked(m, x, run, ended, err)
	p.mu.Unlock()
	p.giveBack(h)
	if timeout, ok := errors.AsType[*workerproc.TimeoutError](err); ok && timeout.Step == workerproc.StepCancelled && !timeout.Started {
		return Result{}, p.neverBegan(time.Since(x.since))
	}
	if err != nil {
		err = &CallError{Worker: m.ref(), Command: req.Command, Err: err}
	}
	return Result{Result: reply.Result, Worker: m.ref(), Session: h.session, Queue: reply.Waited, Run: run}, err
}

// progress notes how far a call is.
func (p *Pool) progress(x *execution, said workerproc.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x.progress = said
}

// accountLocked counts a call that has its answer, now.
func (p *Pool) accountLocked(m *member, x *execution, run time.Duration, now time.Time, err error) {
	p.counts.execution(outcome(err), run)
	if err == nil || answered(err) {
		m.calls++
		p.paceLocked(m, x.command, run)
		p.wearLocked(m, now)
		if m.session != nil {
			m.session.calls++
		}
		p.provedLocked(m)
	}
}

// answered reports whether err is what a worker said that is healthy.
func answered(err error) bool {
	return is[*workerproc.CommandError](err) || stepOf(err) == workerproc.StepCancelled
}

// outcome names how a call ended, from a closed set.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	failed, ok := errors.AsType[*workerproc.CommandError](err)
	switch {
	case ok && failed.Started():
		return "app_error"
	case ok, is[*workerproc.TooLargeError](err):
		return "invalid_args"
	case is[*workerproc.TimeoutError](err):
		return "timeout"
	case is[*workerproc.CancelledError](err):
		return "cancelled"
	case is[*workerproc.ProtocolError](err):
		return "protocol"
	default:
		return "crash"
	}
}

// is reports whether there is an E in err.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
