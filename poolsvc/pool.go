package poolsvc

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"charmer/workerproc"
)

// Pool is a set of workers, the queue in front of them, and the leases and sessions on them. Create it with New.
type Pool struct {
	cfg       Config
	ctx       context.Context // of spawns and the janitor; ended by Close
	cancel    context.CancelFunc
	wg        sync.WaitGroup // all goroutines
	poolSlots chan struct{}  // one token for each worker of the pool that starts
	ownSlots  chan struct{}  // the same for workers of sessions, so that many of those do not keep the pool small
	startedAt time.Time
	lastTick  atomic.Int64  // of the janitor, in nanoseconds since startedAt
	wake      chan struct{} // tells the janitor that something may end sooner than it thinks
	leaving   atomic.Bool   // not ready any more, but serving
	known     catalogues    // what workers have offered

	mu            sync.Mutex // guards the fields below, and all members, leases, sessions and queues
	lastID        uint64
	members       map[uint64]*member // of the pool and of sessions
	aside         map[uint64]*member // the others: spares, and of fresh calls
	spares        int                // of them that there are to be
	idle          []*member          // of the pool; the last one is handed out first
	places        []place            // of the pool
	joinable      []*member          // of the pool, that have users whom others may join
	queue         queue
	leases        map[string]*lease
	sessions      map[string]*session
	executions    map[*execution]struct{} // calls that have no answer yet
	ended         tombs                   // leases that have ended
	lost          tombs                   // sessions whose process died
	offers        *Catalogue              // of the current generation; nil before its first worker was ever ready
	broadcasts    []*broadcast            // that workers run before anything else, in this order
	lastBroadcast int                     // number of the newest
	current       int                     // generation of the workers that are started
	reload        reloadState
	draining      bool // refuses new work
	closed        bool
	leased        int              // workers of the pool that leases hold
	vacant        int              // places of fresh calls whose stand-by has died
	active        int              // requests that wait or run
	drained       chan struct{}    // closed when draining and active is 0
	paces         map[string]*pace // by command, of the current generation
	lineLook      *time.Timer      // of lookAtLines; nil before the first
	looksAtLines  bool             // it is set
	starts        startState
	scale         scaling
	counts        counters

	nextSweep time.Time // of the janitor
}

// startState is what the pool knows of its attempts to start workers.
type startState struct {
	failures int       // in a row
	failedAt time.Time // the last of them
	backoff  backoff.ExponentialBackOff
	retryAt  time.Time // no start before; zero when there is no reason to wait
	retry    *time.Timer
	last     *workerproc.StartError
}

// New starts the workers of a pool, without waiting for them, unless it is lazy.
func New(cfg Config) *Pool {
	cfg.LeaseLimit = max(1, int(cfg.LeaseShare*float64(cfg.Workers)))
	if cfg.Lazy {
		cfg.MinWorkers, cfg.MinReady = 0, 0
	}
	p := &Pool{
		cfg: cfg, startedAt: time.Now(),
		poolSlots: make(chan struct{}, cfg.StartParallelism), ownSlots: make(chan struct{}, cfg.StartParallelism),
		wake: make(chan struct{}, 1), drained: make(chan struct{}),
		members: map[uint64]*member{}, aside: map[uint64]*member{}, spares: max(0, cfg.Spares),
		leases: map[string]*lease{}, sessions: map[string]*session{}, executions: map[*execution]struct{}{}, paces: map[string]*pace{},
		ended: newTombs(), lost: newTombs(), current: 1, reload: reloadState{tried: 1}, counts: newCounters(),
	}
	p.starts.backoff = backoff.ExponentialBackOff{InitialInterval: backoffInitial, MaxInterval: backoffMax, Multiplier: 2, RandomizationFactor: 0.2}
	p.starts.backoff.Reset()
	p.scale = scaling{size: cfg.MinWorkers, step: 1, changedAt: p.startedAt}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fillLocked()
	p.wg.Go(p.janitor) // ends with p.ctx
	if cfg.MaxMemory > 0 {
		p.wg.Go(p.measure) // ends with p.ctx
	}
	return p
}

// acquire takes a worker of the pool for the caller, waiting at most limit for one. The error is a *RefusedError or
// ErrClientGone. The caller gives the worker back with release. A call says what command it is for; a lease does not know.
func (p *Pool) acquire(ctx context.Context, asked want, limit time.Duration) (grant, error) {
	p.mu.Lock()
	if err := p.admitLocked(); err != nil {
		p.counts.checkout(err, 0)
		p.mu.Unlock()
		return grant{}, err
	}
	if g := p.takeLocked(asked); g.m != nil {
		p.counts.checkout(nil, 0)
		p.mu.Unlock()
		return g, nil
	}
	if err := p.mayWaitLocked(); err != nil {
		p.leaveLocked()
		p.counts.checkout(err, 0)
		p.mu.Unlock()
		return grant{}, err
	}
	w := p.queue.push(ctx, asked)
	p.waitedForLocked()
	p.mu.Unlock()

	g, err := p.await(ctx, w, limit)
	waited := time.Since(w.since)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.reuse(w)
	if err != nil {
		err = p.explainLocked(err, waited)
		p.leaveLocked()
	}
	p.counts.checkout(err, waited)
	return g, err
}

// admitLocked counts the caller as active unless the pool takes no new work.
func (p *Pool) admitLocked() error {
	if p.draining {
		return &RefusedError{Err: ErrDraining, RetryAfter: p.retryAfterLocked()}
	}
	p.active++
	return nil
}

// leaveLocked ends what admitLocked began.
func (p *Pool) leaveLocked() {
	p.active--
	if p.draining && p.active == 0 {
		close(p.drained)
	}
}

// mayWaitLocked refuses a caller whose wait is hopeless, or one too many.
func (p *Pool) mayWaitLocked() error {
	if err := p.inVainLocked(); err != nil {
		return err
	}
	if n := p.queue.len(); n >= p.cfg.MaxQueue {
		return &RefusedError{Err: ErrQueueFull, RetryAfter: p.retryAfterLocked(), QueueLength: n}
	}
	return nil
}

// inVainLocked refuses a caller whom no worker will ever serve.
func (p *Pool) inVainLocked() error {
	switch {
	case p.closed:
		return &RefusedError{Err: ErrDraining, RetryAfter: time.Second}
	case p.hopelessLocked():
		return p.crashLoopingLocked()
	default:
		return nil
	}
}

// explainLocked turns the end of a wait into what the client is told.
func (p *Pool) explainLocked(err error, waited time.Duration) error {
	switch err {
	case ErrCheckoutTimeout:
		if !p.everReadyLocked() {
			err = ErrStarting
		}
		return &RefusedError{Err: err, RetryAfter: p.retryAfterLocked(), Waited: waited, QueueLength: p.queue.len()}
	default:
		return err
	}
}

// takeLocked hands out a worker, or a place beside other calls in one, to somebody who need not wait.
func (p *Pool) takeLocked(w want) grant {
	m := p.takeIdleLocked(w)
	switch {
	case m != nil:
		return grant{m: m, use: p.firstLocked(m, w)}
	case w.lease:
		return grant{}
	default:
		return p.takeSharedLocked(w)
	}
}

// takeIdleLocked hands out the worker that was idle for the shortest time, of those that w fits, or returns nil.
func (p *Pool) takeIdleLocked(w want) *member {
	if w.lease && p.leased >= p.cfg.LeaseLimit {
		return nil
	}
	for i := len(p.idle) - 1; i >= 0; i-- {
		m := p.idle[i]
		if fits := p.fits(m); fits != nil && !fits(w) {
			continue
		}
		p.idle = slices.Delete(p.idle, i, i+1)
		if m.worker.Healthy() {
			p.handOutLocked(m, w.lease)
			return m
		}
	}
	return nil
}

func (p *Pool) handOutLocked(m *member, forLease bool) {
	state := StateBusy
	if forLease {
		state = StateLeased
		p.keepLocked(m)
	}
	p.setStateLocked(m, state)
	m.uses++
}

// setStateLocked moves m to state and keeps count of the pool's leased workers.
func (p *Pool) setStateLocked(m *member, state State) {
	if m.session == nil && m.state == StateLeased {
		p.leased--
	}
	if m.session == nil && state == StateLeased {
		p.leased++
	}
	m.state = state
}

// release takes m, or a place in it, back from a request that acquire admitted.
func (p *Pool) release(m *member, u use) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeBackLocked(m, u)
	p.leaveLocked()
}

// offerLocked gives a worker that nobody holds any more to the oldest waiter, or makes it idle, or stops it. One that a
// lease has used goes to nobody, so that nothing leaks from one holder to the next.
func (p *Pool) offerLocked(m *member) {
	switch {
	case m.state == stateGone || m.state == StateStopping:
		return
	case !m.worker.Healthy():
		p.stopLocked(m, "") // it is dead or about to die; the evidence will say why
		p.fillLocked()      // its end may take as long as the grace
		p.offerIdleLocked()
		return
	case p.closed:
		p.stopLocked(m, ExitShutdown)
		return
	case m.session != nil:
		p.offerSessionLocked(m)
		return
	case m.freshCall != nil:
		p.offerFreshLocked(m)
		return
	case p.behindLocked(m) != nil && !(m.used && !p.cfg.LeaseReuse):
		p.setStateLocked(m, StateBusy)
		if !m.catchesUp {
			m.catchesUp = true
			p.wg.Go(func() { p.catchUp(m) }) // ends with the calls
		}
		p.offerIdleLocked()
		p.fillLocked()
		return
	case m.spare:
		p.setStateLocked(m, StateSpare)
		if m.retiring { // it came up although newer code had given its start up
			p.stopLocked(m, ExitReload)
		}
		return
	case m.used && !p.cfg.LeaseReuse:
		p.stopLocked(m, ExitLease) // first, as nobody may have it: a spare takes its place, or else a new worker
		p.fillLocked()
		p.offerIdleLocked()
		return
	}
	p.setStateLocked(m, StateIdle)
	p.swapLocked(m)
	if m.worn != "" && !m.retiring {
		p.replaceWornLocked() // its turn may have come while it was leased
	}
	if m.retiring {
		p.retireLocked() // before the queue, which may never be empty
	}
	if m.state != StateIdle {
		p.offerIdleLocked()
		return
	}
	if w := p.queue.pop(p.leased < p.cfg.LeaseLimit, p.fits(m)); w != nil {
		p.giveLocked(m, w)
		return
	}
	m.idleSince = time.Now()
	p.idle = append(p.idle, m)
}

// offerIdleLocked gives an idle worker to a lease that waited for its share, which has just grown.
func (p *Pool) offerIdleLocked() {
	if p.queue.leases == 0 {
		return
	}
	if m := p.takeIdleLocked(want{lease: true}); m != nil {
		m.uses--
		p.offerLocked(m)
	}
	p.fillLocked()
}

// stopLocked ends a worker, without waiting. An empty reason leaves it to the evidence.
func (p *Pool) stopLocked(m *member, reason ExitReason) {
	if m.state == StateStopping || m.state == stateGone {
		return
	}
	p.removeIdleLocked(m)
	p.setStateLocked(m, StateStopping)
	if m.reason == "" {
		m.reason = reason
	}
	began := !m.readyAt.IsZero()
	p.wg.Go(func() { p.stop(m, began) }) // ends after the grace
}

// stop ends a worker that stopLocked has marked. A session that never began, as its start hook failed, has no end hook.
func (p *Pool) stop(m *member, began bool) {
	if m.session != nil && began && m.worker.HasHook(hookSessionEnd) && m.worker.Healthy() {
		// Its failure is in the log, and there is nobody to tell. No request waits for it either, so it has an id of its own.
		_ = p.runHook(m, hookSessionEnd, "resumed", RequestRef{ID: rand.Text()}, p.cfg.StopGrace)
	}
	m.worker.Stop(p.cfg.StopGrace)
}

func (p *Pool) removeIdleLocked(m *member) {
	for i, idle := range p.idle {
		if idle == m {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return
		}
	}
}
