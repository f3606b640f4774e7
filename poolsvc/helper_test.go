package poolsvc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"charmer/workerproc"
)

const ms = time.Millisecond

// newPool starts a pool on f, in a bubble. When the test ends the pool is closed and must have left nothing behind.
func newPool(t testing.TB, f *factory, changes ...func(*Config)) *Pool {
	t.Helper()
	p := openPool(f, changes...)
	t.Cleanup(func() {
		t.Helper()
		p.Close(context.Background())
		synctest.Wait() // until those who waited have left
		wantNothingLeft(t, p, f)
	})
	return p
}

// openPool starts a pool on f, anywhere.
func openPool(f *factory, changes ...func(*Config)) *Pool {
	cfg := Config{
		Spawn: f.spawn, Retire: f.retire, Renew: f.renew, Zygote: func(int) workerproc.ZygoteStatus { return workerproc.ZygoteStatus{State: workerproc.ZygoteOff} }, Workers: 2, MinWorkers: -1, ScaleDownAfter: time.Minute, StartParallelism: 64, MinReady: 1,
		StartTimeout: 30 * time.Second, CheckoutTimeout: 5 * time.Second, ExecuteTimeout: 30 * time.Second,
		StopGrace: 2 * time.Second, MaxQueue: 1000, LeaseTTL: time.Minute, LeaseShare: 1,
		SessionIdle: 15 * time.Minute, SessionLifetime: 8 * time.Hour, MaxSessions: 256, Log: slog.New(slog.DiscardHandler),
	}
	for _, change := range changes {
		change(&cfg)
	}
	if cfg.MinWorkers < 0 {
		cfg.MinWorkers = cfg.Workers
	}
	return New(cfg)
}

// warmPool is newPool with all workers up. It needs a bubble.
func warmPool(t testing.TB, f *factory, changes ...func(*Config)) *Pool {
	t.Helper()
	p := newPool(t, f, changes...)
	synctest.Wait()
	return p
}

func workers(n int) func(*Config) { return func(c *Config) { c.Workers = n } }
func lazy(c *Config)              { c.Lazy = true }

// wantNothingLeft checks that a closed pool has stopped every worker that it started, and kept its contract with them.
func wantNothingLeft(t testing.TB, p *Pool, f *factory) {
	t.Helper()
	for _, problem := range leftovers(p, f) {
		t.Error(problem)
	}
}

// leftovers says what a closed pool has left behind or done wrong.
func leftovers(p *Pool, f *factory) []string {
	problems := f.broken()
	if started, stopped := int64(len(f.started())), f.stopped.Load(); started != stopped {
		problems = append(problems, fmt.Sprintf("%d workers started, %d stopped", started, stopped))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active != 0 || p.leased != 0 || p.vacant != 0 || p.queue.len() != 0 || len(p.members) != 0 || len(p.aside) != 0 || len(p.idle) != 0 || len(p.joinable) != 0 || len(p.leases) != 0 || len(p.sessions) != 0 || len(p.executions) != 0 {
		problems = append(problems, fmt.Sprintf("after Close: %d active, %d leased, %d vacant, %d waiting, %d members, %d aside, %d idle, %d leases, %d sessions, %d executions",
			p.active, p.leased, p.vacant, p.queue.len(), len(p.members), len(p.aside), len(p.idle), len(p.leases), len(p.sessions), len(p.executions)))
	}
	return problems
}

// pending is a request that runs in a goroutine of its own.
type pending[T any] struct {
	done  chan struct{}
	value T // set, like err and took, before done is closed
	err   error
	took  time.Duration
}

func begin[T any](request func() (T, error)) *pending[T] {
	p := &pending[T]{done: make(chan struct{})}
	began := time.Now()
	go func() {
		defer close(p.done)
		p.value, p.err = request()
		p.took = time.Since(began)
	}()
	return p
}

func (p *pending[T]) settled() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *pending[T]) wait() (T, error) {
	<-p.done
	return p.value, p.err
}

// must returns the value of a request that has to have succeeded by now.
func (p *pending[T]) must(t testing.TB) T {
	t.Helper()
	synctest.Wait()
	if !p.settled() {
		t.Fatal("the request still waits")
	}
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.value
}

// execute begins a call. Requests that are begun one after the other come to the pool in that order.
func execute(p *Pool, req Request) *pending[Result] {
	out := begin(func() (Result, error) { return p.Execute(context.Background(), req) })
	synctest.Wait()
	return out
}

// checkout begins a checkout.
func checkout(p *Pool, req CheckoutRequest) *pending[LeaseInfo] {
	out := begin(func() (LeaseInfo, error) { return p.Checkout(context.Background(), req) })
	synctest.Wait()
	return out
}

// lend checks out a worker that must be there at once.
func lend(t testing.TB, p *Pool) LeaseInfo {
	t.Helper()
	return checkout(p, CheckoutRequest{}).must(t)
}

// sleeper is a call that takes d.
func sleeper(d time.Duration) Request { return Request{Command: "sleep", Args: []byte(d.String())} }

// in moves a request into a session.
func in(session string, req Request) Request {
	req.SessionID = session
	return req
}

// on moves a request onto a lease.
func on(l LeaseInfo, req Request) Request {
	req.LeaseID = l.ID
	return req
}

var echo = Request{Command: "echo"}

// advance passes virtual time, and waits until everything that it caused has happened.
func advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// refused checks that err is a refusal for the reason want.
func refused(t testing.TB, err, want error) *RefusedError {
	t.Helper()
	var r *RefusedError
	if !errors.Is(err, want) || !errors.As(err, &r) {
		t.Fatalf("got error %v, want a refusal: %v", err, want)
	}
	if r.RetryAfter <= 0 {
		t.Errorf("refusal %q has no RetryAfter", err)
	}
	return r
}

// gone checks that err says why something has ended.
func gone(t testing.TB, err, want error) *GoneError {
	t.Helper()
	var g *GoneError
	if !errors.Is(err, want) || !errors.As(err, &g) {
		t.Fatalf("got error %v, want a GoneError: %v", err, want)
	}
	return g
}

// crashed checks that err is a call's, which found its worker dead or killed it.
func crashed(t testing.TB, err error) *workerproc.CrashError {
	t.Helper()
	var call *CallError
	var crash *workerproc.CrashError
	if !errors.As(err, &call) || !errors.As(err, &crash) {
		t.Fatalf("got error %v, want a CallError with a CrashError", err)
	}
	return crash
}

// cancelled checks that a call was ended because of why, and how far that went.
func cancelled(t testing.TB, err, why error, step workerproc.Step) {
	t.Helper()
	var c *CancelledError
	if !errors.As(err, &c) || c.Step != step || !errors.Is(err, why) {
		t.Errorf("got error %v, want one that was cancelled, %s, because %v", err, step, why)
	}
}

// wantCounts checks the states of the pool's workers, given like "idle 1, leased 2"; those not named must be 0.
func wantCounts(t testing.TB, p *Pool, want string) {
	t.Helper()
	synctest.Wait()
	if got := counts(p.Stats().Workers); got != want {
		t.Errorf("workers: %s; want %s", got, want)
	}
}

func counts(c WorkerCounts) string {
	var parts []string
	for _, row := range []struct {
		state State
		n     int
	}{{StateStarting, c.Starting}, {StateIdle, c.Idle}, {StateBusy, c.Busy}, {StateLeased, c.Leased}, {StateStopping, c.Stopping}} {
		if row.n > 0 {
			parts = append(parts, string(row.state)+" "+string(rune('0'+row.n)))
		}
	}
	return strings.Join(parts, ", ")
}

// equal checks one value.
func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// release gives a lease back.
func release(t testing.TB, p *Pool, l LeaseInfo) {
	t.Helper()
	if err := p.Release(l.ID); err != nil {
		t.Errorf("release: %v", err)
	}
}

// recycle asks for a worker's replacement.
func recycle(t testing.TB, p *Pool, id uint64) {
	t.Helper()
	if err := p.Recycle(id); err != nil {
		t.Errorf("recycle worker %d: %v", id, err)
	}
}
