package poolsvc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"charmer/workerproc"
)

// Why a call is ended before its time, besides ErrClientGone.
var (
	ErrCancelled    = errors.New("it was cancelled by request")
	errLeaseOver    = errors.New("its lease ended")
	errSessionEnded = errors.New("its session ended")
)

// StepDequeued is the first step of the ladder by which a call is ended: it was still waiting, and Python knows nothing of it.
const StepDequeued workerproc.Step = "dequeued"

// stepFinished says that a call had its own answer before the ladder got to it.
const stepFinished workerproc.Step = "finished"

// execution is a call from its admission to its answer. Pool.mu guards m and what follows.
type execution struct {
	requestID, command, session string
	since, deadline             time.Time
	end                         context.CancelCauseFunc // ends the call, for a reason

	m        *member   // that runs it; nil while it waits
	began    time.Time // when it was sent to m
	progress workerproc.Progress
	done     chan struct{} // made for who waits for its end, and closed once it has its answer and step is set
	step     workerproc.Step
}

// ExecutionInfo describes a call that has no answer yet.
type ExecutionInfo struct {
	RequestID, Command, SessionID string
	Worker                        *WorkerRef // nil while it waits
	Since, Deadline               time.Time
	Began                         time.Time // zero while it waits
	Progress                      workerproc.Progress
}

// RunningCall is a call that a worker runs now.
type RunningCall struct {
	RequestID string
	Command   string
	Since     time.Time
}

// beginExecution finds the command that a call names, and enters the call into the books. The context that it returns ends when
// the call is to end, with the reason as its cause.
func (p *Pool) beginExecution(ctx context.Context, req Request) (context.Context, *execution, command, error) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	found, err := p.lookupLocked(req)
	if err != nil {
		return ctx, nil, found, err
	}
	timeout := p.cfg.ExecuteTimeout
	if found.TimeoutMs > 0 {
		timeout = time.Duration(found.TimeoutMs * float64(time.Millisecond))
	}
	timeout = orDefault(req.Timeout, timeout)
	timeout = min(timeout, orDefault(req.MaxTimeout, timeout))
	if req.Finish {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, end := context.WithCancelCause(ctx)
	x := &execution{requestID: req.RequestID, command: req.Command, session: req.SessionID, since: now, deadline: now.Add(timeout), end: end}
	p.executions[x] = struct{}{}
	return ctx, x, found, nil
}

// endExecution takes a call out of the books, which has had its answer.
func (p *Pool) endExecution(x *execution, err error) {
	p.mu.Lock()
	delete(p.executions, x)
	if x.step = stepOf(err); x.step != stepFinished {
		p.counts.cancels[string(x.step)]++
	}
	if x.done != nil {
		close(x.done)
	}
	p.mu.Unlock()
	x.end(nil) // releases the context
}

// stepOf returns how far the ladder went for a call that ended with err.
func stepOf(err error) workerproc.Step {
	if cancelled, ok := errors.AsType[*workerproc.CancelledError](err); ok {
		return cancelled.Step
	}
	if timeout, ok := errors.AsType[*workerproc.TimeoutError](err); ok {
		return timeout.Step
	}
	if errors.Is(err, ErrClientGone) {
		return StepDequeued
	}
	return stepFinished
}

// whyEnded returns the error of a wait that ended because ctx did.
func whyEnded(ctx context.Context) error {
	why := context.Cause(ctx)
	if why == context.Canceled || why == context.DeadlineExceeded {
		return ErrClientGone
	}
	return &workerproc.CancelledError{Why: why, Step: StepDequeued}
}

// Executions describes the calls that have no answer yet, the oldest first.
func (p *Pool) Executions() []ExecutionInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []ExecutionInfo
	for x := range p.executions {
		out = append(out, x.infoLocked())
	}
	slices.SortFunc(out, func(a, b ExecutionInfo) int { return a.Since.Compare(b.Since) })
	return out
}

// Execution describes the call with that request id, the oldest if clients have used it for several. The error is
// ErrExecutionNotFound.
func (p *Pool) Execution(requestID string) (ExecutionInfo, error) {
	for _, info := range p.Executions() {
		if info.RequestID == requestID {
			return info, nil
		}
	}
	return ExecutionInfo{}, ErrExecutionNotFound
}

func (x *execution) infoLocked() ExecutionInfo {
	info := ExecutionInfo{RequestID: x.requestID, Command: x.command, SessionID: x.session, Since: x.since, Deadline: x.deadline, Began: x.began, Progress: x.progress}
	if x.m != nil && x.m.inLine && len(x.m.running) > 0 && x.m.running[0] != x { // it has still to begin
		info.Began = time.Time{}
	} else if x.m != nil {
		ref := x.m.ref()
		info.Worker = &ref
		if x.m.session != nil {
			info.SessionID = x.m.session.id
		}
	}
	return info
}

// Cancel ends the calls with that request id, and returns when they have ended, with the last step that this took:
// StepDequeued, workerproc.StepCancelled, workerproc.StepKilled, or "finished" if the call had its own answer all the same.
// The error is ErrExecutionNotFound, or ErrClientGone if ctx ends first, which does not keep the calls.
func (p *Pool) Cancel(ctx context.Context, requestID string) (workerproc.Step, error) {
	p.mu.Lock()
	var found []*execution
	for x := range p.executions {
		if x.requestID != requestID {
			continue
		}
		found = append(found, x)
		if x.done == nil {
			x.done = make(chan struct{})
		}
	}
	p.mu.Unlock()
	if len(found) == 0 {
		return "", fmt.Errorf("%w: %s", ErrExecutionNotFound, requestID)
	}
	for _, x := range found {
		x.end(ErrCancelled)
	}
	var step workerproc.Step
	for _, x := range found {
		select {
		case <-x.done:
			step = x.step
		case <-ctx.Done():
			return "", ErrClientGone
		}
	}
	return step, nil
}

// endCallsLocked ends what runs in m.
func (m *member) endCallsLocked(why error) {
	for _, x := range m.running {
		x.end(why)
	}
}

// runsLocked enters x into the books of m.
func (p *Pool) runsLocked(m *member, x *execution) {
	x.m, x.began = m, time.Now()
	if len(m.running) == 0 {
		m.busySince = x.began
	}
	m.running = append(m.running, x)
}

// ranLocked ends x in the books of m, if it is there. It reads the clock under the lock, so that busy time never falls behind what
// was told before.
func (p *Pool) ranLocked(m *member, x *execution) {
	i := slices.Index(m.running, x)
	if i < 0 {
		return
	}
	m.running = slices.Delete(m.running, i, i+1)
	if len(m.running) == 0 {
		p.counts.busy += time.Since(m.busySince)
	}
}

// runningLocked describes what m runs, the oldest first.
func (m *member) runningLocked() []RunningCall {
	var out []RunningCall
	for i, x := range m.running {
		if m.inLine && i > 0 {
			break // the others wait
		}
		out = append(out, RunningCall{RequestID: x.requestID, Command: x.command, Since: x.began})
	}
	return out
}
