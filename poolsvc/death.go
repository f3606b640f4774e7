package poolsvc

import (
	"fmt"
	"time"

	"charmer/workerproc"
)

// watch waits for the death of a live worker and takes it out of everything it is part of.
func (p *Pool) watch(m *member) {
	<-m.worker.Done()
	exit := m.worker.Exit()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeIdleLocked(m)
	p.forgetLocked(m)
	running := m.runningLocked()
	for len(m.running) > 0 {
		p.ranLocked(m, m.running[0]) // the time of the calls that it died in, of which their callers do not know yet
	}

	if m.standsBy && !m.retiring { // else its place has been filled
		p.vacant++
	}
	p.missedLocked(m)
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
	case exit.Cause == workerproc.CauseCancelled:
		return ExitCancelled
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
func (p *Pool) logExit(m *member, reason ExitReason, exit workerproc.Exit, running []RunningCall) {
	log := p.cfg.Log.With("worker", m.id, "pid", m.pid, "reason", string(reason), "exit", exit.Reason)
	for _, call := range running {
		log = log.With("command", call.Command, "request_id", call.RequestID)
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
