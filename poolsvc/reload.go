package poolsvc

import (
	"context"
	"errors"
	"slices"
	"time"

	"charmer/workerproc"
)

// reloadState is what the pool knows of its reloads. Pool.mu guards it.
type reloadState struct {
	tried   int       // the last generation that was begun
	running *reload   // whose first worker starts now, or nil
	last    *reload   // that has ended, or nil
	rolling bool      // workers of older generations are left in the pool
	since   time.Time // of the switch
	old     []int     // generations that are not current any more, and may still have starts under way
}

// reload is one attempt to bring up a new generation.
type reload struct {
	generation, previous int
	began                time.Time
	first                *member
	done                 chan struct{} // closed when the first worker is ready or dead

	// Set before done is closed.
	result ReloadResult
	err    error
	ended  time.Time
}

// ReloadResult describes a reload whose first worker is ready.
type ReloadResult struct {
	Generation, Previous int
	Remaining            int           // workers of the pool that run older code, and are being replaced
	Took                 time.Duration // until the first worker was ready
}

// ReloadError means that the first worker of a new generation did not start. The pool goes on as it was.
type ReloadError struct {
	Generation int // that was tried; it is not tried again
	Start      *workerproc.StartError
}

func (e *ReloadError) Error() string { return "reload: " + e.Start.Error() }
func (e *ReloadError) Unwrap() error { return e.Start }

// Reload starts one worker of a new generation beside the pool, and waits until it is ready. From then on only workers of
// that generation are started, and those of the pool that are older are replaced in the background, as by Recycle: calls,
// leases and sessions that have a worker keep it. The error is a *ReloadError, ErrClientGone if ctx ends, which the reload
// outlives, or a *RefusedError: ErrReloadRunning while another waits for its first worker, or ErrDraining.
func (p *Pool) Reload(ctx context.Context) (ReloadResult, error) {
	p.mu.Lock()
	r, err := p.beginReloadLocked()
	p.mu.Unlock()
	if err != nil {
		return ReloadResult{}, err
	}
	return r.await(ctx)
}

// ReloadNext is Reload, but begins after a reload that waits for its first worker now.
func (p *Pool) ReloadNext(ctx context.Context) (ReloadResult, error) {
	for {
		p.mu.Lock()
		r, err := p.beginReloadLocked()
		running := p.reload.running
		p.mu.Unlock()
		if err == nil {
			return r.await(ctx)
		}
		if !errors.Is(err, ErrReloadRunning) {
			return ReloadResult{}, err
		}
		if _, err := running.await(ctx); err == ErrClientGone {
			return ReloadResult{}, err
		}
	}
}

func (r *reload) await(ctx context.Context) (ReloadResult, error) {
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		return ReloadResult{}, ErrClientGone
	}
}

func (p *Pool) beginReloadLocked() (*reload, error) {
	switch {
	case p.draining:
		return nil, &RefusedError{Err: ErrDraining, RetryAfter: p.retryAfterLocked()}
	case p.reload.running != nil:
		return nil, &RefusedError{Err: ErrReloadRunning, RetryAfter: time.Second}
	}
	p.reload.tried++
	m := &member{generation: p.reload.tried, first: true}
	p.beginStartLocked(m)
	r := &reload{generation: m.generation, previous: p.current, began: time.Now(), first: m, done: make(chan struct{})}
	p.reload.running = r
	p.cfg.Log.Info("reloading", "generation", r.generation, "worker", m.id)
	return r, nil
}

// endReloadLocked answers those who wait for the reload that runs.
func (p *Pool) endReloadLocked(err error) {
	r := p.reload.running
	p.reload.running = nil
	r.ended, r.err = time.Now(), err
	var failed *ReloadError
	if err == nil || errors.As(err, &failed) {
		p.reload.last = r
		p.counts.reloads[reloadResult(err)]++
	}
	close(r.done)
}

func reloadResult(err error) string {
	if err == nil {
		return "ok"
	}
	return "failed"
}

// rollBackLocked ends the reload of m, which did not start.
func (p *Pool) rollBackLocked(m *member, err error) {
	p.reload.old = append(p.reload.old, m.generation)
	if p.closed {
		p.endReloadLocked(&RefusedError{Err: ErrDraining, RetryAfter: time.Second})
		return
	}
	failure := startError(err)
	p.counts.startFailed(p.cfg.Zygote(m.generation).StartMethod())
	p.cfg.Log.Error("reload failed", "generation", m.generation, "worker", m.id, "pid", m.pid, "stage", failure.Stage, "err", failure.Detail,
		"exit", failure.Exit.Reason, "traceback", failure.Traceback, "output", failure.Exit.Output)
	p.endReloadLocked(&ReloadError{Generation: m.generation, Start: failure})
}

// switchLocked makes the generation of m, its first worker, the current one, with m as a worker of the pool. If the pool is
// about to end it stops m instead and returns false.
func (p *Pool) switchLocked(m *member) bool {
	p.members[m.id] = m
	if p.draining {
		p.reload.old = append(p.reload.old, m.generation)
		p.endReloadLocked(&RefusedError{Err: ErrDraining, RetryAfter: time.Second})
		p.stopLocked(m, ExitShutdown)
		return false
	}
	p.reload.old = append(p.reload.old, p.current)
	p.current = m.generation
	p.paces = map[string]*pace{}
	p.forgetFailuresLocked() // they were the old code's
	for other := range p.everyoneLocked() {
		if other != m {
			p.outdateLocked(other)
		}
	}
	p.reload.rolling, p.reload.since = true, time.Now()
	r := p.reload.running
	r.result = ReloadResult{Generation: r.generation, Previous: r.previous, Remaining: p.outdatedLocked(), Took: time.Since(r.began)}
	p.cfg.Log.Info("reloaded", "generation", r.generation, "previous", r.previous, "remaining", r.result.Remaining,
		"took_ms", r.result.Took.Milliseconds())
	p.endReloadLocked(nil)
	p.replaceWornLocked()
	p.settleLocked(m)
	p.rolledLocked()
	return true
}

// outdateLocked does to m what newer code means for it. A worker of the pool is to be replaced, and a spare or one that
// starts stops at once; the start of a session's, or of a fresh call's, that has not had its turn starts the new code instead.
func (p *Pool) outdateLocked(m *member) {
	switch {
	case m.owned() && m.stage == stageQueued:
		m.generation, m.offers = p.current, nil
	case m.owned():
	case m.worker == nil:
		m.retiring = true
		m.cancel()
	case m.spare:
		p.stopLocked(m, ExitReload)
	case !m.retiring || m.worn != "":
		m.worn = ExitReload
	}
}

// outdatedLocked counts the workers of the pool that run older code, those that are stopping included.
func (p *Pool) outdatedLocked() int {
	n := 0
	for _, m := range p.members {
		if m.pooled() && m.generation < p.current {
			n++
		}
	}
	return n
}

// rollLocked goes on with the replacement of workers of older generations.
func (p *Pool) rollLocked() {
	if !p.reload.rolling {
		return
	}
	for _, m := range slices.Clone(p.idle) {
		p.swapLocked(m)
	}
	p.retireLocked()
	p.replaceWornLocked()
}

// swapLocked has m, which is free, stop in place of another worker with old code that is to stop and is in a call: a long
// one would hold up all others.
func (p *Pool) swapLocked(m *member) {
	if m.worn != ExitReload || m.retiring {
		return
	}
	for _, other := range p.members {
		if other.retiring && other.worn == ExitReload && other.state == StateBusy {
			other.retiring, m.retiring = false, true
			p.resettleLocked(other)
			return
		}
	}
}

// lateness puts worn workers in order: those with old code begin with the ones that are free.
func (m *member) lateness() int {
	if m.worn == ExitReload && m.state != StateIdle {
		return 1
	}
	return 0
}

// rolledLocked notices that no worker of an older generation is left in the pool.
func (p *Pool) rolledLocked() {
	if p.reload.rolling && p.outdatedLocked() == 0 {
		p.reload.rolling = false
		p.cfg.Log.Info("all workers are of the new generation", "generation", p.current, "took_ms", time.Since(p.reload.since).Milliseconds())
	}
}

// retireGenerationsLocked gives up the generations of which nothing starts any more.
func (p *Pool) retireGenerationsLocked() {
	if p.closed {
		return
	}
	kept := p.reload.old[:0]
	for _, generation := range p.reload.old {
		if p.startingLocked(generation) {
			kept = append(kept, generation)
		} else {
			p.wg.Go(func() { p.cfg.Retire(generation) }) // ends when that returns
		}
	}
	p.reload.old = kept
}

// startingLocked reports whether Spawn may still start, or be starting, a worker of generation.
func (p *Pool) startingLocked(generation int) bool {
	for m := range p.everyoneLocked() {
		if m.generation == generation && m.worker == nil {
			return true
		}
	}
	return false
}

// fits returns what says whether m may be given to somebody, or nil if to anybody. To a worker of an older generation a
// newer command is not known; what those of the current one lack nobody has.
func (p *Pool) fits(m *member) func(want) bool {
	if m.generation == p.current {
		return nil
	}
	return func(w want) bool {
		return w.command == "" || !w.newest && m.offers.find(w.command).Name != ""
	}
}

// offersForLocked returns what the worker that req asks for offers, or nil if that is not known yet.
func (p *Pool) offersForLocked(req Request) *Catalogue {
	var m *member
	if l, ok := p.leases[req.LeaseID]; ok {
		m = l.m
	} else if s, ok := p.sessions[req.SessionID]; ok {
		m = s.m
	}
	if m == nil || m.offers == nil && m.generation == p.current {
		return p.offers
	}
	return m.offers
}

// ReloadStats tells about reloads.
type ReloadStats struct {
	Starting   *WorkerInfo // first worker of a generation that is not current yet, or nil
	Rolling    bool
	Remaining  int // workers of the pool that run older code
	Generation int // of the reload that ended last; 0 if none has
	Took       time.Duration
	At         time.Time
	Err        *ReloadError // nil if it went well
}

func (p *Pool) reloadStatsLocked() ReloadStats {
	out := ReloadStats{Rolling: p.reload.rolling, Remaining: p.outdatedLocked()}
	if r := p.reload.running; r != nil {
		info := r.first.infoLocked()
		out.Starting = &info
	}
	if r := p.reload.last; r != nil {
		out.Generation, out.Took, out.At = r.generation, r.ended.Sub(r.began), r.ended
		errors.As(r.err, &out.Err)
	}
	return out
}
