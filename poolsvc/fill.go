package poolsvc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"charmer/workerproc"
)

// targetLocked is how many workers the pool should have now.
func (p *Pool) targetLocked() int {
	if !p.cfg.Lazy && !p.draining {
		return p.scale.size
	}
	held := 0
	for _, m := range p.members {
		if m.session == nil && m.worker != nil && m.state != StateStopping && !m.retiring {
			held++
		}
	}
	wanted := p.queue.len() - p.queue.leases + min(p.queue.leases, p.cfg.LeaseLimit-p.leased)
	return min(p.cfg.Workers, held+max(0, wanted-len(p.idle)))
}

// fillLocked starts as many workers as are missing. After failures it starts one at a time, and not before the backoff
// has passed; a pool that is lazy or draining starts one for each request that waits and may have it, and no more.
func (p *Pool) fillLocked() {
	if p.closed {
		return
	}
	p.watchQueueLocked()
	have, starting := 0, 0
	for _, m := range p.members {
		if m.session == nil && m.state != StateStopping && !m.retiring {
			have++
		}
		if m.session == nil && (m.state == StateStarting || m.state == StateStopping && m.reason == "") {
			starting++ // an end without a reason may yet turn out to be that of a start
		}
	}
	for target := p.targetLocked(); have < target; have++ {
		if p.starts.failures > 0 && (starting > 0 || time.Now().Before(p.starts.retryAt)) {
			return // the timer of the backoff, or the end of the probe, fills again
		}
		p.startLocked(nil)
		starting++
	}
}

// startLocked starts a worker, for the pool or for a session.
func (p *Pool) startLocked(owner *session) *member {
	p.lastID++
	m := &member{id: p.lastID, generation: p.current, session: owner, state: StateStarting, stage: stageQueued, spawnedAt: time.Now(), end: &Ended{}}
	if owner == nil {
		p.settleLocked(m)
	}
	m.ctx, m.cancel = context.WithCancel(p.ctx)
	p.members[m.id] = m
	p.wg.Go(func() { p.start(m) }) // ends when the worker is ready or dead
	return m
}

// start brings a worker up and hands it to its owner.
func (p *Pool) start(m *member) {
	defer m.cancel()
	worker, err := p.spawn(m)
	if err == nil && m.session != nil {
		err = p.startSession(m, worker)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if worker == nil {
		delete(p.members, m.id)
		switch {
		case err == errNotNow:
			p.giveUpLocked()
			return
		case m.session != nil && m.session.over: // nobody waits for it any more
			return
		}
		p.counts.startFailed(p.cfg.Zygote(m.generation).StartMethod())
		p.startFailedLocked(m, err)
		return
	}
	p.wg.Go(func() { p.watch(m) }) // ends with the process
	if err != nil {
		p.counts.startFailed(worker.StartMethod())
		reason := ExitSession
		if !worker.Healthy() {
			reason = "" // the hook has killed it, and the evidence will say how
		}
		p.stopLocked(m, reason)
		p.sessionFailedLocked(m.session, err)
		return
	}
	p.counts.started(worker)
	m.readyAt = time.Now()
	m.limits = p.newLimits(m.readyAt)
	p.learnLocked(worker.Commands())
	p.offerLocked(m)
	if m.session == nil {
		p.cfg.Log.Info("worker ready", "worker", m.id, "pid", m.pid, "ready_after_ms", worker.ReadyAfter().Milliseconds())
		p.fillLocked() // a probe that came up ends the caution
		p.retireLocked()
	} else if !m.session.over {
		p.counts.sessionsCreated++ // those that did not come up would neither end nor be lost
	}
}

// errNotNow means that a worker whose turn to start has come must not start after all.
var errNotNow = errors.New("another failed to start meanwhile")

// spawn runs the start of a process, as one of at most StartParallelism of its sort. A worker of the pool that waited for
// its turn while others failed gives way to the backoff: its end, or that of the one probe, fills again.
func (p *Pool) spawn(m *member) (Worker, error) {
	slots := p.poolSlots
	if m.session != nil {
		slots = p.ownSlots
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-m.ctx.Done():
		return nil, m.ctx.Err()
	}
	p.mu.Lock()
	if m.session == nil && p.starts.failures > 0 && (time.Now().Before(p.starts.retryAt) || p.probingLocked()) {
		p.mu.Unlock()
		return nil, errNotNow
	}
	m.stage, m.spawnedAt = "spawn", time.Now()
	renew := m.session == nil && p.starts.failures > 0 && !p.anyUpLocked()
	p.mu.Unlock()
	if renew {
		p.cfg.Renew(m.generation)
	}
	worker, err := p.cfg.Spawn(m.ctx, m.generation, m.id, func(pid int, stage string) {
		p.mu.Lock()
		m.pid, m.stage = pid, stage
		p.mu.Unlock()
		p.cfg.Log.Debug("worker starting", "worker", m.id, "pid", pid, "stage", stage)
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	m.worker, m.pid = worker, worker.PID()
	p.mu.Unlock()
	return worker, nil
}

// probingLocked reports whether a process of the pool is on its way up.
func (p *Pool) probingLocked() bool {
	for _, m := range p.members {
		if m.session == nil && m.state == StateStarting && m.stage != stageQueued {
			return true
		}
	}
	return false
}

// anyUpLocked reports whether a worker of the pool is up.
func (p *Pool) anyUpLocked() bool {
	for _, m := range p.members {
		if m.session == nil && m.worker != nil && m.state != StateStopping {
			return true
		}
	}
	return false
}

// learnLocked keeps what the app offers.
func (p *Pool) learnLocked(commands []workerproc.Command) {
	p.commands = make(map[string]workerproc.Command, len(commands))
	for _, c := range commands {
		p.commands[c.Name] = c
	}
}

// startFailedLocked deals with a worker that did not start, or died before its first use. That of a session fails the
// session; that of the pool plans the next attempt.
func (p *Pool) startFailedLocked(m *member, err error) {
	if p.closed {
		if m.session != nil {
			p.sessionFailedLocked(m.session, &RefusedError{Err: ErrDraining, RetryAfter: time.Second})
		}
		return
	}
	var failure *workerproc.StartError
	if !errors.As(err, &failure) {
		failure = &workerproc.StartError{Stage: "spawn", Detail: err.Error()}
	}
	log := p.cfg.Log.With("worker", m.id, "pid", m.pid, "stage", failure.Stage, "err", failure.Detail, "exit", failure.Exit.Reason)
	if last := p.starts.last; m.session != nil || last == nil || last.Detail != failure.Detail || last.Traceback != failure.Traceback {
		log = log.With("traceback", failure.Traceback, "output", failure.Exit.Output) // which are the same each time, else
	}
	if m.session != nil {
		log.Error("worker failed to start", "session", m.session.id)
		p.sessionFailedLocked(m.session, &RefusedError{Err: ErrCrashLooping, Detail: failure.Error(), RetryAfter: p.retryAfterLocked(), Start: failure})
		return
	}
	p.starts.last = failure
	p.starts.failures++
	p.starts.failedAt = time.Now()
	log.Error("worker failed to start", "failures", p.starts.failures, "retry_in_ms", p.backOffLocked().Milliseconds())
	p.giveUpLocked()
}

// giveUpLocked refuses those who wait, if that has become hopeless.
func (p *Pool) giveUpLocked() {
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
		p.starts.failures, p.starts.retryAt, p.starts.last = 0, time.Time{}, nil
		p.starts.backoff.Reset()
		p.fillLocked()
	}
}

// hopelessLocked reports whether no worker is up and none may be started yet. If each worker of the pool has died once,
// unused but after it was ready, that may be the work of somebody who kills, and the next ones may live.
func (p *Pool) hopelessLocked() bool {
	if p.starts.failures == 0 || !time.Now().Before(p.starts.retryAt) {
		return false
	}
	if p.starts.last.Stage == stageReady && p.starts.failures <= p.cfg.Workers {
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

// everReadyLocked reports whether any worker has been ready, ever: its READY told the commands.
func (p *Pool) everReadyLocked() bool { return p.commands != nil }

// watch waits for the death of a live worker and takes it out of everything it is part of.
func (p *Pool) watch(m *member) {
	<-m.worker.Done()
	exit := m.worker.Exit()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeIdleLocked(m)
	delete(p.members, m.id)
	running := m.running
	p.ranLocked(m) // the time of the call that it died in, of which its caller does not know yet
	stillborn := p.stillbornLocked(m, exit)
	p.setStateLocked(m, stateGone)
	reason := exitReason(m.reason, exit)
	p.counts.exits[reason]++
	m.endLocked(reason, exit)
	p.logExit(m, reason, exit, running)
	if m.lease != nil {
		p.endLeaseLocked(m.lease, fmt.Sprintf("its worker is gone: %s", exit.Reason), &exit)
		p.counts.leasesLost++
	}
	switch {
	case m.session != nil:
		p.loseSessionLocked(m.session, m.end, exit)
	case stillborn:
		p.startFailedLocked(m, &workerproc.StartError{Stage: stageReady, Detail: "died before its first answer: " + exit.Reason, Exit: exit})
	default:
		p.fillLocked()
		p.giveUpLocked() // the last worker has died while the backoff runs
	}
	p.replaceWornLocked() // the next one, if it was one
	p.offerIdleLocked()
}

// stillbornLocked reports whether the death of m is that of a start. It is if nobody had used m yet. Of a worker that came
// up after failed starts it also is if m died of its first call: those who wait take each such worker at once, and there
// would be no backoff.
func (p *Pool) stillbornLocked(m *member, exit workerproc.Exit) bool {
	if m.calls > 0 || m.reason != "" || time.Since(m.readyAt) >= m.trialLocked() {
		return false
	}
	probe := p.starts.failures > 0 && m.readyAt.After(p.starts.failedAt)
	return m.uses == 0 || (probe && exit.Cause == workerproc.CauseCrash)
}

// exitReason maps evidence to the closed set. A reason that the pool decided on stands.
func exitReason(decided ExitReason, exit workerproc.Exit) ExitReason {
	if decided != "" {
		return decided
	}
	switch {
	case exit.Cause == workerproc.CauseTimeout:
		return ExitTimeout
	case exit.Cause == workerproc.CauseProtocol:
		return ExitProtocol
	case exit.Cause == workerproc.CauseExiting:
		return ExitExiting
	case exit.OOMSuspected:
		return ExitOOM
	case exit.Signal != 0:
		return ExitSignal
	default:
		return ExitCrash
	}
}

// logExit reports a death: expected ones briefly, others with the last output.
func (p *Pool) logExit(m *member, reason ExitReason, exit workerproc.Exit, running *RunningCall) {
	log := p.cfg.Log.With("worker", m.id, "pid", m.pid, "reason", string(reason), "exit", exit.Reason)
	if running != nil {
		log = log.With("command", running.Command, "request_id", running.RequestID)
	}
	if m.session != nil {
		log = log.With("session", m.session.id)
	}
	switch reason {
	case ExitRecycle, ExitMaxRequests, ExitMaxAge, ExitMaxMemory, ExitIdle, ExitSession, ExitShutdown, ExitExiting:
		log.Info("worker stopped", "forced", exit.Forced)
	default:
		log.Warn("worker died", "output", exit.Output)
	}
}
