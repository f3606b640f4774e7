package poolsvc

import (
	"context"
	"time"

	"charmer/workerproc"
)

// A fresh call has a worker of its own, a spare or a new one, which is stopped after it. It is bounded like any other:
// it waits in the queue of the pool, and while it runs it holds the place of the pooled worker that it was given. That
// worker stands by: it runs nothing meanwhile, and goes back as it came.

// freshCall is the owner of the worker of a fresh call. Pool.mu guards its queue.
type freshCall struct {
	command string
	queue   queue // the call, while it waits for the worker
}

// isolate turns the hold of a call into that of a fresh one, if its command, of which nothing was known before a worker
// was ready, asks for that.
func (p *Pool) isolate(ctx context.Context, h held, req Request, deadline time.Time) (held, error) {
	command, _ := p.lookup(req) // if it is still unknown, the worker will say so
	switch {
	case !command.Fresh() || h.stand != nil:
		return h, nil
	case h.session != nil || h.lease != nil:
		p.giveBackUnused(h)
		return held{}, ErrNotShared
	default:
		return p.holdFresh(ctx, h.m, req.Command, deadline)
	}
}

// holdFresh finds the worker of a fresh call that has the place of stand. The error is a *RefusedError, a *CallError if
// either of the workers died meanwhile, or ErrClientGone; the place has been given back then.
func (p *Pool) holdFresh(ctx context.Context, stand *member, command string, deadline time.Time) (held, error) {
	p.mu.Lock()
	if stand.state == stateGone { // and its place has been filled
		exit := stand.worker.Exit()
		p.leaveLocked()
		p.mu.Unlock()
		return held{}, &CallError{Worker: stand.ref(), Command: command, Err: &workerproc.CrashError{Exit: exit}}
	}
	stand.uses-- // it will not have been used
	stand.standsBy = true
	h := held{stand: stand}
	if p.closed {
		p.mu.Unlock()
		p.giveBack(h)
		return held{}, &RefusedError{Err: ErrDraining, RetryAfter: time.Second}
	}
	owner := &freshCall{command: command}
	h.m = p.giveFreshLocked(owner)
	if h.m.state == StateBusy {
		p.mu.Unlock()
		return h, nil
	}
	w := owner.queue.push(ctx, want{command: command})
	p.mu.Unlock()

	_, err := p.await(ctx, w, time.Until(deadline))
	if err == nil {
		return h, nil
	}
	p.mu.Lock()
	if err == ErrCheckoutTimeout {
		err = &RefusedError{Err: err, Detail: "the worker of the call's own was still starting", RetryAfter: p.retryAfterLocked()}
	}
	p.mu.Unlock()
	p.giveBack(h)
	return held{}, err
}

// giveFreshLocked finds a worker for a fresh call: a spare, or a new one. It is busy if it is up.
func (p *Pool) giveFreshLocked(owner *freshCall) *member {
	m := p.takeSpareLocked()
	if m == nil {
		return p.launchLocked(&member{freshCall: owner, slots: p.ownSlots}, p.aside)
	}
	m.freshCall = owner
	p.aside[m.id] = m
	if m.worker != nil {
		p.handOutLocked(m, false)
	}
	p.fillLocked() // with the next spare
	return m
}

// offerFreshLocked gives a fresh worker to the call that waits for it. When none does, it has done its work.
func (p *Pool) offerFreshLocked(m *member) {
	if w := m.freshCall.queue.pop(true, nil); w != nil {
		p.handOutLocked(m, false)
		w.granted <- grant{m: m}
		return
	}
	p.stopLocked(m, ExitFresh)
}

// endFreshLocked ends the use of a fresh worker, which may not be there, and of the place that its call had.
func (p *Pool) endFreshLocked(h held) {
	switch {
	case h.m == nil:
	case h.m.worker == nil:
		h.m.cancel()
	default:
		p.offerLocked(h.m) // to nobody
	}
	h.stand.standsBy = false
	if h.stand.state == stateGone && !h.stand.retiring {
		p.vacant--
		p.fillLocked()
	}
	p.offerLocked(h.stand)
}

// freshFailedLocked answers a fresh call whose worker did not start.
func (p *Pool) freshFailedLocked(c *freshCall, failure *workerproc.StartError) {
	c.queue.fail(&RefusedError{Err: ErrCrashLooping, Detail: failure.Error(), RetryAfter: p.retryAfterLocked(), Start: failure})
}
