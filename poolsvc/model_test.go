package poolsvc

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"charmer/workerproc"
)

// model drives a pool with random actions, one after the other, and knows who asked for what in which order.
type model struct {
	f          *factory
	p          *Pool
	requests   []*asked
	leases     []LeaseInfo // granted, live or not
	reloads    []*pending[ReloadResult]
	broadcasts []*pending[BroadcastInfo]
	busy       time.Duration
	recycled   bool // a worker was
	crashed    bool // a worker was made to
}

// asked is a request that was begun. Its place in model.requests is the order of arrival.
type asked struct {
	id      string
	command string
	session string
	fresh   bool
	lease   bool
	call    *pending[Result]    // or
	hold    *pending[LeaseInfo] // if lease is set
	cancel  context.CancelFunc
	leaseID string // of a call on a lease, which waits for nothing
}

func (a *asked) settled() bool {
	if a.lease {
		return a.hold.settled()
	}
	return a.call.settled()
}

func (a *asked) granted() bool { return a.lease && a.hold.settled() && a.hold.err == nil }

// TestModel is the pool against its invariants, under anything that clients, workers and operators may do.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			m := newModel(t)
			t.Cleanup(func() { m.p.Close(context.Background()) }) // also if the test fails: what is left would be a deadlock
			t.Repeat(map[string]func(*rapid.T){
				"":          m.check,
				"call":      m.doCall,
				"call2":     m.doCall, // more often than the others
				"checkout":  m.doCheckout,
				"onLease":   m.doCallOnLease,
				"renew":     m.doRenew,
				"release":   m.doRelease,
				"end":       m.doEndSession,
				"cancel":    m.doCancel,
				"end call":  m.doCancelByID,
				"crash":     m.doCrash,
				"recycle":   m.doRecycle,
				"reload":    m.doReload,
				"broadcast": m.doBroadcast,
				"forget":    m.doRemoveBroadcast,
				"look":      m.doLook,
				"method":    m.doChangeMethod,
				"starts":    m.doChangeStarts,
				"advance":   m.doAdvance,
				"advanceMs": func(*rapid.T) { advance(ms) },
			})
			m.finish(t)
		})
	})
}

func newModel(t *rapid.T) *model {
	f := newFactory()
	f.plan = startsIn(rapid.SampledFrom([]time.Duration{0, 0, 5 * ms, time.Second}).Draw(t, "start"))
	f.deathLag = rapid.SampledFrom([]time.Duration{0, 3 * ms}).Draw(t, "deathLag")
	f.offers = func(generation int) []string { return []string{fmt.Sprint("only", generation)} }
	f.concurrency = map[string]int{"many": 3}
	f.hooks = rapid.SampledFrom([][]string{nil, bothHooks}).Draw(t, "hooks")
	f.usage = func(w *fakeWorker) (workerproc.Usage, error) {
		return workerproc.Usage{Private: int64(len(w.seen()))}, nil
	}
	m := &model{f: f, p: openPool(f, func(c *Config) {
		c.Prefetch = rapid.IntRange(0, 3).Draw(t, "prefetch")
		c.Workers = rapid.IntRange(1, 3).Draw(t, "workers")
		c.Lazy = rapid.Bool().Draw(t, "lazy")
		c.LeaseReuse = rapid.Bool().Draw(t, "leaseReuse")
		c.Spares = rapid.IntRange(AutomaticSpares, 2).Draw(t, "spares")
		c.MaxQueue = rapid.IntRange(0, 6).Draw(t, "maxQueue")
		c.LeaseShare = rapid.SampledFrom([]float64{0.4, 1}).Draw(t, "leaseShare")
		c.StartParallelism = rapid.IntRange(1, 3).Draw(t, "startParallelism")
		c.MaxSessions = 2
		c.SessionIdle = 20 * time.Second
		c.SessionLifetime = time.Minute
		c.LeaseTTL = 10 * time.Second
		c.MinWorkers = rapid.IntRange(0, c.Workers).Draw(t, "minWorkers")
		c.ScaleDownAfter = 5 * time.Second
		c.MaxRequests = rapid.SampledFrom([]int64{0, 0, 1, 4}).Draw(t, "maxRequests")
		c.MaxAge = rapid.SampledFrom([]time.Duration{0, 0, 8 * time.Second}).Draw(t, "maxAge")
		c.MaxMemory = rapid.SampledFrom([]int64{0, 0, 3}).Draw(t, "maxMemory")
	})}
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	for _, command := range commandNames { // all are believed to be fast
		m.p.paces[command] = &pace{calls: paceCalls}
	}
	return m
}

var (
	anySession = rapid.SampledFrom([]string{"", "", "", "a", "b", "c"})
	anyTime    = rapid.SampledFrom([]time.Duration{0, ms, 10 * ms, time.Second, 3 * time.Second})
	anyCommand = rapid.SampledFrom([]string{"sleep", "sleep", "many", "many", "defy", "echo", "raise", "crash", "garble", "exit", "only1", "only2", "only3"})
)

// request draws a call. Its id tells the workers' side which one it is.
func (m *model) request(t *rapid.T) Request {
	req := Request{Command: anyCommand.Draw(t, "command"), RequestID: fmt.Sprint("r", len(m.requests))}
	if slices.Contains([]string{"sleep", "many", "defy"}, req.Command) {
		req.Args = []byte(anyTime.Draw(t, "time").String())
	}
	if rapid.Bool().Draw(t, "limited") {
		req.Timeout = new(anyTime.Draw(t, "timeout"))
	}
	return req
}

func (m *model) begin(a *asked, request func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	request(ctx)
	m.requests = append(m.requests, a)
	synctest.Wait()
	if a.granted() {
		m.leases = append(m.leases, a.hold.value)
	}
}

func (m *model) doCall(t *rapid.T) {
	req := in(anySession.Draw(t, "session"), m.request(t))
	req.Fresh = req.SessionID == "" && rapid.IntRange(0, 3).Draw(t, "fresh") == 0
	a := &asked{id: req.RequestID, command: req.Command, session: req.SessionID, fresh: req.Fresh}
	m.begin(a, func(ctx context.Context) {
		a.call = begin(func() (Result, error) { return m.p.Execute(ctx, req) })
	})
}

func (m *model) doCheckout(t *rapid.T) {
	req := CheckoutRequest{SessionID: anySession.Draw(t, "session")}
	if rapid.Bool().Draw(t, "limited") {
		req.Timeout = new(anyTime.Draw(t, "timeout"))
	}
	a := &asked{session: req.SessionID, lease: true}
	m.begin(a, func(ctx context.Context) {
		a.hold = begin(func() (LeaseInfo, error) { return m.p.Checkout(ctx, req) })
	})
}

// anyLease draws a lease that was granted once.
func (m *model) anyLease(t *rapid.T) LeaseInfo {
	if len(m.leases) == 0 {
		t.Skip("no lease")
	}
	return rapid.SampledFrom(m.leases).Draw(t, "lease")
}

func (m *model) doCallOnLease(t *rapid.T) {
	req := on(m.anyLease(t), m.request(t))
	a := &asked{id: req.RequestID, leaseID: req.LeaseID}
	m.begin(a, func(ctx context.Context) {
		a.call = begin(func() (Result, error) { return m.p.Execute(ctx, req) })
	})
}

func (m *model) doRenew(t *rapid.T) {
	_, _ = m.p.Renew(m.anyLease(t).ID, new(anyTime.Draw(t, "ttl")))
	synctest.Wait()
}

func (m *model) doRelease(t *rapid.T) {
	_ = m.p.Release(m.anyLease(t).ID)
	synctest.Wait()
}

func (m *model) doEndSession(t *rapid.T) {
	_ = m.p.EndSession(anySession.Draw(t, "session"))
	synctest.Wait()
}

func (m *model) doCancel(t *rapid.T) {
	var open []*asked
	for _, a := range m.requests {
		if !a.settled() {
			open = append(open, a)
		}
	}
	if len(open) == 0 {
		t.Skip("nobody waits")
	}
	rapid.SampledFrom(open).Draw(t, "request").cancel()
	synctest.Wait()
}

// doCancelByID ends a call as an operator does, who does not wait for it.
func (m *model) doCancelByID(t *rapid.T) {
	if len(m.requests) == 0 {
		t.Skip("no request")
	}
	gone, leave := context.WithCancel(context.Background())
	leave()
	_, _ = m.p.Cancel(gone, rapid.SampledFrom(m.requests).Draw(t, "request").id)
	synctest.Wait()
}

func (m *model) doCrash(t *rapid.T) {
	if len(m.f.started()) == 0 {
		t.Skip("no worker")
	}
	m.crashed = true
	rapid.SampledFrom(m.f.started()).Draw(t, "worker").crash()
	synctest.Wait()
}

func (m *model) doRecycle(t *rapid.T) {
	members := m.p.Stats().Members
	if len(members) == 0 {
		t.Skip("no worker")
	}
	m.recycled = true
	_ = m.p.Recycle(rapid.SampledFrom(members).Draw(t, "worker").ID)
	synctest.Wait()
}

func (m *model) doChangeMethod(t *rapid.T) {
	m.f.setMethod(rapid.SampledFrom([]string{"exec", "fork"}).Draw(t, "method"))
}

func (m *model) doReload(*rapid.T) {
	m.reloads = append(m.reloads, begin(func() (ReloadResult, error) { return m.p.Reload(context.Background()) }))
	synctest.Wait()
}

func (m *model) doBroadcast(t *rapid.T) {
	req := m.request(t)
	req.RequestID = fmt.Sprint("b", len(m.broadcasts))
	m.broadcasts = append(m.broadcasts, begin(func() (BroadcastInfo, error) { return m.p.Broadcast(context.Background(), req) }))
	synctest.Wait()
}

func (m *model) doRemoveBroadcast(t *rapid.T) {
	all := m.p.Broadcasts()
	if len(all) == 0 {
		t.Skip("no broadcast")
	}
	if err := m.p.RemoveBroadcast(rapid.SampledFrom(all).Draw(t, "broadcast").ID); err != nil {
		t.Error(err)
	}
}

func (m *model) doChangeStarts(t *rapid.T) {
	if rapid.IntRange(0, 2).Draw(t, "kind") == 0 {
		m.f.replan(failing)
	} else {
		m.f.replan(startsIn(anyTime.Draw(t, "start")))
	}
}

func (m *model) doAdvance(t *rapid.T) {
	advance(rapid.SampledFrom([]time.Duration{5 * ms, 100 * ms, time.Second, 7 * time.Second, 21 * time.Second}).Draw(t, "by"))
}

// finish drains and closes the pool, after which everybody has an answer and nothing is left.
func (m *model) finish(t *rapid.T) {
	ctx, cancel := context.WithTimeout(context.Background(), anyTime.Draw(t, "drain"))
	defer cancel()
	m.p.Drain(ctx)
	m.check(t)
	m.p.Close(context.Background())
	synctest.Wait()
	for i, a := range m.requests {
		if !a.settled() {
			t.Errorf("request %d has no answer", i)
		}
		a.cancel()
	}
	for i, r := range m.reloads {
		if !r.settled() {
			t.Errorf("reload %d has no answer", i)
		}
	}
	for i, b := range m.broadcasts {
		if !b.settled() {
			t.Errorf("broadcast %d has no answer", i)
		}
	}
	for _, problem := range leftovers(m.p, m.f) {
		t.Error(problem)
	}
}

// waitsForOwner reports whether w is a spare that somebody may have.
func waitsForOwner(w *member) bool { return w.state == StateSpare && w.worker.Healthy() }
