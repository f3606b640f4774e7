package poolsvc

// Recycle has a worker of the pool replaced: once the replacement is ready, the worker stops when it is free. The error
// is ErrWorkerNotFound, ErrNotRecyclable, or a *RefusedError while draining.
func (p *Pool) Recycle(id uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.members[id]
	switch {
	case !ok:
		return ErrWorkerNotFound
	case m.session != nil:
		return ErrNotRecyclable
	case p.draining:
		return &RefusedError{Err: ErrDraining, RetryAfter: p.retryAfterLocked()}
	}
	m.retiring = true
	p.fillLocked()
	p.retireLocked()
	return nil
}

// retireLocked stops workers that are to be replaced, are free, and have been replaced.
func (p *Pool) retireLocked() {
	ready := 0
	for _, m := range p.members {
		if m.session == nil && !m.retiring && m.worker != nil && m.state != StateStopping {
			ready++
		}
	}
	for _, m := range p.members {
		if m.retiring && m.state == StateIdle && ready >= p.targetLocked() {
			p.stopLocked(m, ExitRecycle)
		}
	}
}
