package workerproc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// ZygoteState says whether workers can be forked.
type ZygoteState string

// The states of a zygote. Workers are exec'ed but in ZygoteStarting, in which they wait, and in ZygoteReady.
const (
	ZygoteOff        ZygoteState = "off"        // not wanted, or not possible on this system
	ZygoteStarting   ZygoteState = "starting"   // it imports the app
	ZygoteReady      ZygoteState = "ready"      // it forks workers
	ZygoteFailed     ZygoteState = "failed"     // the import failed; the next start of a worker tries again
	ZygoteRestarting ZygoteState = "restarting" // it died, and a new one is on its way
	ZygoteRefused    ZygoteState = "refused"    // the app is imported but cannot be forked safely
)

// ZygoteStatus describes the zygote of a generation.
type ZygoteStatus struct {
	State    ZygoteState
	Reason   string // why it is not ready; else why the last one ended, if one did
	PID      int    // 0 unless ready
	Import   time.Duration
	Memory   int64 // bytes that the import took
	Restarts int   // zygotes that came up after the first
}

// StartMethod names how the next worker starts.
func (s ZygoteStatus) StartMethod() string {
	if s.State == ZygoteStarting || s.State == ZygoteReady {
		return methodFork
	}
	return methodExec
}

// preload keeps a zygote of one generation of the app: it starts it when the first worker is wanted, and again, with
// growing delays, when it has died.
type preload struct {
	spawner *Spawner
	ctx     context.Context // ended by Retire or Close, and with it the zygote
	cancel  context.CancelFunc
	delays  backoff.ExponentialBackOff // used by one goroutine at a time: that of the attempt

	mu      sync.Mutex // guards the fields below
	state   ZygoteState
	zygote  *zygote
	coming  *zygote // that imports the app now
	last    ZygoteStatus
	err     error         // of the attempt that ended last
	stage   string        // of the attempt under way
	changed chan struct{} // closed and replaced when stage changes, or coming appears
	attempt chan struct{} // closed at the end of the attempt under way; nil if there is none
}

func newPreload(s *Spawner) *preload {
	p := &preload{spawner: s, state: ZygoteStarting, changed: make(chan struct{})}
	p.delays = backoff.ExponentialBackOff{InitialInterval: 100 * time.Millisecond, MaxInterval: 30 * time.Second, Multiplier: 2, RandomizationFactor: 0.2}
	p.delays.Reset()
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// get returns the zygote, or nil if workers are to be exec'ed for now. It waits for the first one, at most StartTimeout, and
// reports its process and the stages of its import. The error is a *StartError.
func (p *preload) get(ctx context.Context, progress func(pid int, stage string)) (*zygote, error) {
	p.mu.Lock()
	if p.state == ZygoteStarting || p.state == ZygoteFailed {
		if p.attempt == nil {
			p.state, p.stage, p.attempt = ZygoteStarting, "spawn zygote", make(chan struct{})
			p.spawner.wg.Go(func() { p.keep() }) // ends with p.ctx, or when there is nothing to keep
		}
		if err := p.awaitLocked(ctx, progress); err != nil {
			p.mu.Unlock()
			return nil, err
		}
	}
	defer p.mu.Unlock()
	if p.state == ZygoteFailed {
		return nil, p.err
	}
	return p.zygote, nil
}

// awaitLocked waits for the end of the attempt under way and reports its stages. It gives the lock up meanwhile.
func (p *preload) awaitLocked(ctx context.Context, progress func(pid int, stage string)) error {
	for attempt := p.attempt; ; {
		pid, stage, changed := 0, p.stage, p.changed
		if p.coming != nil {
			pid = p.coming.child.pid
		}
		p.mu.Unlock()
		progress(pid, stage)
		var err error
		ended := false
		select {
		case <-changed:
		case <-attempt:
			ended = true
		case <-ctx.Done():
			err = &StartError{Stage: stage, Detail: "start given up: " + context.Cause(ctx).Error()}
		}
		p.mu.Lock()
		if ended || err != nil {
			return err
		}
	}
}

// keep starts a zygote and replaces it each time it dies, until p ends, a first start fails, or the app turns out not to be
// fit for a fork.
func (p *preload) keep() {
	for {
		z, err := p.start()
		for err != nil && p.again(err) {
			z, err = p.start()
		}
		if err != nil {
			return
		}
		select {
		case <-z.done:
			z.bury()
			p.lost(z)
		case <-p.ctx.Done():
			z.close()
			return
		}
	}
}

// start runs one attempt.
func (p *preload) start() (*zygote, error) {
	ctx, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	timer := time.AfterFunc(p.spawner.cfg.StartTimeout, func() { cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	z, err := p.spawner.startZygote(ctx, func(z *zygote, stage string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.coming, p.stage = z, stage
		close(p.changed)
		p.changed = make(chan struct{})
	}, sync.OnceFunc(func() { timer.Reset(threadsTime) }))
	p.mu.Lock()
	p.coming = nil
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	z.refused = func(reason string) { p.refuse(z, reason) }
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == ZygoteRestarting {
		p.last.Restarts++
	}
	p.last.PID, p.last.Import, p.last.Memory = z.child.pid, z.importTime, z.memory
	p.state, p.zygote, p.err = ZygoteReady, z, nil
	p.endAttemptLocked()
	p.spawner.cfg.Log.Info("app imported", "zygote", z.child.pid, "import_ms", z.importTime.Milliseconds(), "memory_bytes", z.memory)
	return z, nil
}

// endAttemptLocked wakes those who wait for the first zygote.
func (p *preload) endAttemptLocked() {
	if p.attempt != nil {
		close(p.attempt)
		p.attempt = nil
	}
}

// again deals with an attempt that failed, and returns true when it is time for another. A first one that fails is left to
// the caller who starts a worker, since an exec'ed worker would fail just so.
func (p *preload) again(err error) bool {
	log := p.spawner.cfg.Log
	p.mu.Lock()
	p.err, p.last.Reason = err, err.Error()
	var unfit *unfitError
	switch {
	case errors.As(err, &unfit):
		p.state = ZygoteRefused
		log.Warn("workers start with exec: the app cannot be forked", "reason", unfit.reason)
	case p.state == ZygoteStarting:
		p.state = ZygoteFailed
	}
	p.endAttemptLocked()
	restarting := p.state == ZygoteRestarting
	p.mu.Unlock()
	return restarting && p.pause("zygote did not start", "err", err)
}

// lost notes that the zygote has died, and returns after the delay before the next one.
func (p *preload) lost(z *zygote) {
	p.mu.Lock()
	p.state, p.zygote, p.last.PID = ZygoteRestarting, nil, 0
	p.last.Reason = z.lastWords()
	reason := p.last.Reason
	p.mu.Unlock()
	if time.Since(z.spawnedAt) > backoffForgets {
		p.delays.Reset()
	}
	p.pause("zygote died; workers start with exec until there is a new one", "exit", reason, "output", z.exit.Output)
}

// backoffForgets is the life of a zygote after which its death begins a new series of delays.
const backoffForgets = time.Minute

// pause logs and waits for the next delay. It returns false if p ends first.
func (p *preload) pause(message string, attrs ...any) bool {
	delay := p.delays.NextBackOff()
	p.spawner.cfg.Log.Warn(message, append(attrs, "retry_in_ms", delay.Milliseconds())...)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// refuse notes that the zygote, though ready, will not fork any more.
func (p *preload) refuse(z *zygote, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.zygote == z {
		p.state, p.zygote, p.last.PID, p.last.Reason = ZygoteRefused, nil, 0, reason
		p.spawner.cfg.Log.Warn("workers start with exec: the app cannot be forked any more", "reason", reason)
	}
}

// Stack returns the stacks of the zygote that imports the app, or "" if there is none.
func (p *preload) Stack() string {
	p.mu.Lock()
	z := p.coming
	p.mu.Unlock()
	if z == nil {
		return ""
	}
	z.stacks.turn.Lock()
	defer z.stacks.turn.Unlock()
	return z.stacks.take(z.child, z.stackPipe, z.runtime, dumpCalm)
}

func (p *preload) status() ZygoteStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.last
	s.State = p.state
	if p.state == ZygoteStarting {
		s.Reason = p.stage
	}
	return s
}
