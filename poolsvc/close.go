package poolsvc

import (
	"context"
	"time"
)

// Leave makes the pool report that it is not ready, while it goes on serving.
func (p *Pool) Leave() { p.leaving.Store(true) }

// Leaving reports whether Leave was called, or Drain or Close. It takes no lock.
func (p *Pool) Leaving() bool { return p.leaving.Load() }

// Drain refuses new work and waits until the work that was accepted is done, or ctx ends. It returns how many requests
// were left then.
func (p *Pool) Drain(ctx context.Context) int {
	p.Leave()
	p.mu.Lock()
	if !p.draining {
		p.draining = true
		if p.active == 0 {
			close(p.drained)
		}
		p.fillLocked() // for those who wait: the pool grows no more by their waiting
	}
	p.mu.Unlock()
	select {
	case <-p.drained:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active
}

// Close stops all workers, idle ones in good order and busy ones at once, and returns when every process and goroutine
// of the pool has ended. When ctx ends, the idle ones are killed too. It is called once.
func (p *Pool) Close(ctx context.Context) {
	p.Leave()
	p.mu.Lock()
	p.closed = true
	if !p.draining {
		p.draining = true
		if p.active == 0 {
			close(p.drained)
		}
	}
	if p.starts.retry != nil {
		p.starts.retry.Stop()
	}
	if p.scale.look != nil {
		p.scale.look.Stop()
	}
	if p.lineLook != nil {
		p.lineLook.Stop()
	}
	p.queue.fail(&RefusedError{Err: ErrDraining, RetryAfter: time.Second})
	for id, s := range p.sessions {
		s.queue.fail(&RefusedError{Err: ErrDraining, RetryAfter: time.Second})
		delete(p.sessions, id) // ended, not lost
	}
	for m := range p.everyoneLocked() {
		if m.freshCall != nil {
			m.freshCall.queue.fail(&RefusedError{Err: ErrDraining, RetryAfter: time.Second})
		}
		switch {
		case m.worker == nil: // its start goroutine sees p.closed
		case len(m.running) > 0:
			m.reason = ExitShutdown
			m.worker.Kill()
		default:
			p.stopLocked(m, ExitShutdown)
		}
	}
	p.mu.Unlock()
	p.cancel()
	defer context.AfterFunc(ctx, p.killAll)()
	p.wg.Wait()
}

// killAll kills every worker that lives.
func (p *Pool) killAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for m := range p.everyoneLocked() {
		if m.worker != nil {
			m.worker.Kill()
		}
	}
}
