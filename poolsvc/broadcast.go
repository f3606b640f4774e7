package poolsvc

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"charmer/workerproc"
)

// A broadcast is a call that every worker runs, in order with the others, before anything else: those of the pool and the
// spares that are there when they are next free, and each one that starts later before it is ready. Workers that a session
// or a lease has when it comes keep what they have.

// broadcast is one that workers are to run. Pool.mu guards it.
type broadcast struct {
	id       string
	seq      int // rises with each
	req      Request
	at       time.Time
	applied  int64                       // workers that have run it well
	results  map[uint64]*BroadcastResult // by worker, of those that were there when it came
	pending  int                         // of them that have not run it
	answered chan struct{}               // closed when none is pending
}

// BroadcastStatus says what became of a broadcast in a worker.
type BroadcastStatus string

// The statuses.
const (
	BroadcastOK      BroadcastStatus = "ok"
	BroadcastFailed  BroadcastStatus = "failed"
	BroadcastPending BroadcastStatus = "pending" // the worker is busy, and runs it before anything else
)

// BroadcastResult is what a broadcast came to in one worker.
type BroadcastResult struct {
	Worker WorkerRef
	Status BroadcastStatus
	Result []byte // JSON, if it is ok
	Run    time.Duration
	Err    error // a *CallError, if it failed
}

// BroadcastInfo describes a broadcast.
type BroadcastInfo struct {
	ID      string
	Command string
	Args    []byte
	At      time.Time
	Applied int64 // workers that have run it well, ended ones included
	Kept    bool  // workers that start later run it
	Results []BroadcastResult
}

// Broadcast runs a command in every worker of the pool and every spare, and keeps it for those that start later unless it
// fails in one. It returns when all have run it, or req.Timeout has passed: workers that are still busy then run it later. The
// error is ErrUnknownCommand, ErrNotShared, a *CommandError if the arguments do not fit, ErrClientGone if ctx ends, which the broadcast
// outlives, or a *RefusedError.
func (p *Pool) Broadcast(ctx context.Context, req Request) (BroadcastInfo, error) {
	command, err := p.lookup(req)
	if err != nil {
		return BroadcastInfo{}, err
	}
	if command.Fresh() {
		return BroadcastInfo{}, ErrNotShared
	}
	if err := command.check(req.Args); err != nil {
		return BroadcastInfo{}, err
	}
	p.mu.Lock()
	if p.draining {
		defer p.mu.Unlock()
		return BroadcastInfo{}, &RefusedError{Err: ErrDraining, RetryAfter: p.retryAfterLocked()}
	}
	b := p.beginBroadcastLocked(req)
	p.mu.Unlock()
	timer := time.NewTimer(orDefault(req.Timeout, p.cfg.ExecuteTimeout))
	defer timer.Stop()
	select {
	case <-b.answered:
	case <-timer.C:
	case <-ctx.Done():
		return BroadcastInfo{}, ErrClientGone
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broadcastInfoLocked(b), nil
}

func (p *Pool) beginBroadcastLocked(req Request) *broadcast {
	p.lastBroadcast++
	b := &broadcast{id: rand.Text(), seq: p.lastBroadcast, req: req, at: time.Now(), results: map[uint64]*BroadcastResult{}, answered: make(chan struct{})}
	p.broadcasts = append(p.broadcasts, b)
	for m := range p.everyoneLocked() {
		if m.worker != nil && !m.owned() && m.state != StateStopping && !p.lacksLocked(m, b) {
			b.results[m.id] = &BroadcastResult{Worker: m.ref(), Status: BroadcastPending}
			b.pending++
		}
	}
	for m := range p.everyoneLocked() {
		if m.state == StateSpare || m.pooled() && m.state == StateIdle {
			p.removeIdleLocked(m)
			p.offerLocked(m)
		}
	}
	p.closeBroadcastLocked(b)
	return b
}

// behindLocked returns the first broadcast that m has not run, or nil.
func (p *Pool) behindLocked(m *member) *broadcast {
	for _, b := range p.broadcasts {
		if b.seq > m.broadcast && !p.lacksLocked(m, b) {
			return b
		}
	}
	return nil
}

// lacksLocked reports whether m runs older code, which does not have the command of b, or takes other arguments.
func (p *Pool) lacksLocked(m *member, b *broadcast) bool {
	if m.generation >= p.current {
		return false
	}
	its := m.offers.find(b.req.Command)
	return its.Name == "" || !its.args.Same(p.offers.find(b.req.Command).args)
}

// catchUp runs in m, which is busy with nothing else, what it has not run of the broadcasts, and then offers it.
func (p *Pool) catchUp(m *member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for b := p.behindLocked(m); b != nil && m.state == StateBusy && m.worker.Healthy(); b = p.behindLocked(m) {
		x := &execution{requestID: b.req.RequestID, command: b.req.Command, end: func(error) {}}
		p.runsLocked(m, x)
		p.mu.Unlock()
		reply, run, err := p.runBroadcast(p.ctx, m, m.worker, b)
		p.mu.Lock()
		p.ranLocked(m, x)
		p.appliedLocked(m, b, reply, run, err)
	}
	m.catchesUp = false
	p.offerLocked(m)
	p.fillLocked() // a place may have come free for a spare
}

// runBroadcast runs b in a worker.
func (p *Pool) runBroadcast(ctx context.Context, m *member, worker Worker, b *broadcast) (workerproc.Reply, time.Duration, error) {
	p.mu.Lock()
	limit := p.cfg.ExecuteTimeout
	if ms := p.offers.find(b.req.Command).TimeoutMs; ms > 0 {
		limit = time.Duration(ms * float64(time.Millisecond))
	}
	p.mu.Unlock()
	began := time.Now()
	reply, err := worker.Call(ctx, &workerproc.Call{Command: b.req.Command, Args: b.req.Args, RequestID: b.req.RequestID,
		Traceparent: b.req.Traceparent, Deadline: began.Add(limit)})
	if err != nil {
		err = &CallError{Worker: m.ref(), Command: b.req.Command, Err: err}
		p.cfg.Log.Error("broadcast failed", "broadcast", b.id, "command", b.req.Command, "request_id", b.req.RequestID, "worker", m.id, "pid", m.pid, "err", err)
	}
	return reply, time.Since(began), err
}

// appliedLocked notes what b came to in m. One that fails in a worker is kept no longer.
func (p *Pool) appliedLocked(m *member, b *broadcast, reply workerproc.Reply, run time.Duration, err error) {
	m.broadcast = b.seq
	status := BroadcastOK
	if err == nil {
		b.applied++
	} else {
		status = BroadcastFailed
		defer p.dropBroadcastLocked(b)
	}
	if r := b.results[m.id]; r != nil && r.Status == BroadcastPending {
		*r = BroadcastResult{Worker: m.ref(), Status: status, Result: reply.Result, Run: run, Err: err}
		b.pending--
		p.closeBroadcastLocked(b)
	}
}

// missedLocked notes that m has ended, which takes away what it had still to run.
func (p *Pool) missedLocked(m *member) {
	for _, b := range p.broadcasts {
		if r := b.results[m.id]; r != nil && r.Status == BroadcastPending {
			delete(b.results, m.id)
			b.pending--
			p.closeBroadcastLocked(b)
		}
	}
}

func (p *Pool) closeBroadcastLocked(b *broadcast) {
	if b.pending > 0 {
		return
	}
	select {
	case <-b.answered:
	default:
		close(b.answered)
	}
}

// replay runs all broadcasts in a worker that is about to be ready. If one fails, so does the start.
func (p *Pool) replay(m *member, worker Worker) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for b := p.behindLocked(m); b != nil; b = p.behindLocked(m) {
		m.stage = "broadcast " + b.req.Command
		p.mu.Unlock()
		_, _, err := p.runBroadcast(m.ctx, m, worker, b)
		p.mu.Lock()
		m.broadcast = b.seq
		if err != nil {
			return p.replayError(b, err)
		}
		b.applied++
	}
	return nil
}

// replayError is the evidence of a start that failed in a broadcast.
func (p *Pool) replayError(b *broadcast, err error) error {
	failure := &workerproc.StartError{Stage: "broadcast " + b.req.Command, Detail: err.Error()}
	var failed *workerproc.CommandError
	if errors.As(err, &failed) {
		failure.Detail, failure.Traceback = failed.Error(), failed.Traceback
	}
	return failure
}

// Broadcasts describes what workers that start run, in that order.
func (p *Pool) Broadcasts() []BroadcastInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []BroadcastInfo
	for _, b := range p.broadcasts {
		out = append(out, p.broadcastInfoLocked(b))
	}
	return out
}

// RemoveBroadcast has workers that start no more run a broadcast. Those that have run it keep what it did. The error is
// ErrBroadcastNotFound.
func (p *Pool) RemoveBroadcast(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.broadcasts, func(b *broadcast) bool { return b.id == id })
	if i < 0 {
		return fmt.Errorf("%w: %s", ErrBroadcastNotFound, id)
	}
	p.dropBroadcastLocked(p.broadcasts[i])
	return nil
}

// dropBroadcastLocked keeps b no longer. Workers that have not run it never will.
func (p *Pool) dropBroadcastLocked(b *broadcast) {
	i := slices.Index(p.broadcasts, b)
	if i < 0 {
		return
	}
	p.broadcasts = slices.Delete(p.broadcasts, i, i+1)
	for id, r := range b.results {
		if r.Status == BroadcastPending {
			delete(b.results, id)
			b.pending--
		}
	}
	p.closeBroadcastLocked(b)
}

func (p *Pool) broadcastInfoLocked(b *broadcast) BroadcastInfo {
	info := BroadcastInfo{ID: b.id, Command: b.req.Command, Args: b.req.Args, At: b.at, Applied: b.applied, Kept: slices.Contains(p.broadcasts, b)}
	for _, r := range b.results {
		info.Results = append(info.Results, *r)
	}
	slices.SortFunc(info.Results, func(a, b BroadcastResult) int { return cmp.Compare(a.Worker.ID, b.Worker.ID) })
	return info
}
