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
	held := p.vacant
	for _, m := range p.members {
		if m.session == nil && m.worker != nil && m.state != StateStopping && !m.retiring {
			held++
		}
	}
	wanted := p.queue.len() - p.queue.leases + min(p.queue.leases, p.cfg.LeaseLimit-p.leased)
	idle := 0 // that fit whoever waits
	for _, m := range p.idle {
		if !m.retiring && m.generation == p.current {
			idle++
		}
	}
	return min(p.cfg.Workers, held+max(0, wanted-idle))
}

// fillLocked starts as many workers as are missing. After failures it starts one at a time, and not before the backoff
// has passed; a pool that is lazy or draining starts one for each request that waits and may have it, and no more.
func (p *Pool) fillLocked() {
	if p.closed {
		return
	}
	p.watchQueueLocked()
	p.fillFromSparesLocked()
	c := p.censusLocked()
	for target := p.targetLocked(); c.have < target && p.mayStartLocked(c); c.have++ {
		p.startLocked(nil)
		c.starting++
		c.attempts++
	}
	p.fillSparesLocked(c)
}

// census counts workers of the pool.
type census struct {
	have     int // places: of those that are not to leave, and of fresh calls whose stand-by has died
	starting int
	proving  int // that came up after others failed, which is not forgotten yet
	attempts int // whose start is not over, spares included
}

func (p *Pool) censusLocked() census {
	c := census{have: p.vacant}
	for m := range p.everyoneLocked() {
		if m.pooled() && m.state != StateStopping && !m.retiring {
			c.have++
		}
		if m.pooled() && m.state == StateStarting {
			c.starting++
		}
		if p.starts.failures > 0 && m.pooled() && m.readyAt.After(p.starts.failedAt) {
			c.proving++
		}
		if !m.owned() && (m.state == StateStarting || m.state == StateStopping && m.reason == "") {
			c.attempts++ // an end without a reason may yet turn out to be that of a start
		}
	}
	return c
}

// mayStartLocked reports whether the backoff allows one start more. Else its timer, or the end of the probe, fills again.
func (p *Pool) mayStartLocked(c census) bool {
	return p.starts.failures == 0 || c.attempts == 0 && !time.Now().Before(p.starts.retryAt)
}

// startLocked starts a worker, for the pool or for a session.
func (p *Pool) startLocked(owner *session) *member {
	slots := p.poolSlots
	if owner != nil {
		slots = p.ownSlots
	}
	return p.launchLocked(&member{session: owner, slots: slots}, p.members)
}

// launchLocked begins to start m, one of those among.
func (p *Pool) launchLocked(m *member, among map[uint64]*member) *member {
	p.lastID++
	m.id, m.generation, m.commands, m.state, m.stage = p.lastID, p.current, p.commands, StateStarting, stageQueued
	m.spawnedAt, m.end = time.Now(), &Ended{}
	if m.pooled() {
		p.settleLocked(m)
	}
	m.ctx, m.cancel = context.WithCancel(p.ctx)
	among[m.id] = m
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
	defer p.retireGenerationsLocked()
	if worker == nil {
		p.forgetLocked(m)
		switch {
		case m.first:
			p.rollBackLocked(m, err)
			return
		case err == errNotNow:
			p.giveUpLocked()
			return
		case !m.owned() && m.generation < p.current: // given up, or its failure no longer matters
			p.fillLocked()
			p.rolledLocked()
			return
		case m.session != nil && m.session.over, m.freshCall != nil && m.freshCall.queue.len() == 0: // nobody waits for it any more
			return
		}
		p.counts.startFailed(p.cfg.Zygote(m.generation).StartMethod())
		p.startFailedLocked(m, err)
		return
	}
	p.wg.Go(func() { p.watch(m) }) // ends with the process
	if err != nil {
		p.counts.startFailed(worker.StartMethod())
		p.begunLocked(m, err)
		return
	}
	p.upLocked(m)
}

// upLocked hands m, whose start is over, to its owner.
func (p *Pool) upLocked(m *member) {
	p.counts.started(m.worker)
	if m.session == nil { // else it is ready when the session is
		m.readyAt = time.Now()
		m.limits = p.newLimits(m.readyAt)
	}
	if m.first && !p.switchLocked(m) {
		return
	}
	p.learnLocked(m)
	p.learnMethodLocked(m.worker)
	if m.session != nil {
		p.begunLocked(m, nil)
	} else {
		p.offerLocked(m)
	}
	if m.owned() {
		p.fillLocked()   // a lazy pool that was ready for the first time has spares now
		p.giveUpLocked() // or there may be fewer
		return
	}
	p.cfg.Log.Info("worker ready", "worker", m.id, "pid", m.pid, "ready_after_ms", m.worker.ReadyAfter().Milliseconds())
	p.fillLocked() // a probe that came up ends the caution
	p.retireLocked()
	p.rollLocked()
}

// errNotNow means that a worker whose turn to start has come must not start after all.
var errNotNow = errors.New("another failed to start meanwhile")

// spawn runs the start of a process, as one of at most StartParallelism of its sort, or as the first of its generation. A
// worker of the pool that waited for its turn while others failed gives way to the backoff: its end, or that of the one
// probe, fills again.
func (p *Pool) spawn(m *member) (Worker, error) {
	if !m.first {
		select {
		case m.slots <- struct{}{}:
			defer func() { <-m.slots }()
		case <-m.ctx.Done():
			return nil, m.ctx.Err()
		}
	}
	p.mu.Lock()
	if !m.owned() && !m.first && p.starts.failures > 0 && (time.Now().Before(p.starts.retryAt) || p.probingLocked()) {
		p.forgetLocked(m) // nobody may take it as a spare now
		p.mu.Unlock()
		return nil, errNotNow
	}
	m.stage, m.spawnedAt = "spawn", time.Now()
	generation := m.generation // which a reload could change as long as it was queued
	renew := !m.owned() && !m.first && p.starts.failures > 0 && !p.anyUpLocked()
	p.mu.Unlock()
	if renew {
		p.cfg.Renew(generation)
	}
	worker, err := p.cfg.Spawn(m.ctx, generation, m.id, func(pid int, stage string) {
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
	for m := range p.everyoneLocked() {
		if !m.owned() && m.state == StateStarting && m.stage != stageQueued {
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

// learnLocked keeps what the app offers in m, and in the pool if m is of the current generation.
func (p *Pool) learnLocked(m *member) {
	commands := m.worker.Commands()
	m.commands = make(map[string]workerproc.Command, len(commands))
	for _, c := range commands {
		m.commands[c.Name] = c
	}
	if m.generation == p.current {
		p.commands = m.commands
	}
}

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

// everReadyLocked reports whether any worker has been ready, ever: its READY told the commands.
func (p *Pool) everReadyLocked() bool { return p.commands != nil }

// watch waits for the death of a live worker and takes it out of everything it is part of.
func (p *Pool) watch(m *member) {
	<-m.worker.Done()
	exit := m.worker.Exit()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeIdleLocked(m)
	p.forgetLocked(m)
	running := m.running
	p.ranLocked(m) // the time of the call that it died in, of which its caller does not know yet

	if m.standsBy && !m.retiring { // else its place has been filled
		p.vacant++
	}
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
	case m.session != nil && m.readyAt.IsZero():
		// Its start hook has failed, or is about to, and that says more.
	case m.session != nil:
		p.loseSessionLocked(m.session, m.end, exit)
	case m.freshCall != nil:
		m.freshCall.queue.fail(&CallError{Worker: m.ref(), Command: m.freshCall.command, Err: &workerproc.CrashError{Exit: exit}})
	case stillborn:
		p.startFailedLocked(m, &workerproc.StartError{Stage: stageReady, Detail: "died before its first answer: " + exit.Reason, Exit: exit})
	default:
		p.fillLocked()
		p.giveUpLocked() // the last worker has died while the backoff runs
	}
	p.replaceWornLocked() // the next one, if it was one
	p.offerIdleLocked()
	p.rollLocked()
	p.rolledLocked()
}

// stillbornLocked reports whether the death of m is that of a start of the current code. It is if nobody had used m yet. Of
// a worker that came up after failed starts it also is if m died of its first call: those who wait take each such worker at
// once, and there would be no backoff.
func (p *Pool) stillbornLocked(m *member, exit workerproc.Exit) bool {
	if m.generation < p.current || m.calls > 0 || m.reason != "" || time.Since(m.readyAt) >= m.trialLocked() {
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
	case ExitFresh:
		log.Debug("worker stopped", "forced", exit.Forced) // one for each such call
	case ExitRecycle, ExitReload, ExitMaxRequests, ExitMaxAge, ExitMaxMemory, ExitIdle, ExitSession, ExitLease, ExitSpare, ExitShutdown, ExitExiting:
		log.Info("worker stopped", "forced", exit.Forced)
	default:
		log.Warn("worker died", "output", exit.Output)
	}
}
