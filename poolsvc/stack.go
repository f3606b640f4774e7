package poolsvc

import (
	"fmt"
	"time"
)

// StackInfo says where the threads of a worker were.
type StackInfo struct {
	Worker  WorkerRef
	State   State
	Stage   string // while starting
	Stack   string // text, one line for each frame
	TakenAt time.Time
	Running []RunningCall // what ran then
}

// stackRequest is a stack that is being taken. Whoever asks for the same worker's meanwhile shares it.
type stackRequest struct {
	done chan struct{} // closed when info and err are set
	info StackInfo
	err  error
}

// Stack takes the stacks of a worker's threads now, also of one that is starting or stuck in native code. The running call
// is interrupted for milliseconds and goes on. The error is ErrWorkerNotFound or ErrNoStack, the latter in a *RefusedError if
// the worker may give one later.
func (p *Pool) Stack(id uint64) (StackInfo, error) {
	p.mu.Lock()
	m := p.memberLocked(id)
	if m == nil {
		p.mu.Unlock()
		return StackInfo{}, ErrWorkerNotFound
	}
	r, asked := m.stack, m.stack != nil
	if !asked {
		r = &stackRequest{done: make(chan struct{}), info: m.stackInfoLocked()}
		m.stack = r
	}
	p.mu.Unlock()
	if asked {
		<-r.done
	} else {
		p.takeStack(m, r)
	}
	return r.info, r.err
}

func (m *member) stackInfoLocked() StackInfo {
	out := StackInfo{Worker: m.ref(), State: m.state, TakenAt: time.Now()}
	if m.worker == nil {
		out.Stage = m.stage
	}
	out.Running = m.runningLocked()
	return out
}

// takeStack answers r, in the goroutine of who asked first.
func (p *Pool) takeStack(m *member, r *stackRequest) {
	defer close(r.done)
	if r.info.State == StateStarting && p.cfg.StartingStack != nil {
		r.info.Stack = p.cfg.StartingStack(m.id)
	}
	p.mu.Lock()
	worker := m.worker
	if worker != nil && r.info.Stack == "" {
		r.info = m.stackInfoLocked() // it may have become ready meanwhile
	}
	p.mu.Unlock()
	if worker != nil && r.info.Stack == "" {
		r.info.Stack = worker.Stack()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m.stack = nil
	switch {
	case r.info.Stack != "":
	case p.memberLocked(m.id) != m:
		r.err = ErrWorkerNotFound
	case m.worker == nil:
		r.err = &RefusedError{Err: ErrNoStack, Detail: "it is starting, and has not said yet that it can", RetryAfter: time.Second}
	default:
		r.err = fmt.Errorf("%w: it has said that it cannot, or does not answer", ErrNoStack)
	}
}
