package poolsvc

import (
	"errors"
	"time"

	"charmer/workerproc"
)

// startFailedLocked deals with a worker that did not start, or died before its first use. That of a session fails the
// session, that of a fresh call the call; that of the pool, or a spare, plans the next attempt.
func (p *Pool) startFailedLocked(m *member, err error) {
	if p.closed {
		if m.session != nil {
			p.sessionFailedLocked(m.session, &RefusedError{Err: ErrDraining, RetryAfter: time.Second})
		}
		return // Close has answered a fresh call
	}
	failure := startError(err)
	log := p.cfg.Log.With("worker", m.id, "pid", m.pid, "stage", failure.Stage, "err", failure.Detail, "exit", failure.Exit.Reason)
	if last := p.starts.last; m.owned() || last == nil || last.Detail != failure.Detail || last.Traceback != failure.Traceback {
		log = log.With("traceback", failure.Traceback, "output", failure.Exit.Output) // which are the same each time, else
	}
	if m.session != nil {
		log.Error("worker failed to start", "session", m.session.id)
		p.sessionFailedLocked(m.session, &RefusedError{Err: ErrCrashLooping, Detail: failure.Error(), RetryAfter: p.retryAfterLocked(), Start: failure})
		return
	}
	if m.freshCall != nil {
		log.Error("worker failed to start", "command", m.freshCall.command)
		p.freshFailedLocked(m.freshCall, failure)
		return
	}
	p.starts.last = failure
	p.starts.failures++
	p.starts.failedAt = time.Now()
	log.Error("worker failed to start", "failures", p.starts.failures, "retry_in_ms", p.backOffLocked().Milliseconds())
	p.giveUpLocked()
}

// giveUpLocked refuses those who wait, if that has become hopeless: there is not even a spare.
func (p *Pool) giveUpLocked() {
	p.fillFromSparesLocked()
	if p.hopelessLocked() {
		p.queue.fail(p.crashLoopingLocked())
	}
}

// backOffLocked returns the time until the next attempt. Of workers that fail together, the first sets it.
func (p *Pool) backOffLocked() time.Duration {
	if left := time.Until(p.starts.retryAt); left > 0 {
		return left
	}
	delay := p.starts.backoff.NextBackOff()
	p.starts.retryAt = time.Now().Add(delay)
	p.starts.retry = time.AfterFunc(delay, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.fillLocked()
	})
	return delay
}

// provedLocked forgets failed starts, because m has lived, if m was started after them: older workers prove nothing.
func (p *Pool) provedLocked(m *member) {
	if p.starts.failures > 0 && m.readyAt.After(p.starts.failedAt) {
		p.forgetFailuresLocked()
		p.fillLocked()
		p.retireLocked()
		p.rollLocked()
	}
}

// forgetFailuresLocked ends the backoff.
func (p *Pool) forgetFailuresLocked() {
	p.starts.failures, p.starts.retryAt, p.starts.last = 0, time.Time{}, nil
	p.starts.backoff.Reset()
}

// hopelessLocked reports whether no worker is up and none may be started yet. If each worker of the pool has died once,
// unused but after it was ready, that may be the work of somebody who kills, and the next ones may live.
func (p *Pool) hopelessLocked() bool {
	if p.starts.failures == 0 || !time.Now().Before(p.starts.retryAt) {
		return false
	}
	if p.starts.last.Stage == stageReady && p.starts.failures <= p.cfg.Workers+p.spares {
		return false
	}
	for _, m := range p.members {
		if m.session == nil && m.state != StateStopping {
			return false
		}
	}
	return true
}

func (p *Pool) crashLoopingLocked() error {
	refused := &RefusedError{Err: ErrCrashLooping, RetryAfter: max(time.Second, time.Until(p.starts.retryAt)), Start: p.starts.last}
	if p.starts.last != nil {
		refused.Detail = p.starts.last.Error()
	}
	return refused
}

// startError returns err as the evidence of a start.
func startError(err error) *workerproc.StartError {
	var failure *workerproc.StartError
	if !errors.As(err, &failure) {
		failure = &workerproc.StartError{Stage: "spawn", Detail: err.Error()}
	}
	return failure
}
