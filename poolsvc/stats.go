package poolsvc

import (
	"math/rand/v2"
	"slices"
	"time"

	"charmer/workerproc"
)

// Stats is one consistent snapshot of a pool.
type Stats struct {
	Workers    WorkerCounts
	Queue      QueueStats
	Members    []WorkerInfo  // all, by id
	Sessions   []SessionInfo // oldest first
	Limits     Limits
	Starts     StartStats
	Reload     ReloadStats
	Counts     Counts
	Uptime     time.Duration
	Ready      bool // serves, and at least MinReady workers are up
	Leaving    bool
	Draining   bool
	EverReady  bool // some worker has been ready
	Lazy       bool
	Zygote     ZygoteStatus
	Generation int // of the workers that are started
	Target     int // workers that the pool should have now
}

// ZygoteStatus describes where workers are forked from.
type ZygoteStatus = workerproc.ZygoteStatus

// WorkerCounts counts the workers of the pool by state. Size is their sum. Spares, which are ready but not of the pool, are
// not in it.
type WorkerCounts struct{ Size, Starting, Idle, Busy, Leased, Stopping, Spare int }

// QueueStats describes the queue for workers of the pool.
type QueueStats struct {
	Length, Limit int
	OldestWait    time.Duration
}

// Limits are the configured bounds.
type Limits struct{ MinWorkers, Workers, Spares, Sessions, Leases int }

// StartStats tells about failed starts. Failures is 0 when there is no trouble.
type StartStats struct {
	Failures int
	Backoff  time.Duration // until the next attempt
	Last     *workerproc.StartError
}

// WorkerInfo describes one worker.
type WorkerInfo struct {
	WorkerRef
	State          State
	Stage          string // while starting
	StartedAt      time.Time
	ReadyAfter     time.Duration // 0 while starting
	StartMethod    string        // "fork" or "exec"; empty while starting
	Calls          int64
	SessionID      string
	LeaseExpiresAt time.Time     // zero unless leased
	Running        []RunningCall // the oldest first
	Replaces       *Ended        // how the worker ended in whose place it is, or nil
}

// Stats returns the snapshot.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	s := Stats{
		Queue:   QueueStats{Length: p.queue.len(), Limit: p.cfg.MaxQueue},
		Limits:  Limits{MinWorkers: p.cfg.MinWorkers, Workers: p.cfg.Workers, Spares: p.spares, Sessions: p.cfg.MaxSessions, Leases: p.cfg.LeaseLimit},
		Starts:  StartStats{Failures: p.starts.failures, Backoff: max(0, p.starts.retryAt.Sub(now)), Last: p.starts.last},
		Counts:  p.counts.snapshot(),
		Uptime:  now.Sub(p.startedAt),
		Leaving: p.Leaving(), Draining: p.draining, EverReady: p.everReadyLocked(), Lazy: p.cfg.Lazy, Target: p.targetLocked(),
		Reload: p.reloadStatsLocked(), Generation: p.current, Zygote: p.cfg.Zygote(p.current),
	}
	s.Counts.LeasesActive = len(p.leases)
	if oldest := p.queue.oldest(); !oldest.IsZero() {
		s.Queue.OldestWait = now.Sub(oldest)
	}
	for m := range p.everyoneLocked() {
		s.Members = append(s.Members, m.infoLocked())
		switch {
		case m.state == StateSpare:
			s.Workers.Spare++
		case m.pooled():
			s.Workers.add(m.state)
		}
		if len(m.running) > 0 {
			s.Counts.Busy += now.Sub(m.busySince)
		}
	}
	up := s.Workers.Idle + s.Workers.Busy + s.Workers.Leased
	s.Ready = !s.Leaving && up >= p.cfg.MinReady && !p.hopelessLocked()
	for _, row := range p.sessions {
		s.Sessions = append(s.Sessions, p.sessionInfoLocked(row))
	}
	slices.SortFunc(s.Members, func(a, b WorkerInfo) int { return int(a.ID) - int(b.ID) })
	slices.SortFunc(s.Sessions, func(a, b SessionInfo) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return s
}

func (c *WorkerCounts) add(state State) {
	c.Size++
	switch state {
	case StateStarting:
		c.Starting++
	case StateIdle:
		c.Idle++
	case StateBusy:
		c.Busy++
	case StateLeased:
		c.Leased++
	case StateStopping:
		c.Stopping++
	}
}

func (m *member) infoLocked() WorkerInfo {
	info := WorkerInfo{WorkerRef: m.ref(), State: m.state, StartedAt: m.spawnedAt, Calls: m.calls, Replaces: m.replacesLocked()}
	if m.worker == nil {
		info.Stage = m.stage
	} else {
		info.ReadyAfter, info.StartMethod = m.worker.ReadyAfter(), m.worker.StartMethod()
	}
	if m.session != nil {
		info.SessionID = m.session.id
	}
	if m.lease != nil {
		info.LeaseExpiresAt = m.lease.expiresAt
	}
	info.Running = m.runningLocked()
	return info
}

// Commands returns what the app offers, sorted by name, and its generation. The error is a *RefusedError as long as no
// worker has been ready.
func (p *Pool) Commands() ([]workerproc.Command, int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.everReadyLocked() {
		if p.hopelessLocked() {
			return nil, 0, p.crashLoopingLocked()
		}
		return nil, 0, &RefusedError{Err: ErrStarting, RetryAfter: p.retryAfterLocked()}
	}
	return p.offers.Commands, p.current, nil
}

// retryAfterLocked estimates when a worker will be free for a newcomer, from the length of the queue and the average
// service time, with up to half as much again so that clients do not come back together.
func (p *Pool) retryAfterLocked() time.Duration {
	expected := p.counts.serviceTime * time.Duration(p.queue.len()+1) / time.Duration(p.cfg.Workers)
	expected = min(max(expected, time.Second), 30*time.Second)
	return expected + time.Duration(rand.Float64()*0.5*float64(expected))
}
