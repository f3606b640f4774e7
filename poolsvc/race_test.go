package poolsvc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// These tests run in real time, because real parallelism is the point. None of them waits for time to pass.

// rounds cuts n for short runs.
func rounds(n int) int {
	if testing.Short() {
		return n / 50
	}
	return n
}

// spin lets about d pass without giving up the processor.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// closeAndCheck ends a test whose requests have all returned.
func closeAndCheck(t *testing.T, p *Pool, f *factory) {
	t.Helper()
	p.Close(context.Background())
	wantNothingLeft(t, p, f)
}

func waiting(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.len()
}

// wantOneIdle checks a pool of one that nobody uses.
func wantOneIdle(t *testing.T, p *Pool) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) != 1 || p.leased != 0 || p.queue.len() != 0 || p.active != 0 {
		t.Fatalf("%d idle, %d leased, %d waiting, %d active", len(p.idle), p.leased, p.queue.len(), p.active)
	}
}

func TestTimeoutsThatRaceWithGrantsLoseNoWorker(t *testing.T) {
	f := newFactory()
	p := openPool(f, workers(1))
	defer closeAndCheck(t, p, f)
	var granted, late int
	for range rounds(100_000) {
		held, err := p.Checkout(t.Context(), CheckoutRequest{})
		if err != nil {
			t.Fatal(err)
		}
		timeout := time.Duration(rand.IntN(60)) * time.Microsecond
		waiter := begin(func() (LeaseInfo, error) { return p.Checkout(context.Background(), CheckoutRequest{Timeout: &timeout}) })
		spin(timeout + time.Duration(rand.IntN(40))*time.Microsecond)
		if err := p.Release(held.ID); err != nil {
			t.Fatal(err)
		}
		switch l, err := waiter.wait(); {
		case err == nil:
			granted++
			if err := p.Release(l.ID); err != nil {
				t.Fatal(err)
			}
		case errors.Is(err, ErrCheckoutTimeout):
			late++
		default:
			t.Fatal(err)
		}
		wantOneIdle(t, p)
	}
	t.Logf("%d granted, %d timed out", granted, late)
	if granted == 0 || late == 0 {
		t.Error("the two never came near each other")
	}
}

func TestCancelsThatRaceWithGrantsLoseNoWorker(t *testing.T) {
	f := newFactory()
	p := openPool(f, workers(1))
	defer closeAndCheck(t, p, f)
	for range rounds(100_000) {
		held, err := p.Checkout(t.Context(), CheckoutRequest{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		waiter := begin(func() (LeaseInfo, error) { return p.Checkout(ctx, CheckoutRequest{}) })
		spin(time.Duration(rand.IntN(10)) * time.Microsecond)
		go cancel()
		spin(time.Duration(rand.IntN(5)) * time.Microsecond)
		if err := p.Release(held.ID); err != nil {
			t.Fatal(err)
		}
		if l, err := waiter.wait(); err == nil {
			if err := p.Release(l.ID); err != nil {
				t.Fatal(err)
			}
		} else if err != ErrClientGone {
			t.Fatal(err)
		}
		wantOneIdle(t, p)
	}
}

func TestLeaseThatIsReleasedAsItExpiresEndsOnce(t *testing.T) {
	f := newFactory()
	p := openPool(f, workers(1))
	defer closeAndCheck(t, p, f)
	for range rounds(100_000) {
		ttl := time.Duration(rand.IntN(100)) * time.Microsecond
		l, err := p.Checkout(t.Context(), CheckoutRequest{TTL: &ttl})
		if err != nil {
			t.Fatal(err)
		}
		renewing := begin(func() (time.Time, error) { return p.Renew(l.ID, &ttl) })
		spin(time.Duration(rand.IntN(120)) * time.Microsecond)
		err = p.Release(l.ID)
		if err != nil && !errors.Is(err, ErrLeaseExpired) {
			t.Fatal(err)
		}
		if _, err := renewing.wait(); err != nil && !errors.Is(err, ErrLeaseExpired) {
			t.Fatal(err)
		}
		wantOneIdle(t, p)
	}
	c := p.Stats().Counts
	t.Logf("%d released, %d expired", c.LeasesReleased, c.LeasesExpired)
	equal(t, "leases ended", c.LeasesReleased+c.LeasesExpired, c.LeasesGranted)
	if c.LeasesReleased == 0 || c.LeasesExpired == 0 {
		t.Error("the two never came near each other")
	}
}

func TestLeaseOfAWorkerThatDiesAsItIsGrantedIsNotKept(t *testing.T) {
	f := newFactory()
	p := openPool(f, workers(1), func(c *Config) { c.CheckoutTimeout = time.Minute })
	defer closeAndCheck(t, p, f)
	var early, late int
	for range rounds(20_000) {
		held, err := p.Checkout(t.Context(), CheckoutRequest{})
		if err != nil {
			t.Fatal(err)
		}
		w := f.last()
		waiter := begin(func() (LeaseInfo, error) { return p.Checkout(context.Background(), CheckoutRequest{}) })
		for waiting(p) == 0 {
			runtime.Gosched()
		}
		if err := p.Release(held.ID); err != nil {
			t.Fatal(err)
		}
		w.crash() // the waiter has been granted it, and may not have noticed yet
		l, err := waiter.wait()
		var call *CallError
		if errors.As(err, &call) {
			early++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		late++
		if err := p.Release(l.ID); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("died before the lease was made %d times, after it %d times", early, late)
	p.mu.Lock()
	defer p.mu.Unlock()
	equal(t, "leases", len(p.leases), 0)
}

func TestQueueBoundIsExact(t *testing.T) {
	for range rounds(500) / 5 {
		f := newFactory()
		p := openPool(f, workers(1), func(c *Config) { c.MaxQueue = 100 })
		held, err := p.Checkout(t.Context(), CheckoutRequest{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var full, left atomic.Int64
		allRefused := make(chan struct{})
		for range 1000 {
			wg.Go(func() {
				_, err := p.Checkout(ctx, CheckoutRequest{})
				switch {
				case errors.Is(err, ErrQueueFull):
					if full.Add(1) == 900 {
						close(allRefused)
					}
				case err == ErrClientGone:
					left.Add(1)
				default:
					t.Error(err)
				}
				if n := p.Stats().Queue.Length; n > 100 {
					t.Errorf("%d wait", n)
				}
			})
		}
		<-allRefused
		equal(t, "queue length", p.Stats().Queue.Length, 100)
		cancel()
		wg.Wait()
		if full.Load() != 900 || left.Load() != 100 {
			t.Errorf("%d refused, %d waited; want 900 and 100", full.Load(), left.Load())
		}
		_ = p.Release(held.ID)
		closeAndCheck(t, p, f)
	}
}

// storm is random work on a pool from many goroutines.
type storm struct {
	t    *testing.T
	p    *Pool
	held sync.Map // ids of workers that leases hold
}

// accept fails the test unless err is one that a client may see in a storm.
func (s *storm) accept(err error) {
	for _, known := range []error{nil, ErrCheckoutTimeout, ErrQueueFull, ErrStarting, ErrDraining, ErrCrashLooping, ErrSessionLimit,
		ErrSessionBusy, ErrLeaseExpired, ErrSessionLost, ErrSessionNotFound, ErrClientGone} {
		if errors.Is(err, known) {
			return
		}
	}
	var call *CallError
	if !errors.As(err, &call) {
		s.t.Errorf("unexpected error: %v", err)
	}
}

func (s *storm) step() {
	command := Request{Command: []string{"echo", "raise", "crash", "exit", "garble"}[rand.IntN(5)], Timeout: new(time.Second)}
	pause := sleeper(time.Duration(rand.IntN(100)) * time.Microsecond)
	session := fmt.Sprint("u", rand.IntN(5))
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(20_000))*time.Microsecond)
	defer cancel()
	var err error
	switch n := rand.IntN(100); {
	case n < 40:
		_, err = s.p.Execute(ctx, pause)
	case n < 45:
		_, err = s.p.Execute(ctx, command)
	case n < 50:
		_, err = s.p.Execute(ctx, alone(command))
	case n < 70:
		_, err = s.p.Execute(ctx, in(session, pause))
	case n < 73:
		_, err = s.p.Execute(ctx, in(session, command))
	case n < 76:
		err = s.p.EndSession(session)
	case n < 80:
		var l LeaseInfo
		if l, err = s.p.Checkout(ctx, CheckoutRequest{SessionID: session}); err == nil {
			s.accept(s.p.Release(l.ID))
		}
	case n < 95:
		s.lease(ctx, command)
	case n < 97:
		if members := s.p.Stats().Members; len(members) > 0 {
			err = s.p.Recycle(members[rand.IntN(len(members))].ID)
			if err == ErrWorkerNotFound || err == ErrNotRecyclable {
				err = nil
			}
		}
	default:
		stats := s.p.Stats()
		if c := stats.Workers; c.Starting+c.Idle+c.Busy+c.Leased+c.Stopping != c.Size {
			s.t.Errorf("states do not sum to the size: %+v", c)
		}
		if stats.Counts.LeasesActive > stats.Limits.Leases+stats.Limits.Sessions {
			s.t.Errorf("%d leases", stats.Counts.LeasesActive)
		}
	}
	s.accept(err)
}

func (s *storm) lease(ctx context.Context, req Request) {
	l, err := s.p.Checkout(ctx, CheckoutRequest{})
	s.accept(err)
	if err != nil {
		return
	}
	if other, loaded := s.held.LoadOrStore(l.Worker.ID, l.ID); loaded {
		s.t.Errorf("worker %d is held by %v and by %s", l.Worker.ID, other, l.ID)
	}
	_, err = s.p.Execute(ctx, on(l, req))
	s.accept(err)
	s.held.Delete(l.Worker.ID)
	s.accept(s.p.Release(l.ID))
}

func TestStormLeavesNothingBehind(t *testing.T) {
	f := newFactory()
	f.hooks = bothHooks
	p := openPool(f, workers(4), func(c *Config) { c.MaxSessions, c.LeaseShare, c.Spares = 4, 0.5, 2 })
	s := &storm{t: t, p: p}
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range rounds(10_000) {
				s.step()
			}
		})
	}
	wg.Wait()
	closeAndCheck(t, p, f)
}

func TestCloseInAStormLeavesNothingBehind(t *testing.T) {
	for range rounds(2_000) {
		f := newFactory()
		f.hooks = bothHooks
		p := openPool(f, workers(4), func(c *Config) { c.MaxSessions, c.LeaseShare, c.Spares = 4, 0.5, 2 })
		s := &storm{t: t, p: p}
		var wg sync.WaitGroup
		var steps atomic.Int64
		closeNow := make(chan struct{})
		for range 16 {
			wg.Go(func() {
				for range 20 {
					if steps.Add(1) == 150 {
						close(closeNow)
					}
					s.step()
				}
			})
		}
		<-closeNow
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
		p.Drain(ctx)
		cancel()
		p.Close(context.Background())
		wg.Wait()
		wantNothingLeft(t, p, f)
	}
}
