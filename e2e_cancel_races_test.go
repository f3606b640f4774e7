package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"charmer/api/client"
)

// hasty is an app whose commands end just about when they are cancelled.
const hasty = meeting + `
import asyncio, threading
import charmer

@command
def nap(n: int, ms: float) -> int:
    time.sleep(ms / 1000)
    return n

@command
def spin(n: int, ms: float) -> int:
    end = time.monotonic() + ms / 1000
    while time.monotonic() < end:
        pass
    return n

@command
async def async_nap(n: int, ms: float) -> int:
    await asyncio.sleep(ms / 1000)
    return n

@command(concurrency=4)
def nap_in_a_thread(n: int, ms: float) -> int:
    end = time.monotonic() + ms / 1000
    while time.monotonic() < end:
        pass
    return n

@command
def yield_naps(n: int, ms: float):
    for _ in range(2):
        time.sleep(ms / 2000)
        yield n

@command
def linger() -> None:
    time.sleep(3600)

@command
async def async_linger() -> None:
    await asyncio.sleep(3600)
`

// rounds is how often a race is run, shared among clients.
func rounds(full int) int {
	if testing.Short() {
		return full / 10
	}
	return full
}

// tally counts outcomes.
type tally struct {
	mu     sync.Mutex // guards counts
	counts map[string]int
}

func (c *tally) add(outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[outcome]++
}

// jitter lets a random time pass, so that what follows meets a call at any moment of its life.
func jitter(most time.Duration) { time.Sleep(rand.N(most)) }

// race runs rounds with some clients, each of which is told its number and that of the round.
func race(t *testing.T, clients, n int, round func(c, n int) error) {
	t.Helper()
	var all sync.WaitGroup
	var next atomic.Int64
	for c := range clients {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n) && !t.Failed(); i = next.Add(1) {
				if err := round(c, int(i)); err != nil {
					t.Errorf("round %d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
}

// on makes a call with a request id, on a lease unless that is empty.
func (s *instance) on(ctx context.Context, lease, id, command, args string) (answer, error) {
	body := client.ExecuteRequest{Command: command, Args: json.RawMessage(args)}
	patiently(&body)
	if lease != "" {
		body.LeaseID = &lease
	}
	r, err := s.ExecuteWithResponse(ctx, nil, body, requestID(id))
	if err != nil {
		return answer{}, err
	}
	a := answer{status: r.StatusCode()}
	if r.JSON200 != nil {
		a.Result, a.Worker = string(r.JSON200.Result), r.JSON200.Worker
		return a, nil
	}
	return a, json.Unmarshal(r.Body, &a.Problem)
}

// works fails unless a plain call on the lease has its own result, from this worker. The call before may not have ended: its client
// has left.
func (s *instance) works(lease client.CheckoutReply, n int) error {
	for {
		a, err := s.on(s.t.Context(), lease.LeaseID, fmt.Sprintf("after-%d", n), "ping", fmt.Sprintf(`{"n":%d}`, n))
		switch {
		case err != nil:
			return err
		case a.Problem.Code == "lease_busy":
			continue
		case a.Result != strconv.Itoa(n) || a.Worker != lease.Worker:
			return fmt.Errorf("the next call got %d %s %+v from %+v", a.status, a.Result, a.Problem, a.Worker)
		}
		return nil
	}
}

// TestACancelNeverMeetsTheNextCall has calls end by themselves just about when they are cancelled by request, by their client's
// leaving, or by their deadline. Each has one answer, and the next call on the same worker knows nothing of it.
func TestACancelNeverMeetsTheNextCall(t *testing.T) {
	const clients = 4
	s := servePatiently(t, hasty, "--workers=4", "--cancel-grace=120s")
	s.connect(100)
	s.full(clients)
	leases := make([]client.CheckoutReply, clients)
	for c := range leases {
		leases[c] = s.lease()
	}
	for _, command := range []string{"nap", "spin", "async_nap", "nap_in_a_thread", "yield_naps"} {
		var outcomes tally
		left := make([]bool, clients) // the service may come to read a request long after its client has left
		race(t, clients, rounds(400), func(c, n int) error {
			id, args := fmt.Sprintf("%s-%d", command, n), fmt.Sprintf(`{"n":%d,"ms":%f}`, n, 2*rand.Float64())
			a, how, err := s.cancelled(leases[c].LeaseID, id, command, args)
			if err != nil {
				return err
			}
			want := strconv.Itoa(n)
			if command == "yield_naps" {
				want = fmt.Sprintf("[%d,%d]", n, n)
			}
			switch {
			case a.status == http.StatusOK && a.Result == want, how == "leaves" && a.status == 0:
			case a.Problem.Code == "lease_busy" && left[c]:
			case a.status == http.StatusConflict && a.Problem.Code == "cancelled" && how == "deletes":
			case a.status == http.StatusGatewayTimeout && how == "deadline", a.status == http.StatusServiceUnavailable && how == "deadline":
			default:
				return fmt.Errorf("%s: got %d %s %+v", how, a.status, a.Result, a.Problem)
			}
			left[c] = left[c] || how == "leaves"
			outcomes.add(fmt.Sprintf("%s %d %s", how, a.status, a.Problem.Code))
			return s.works(leases[c], n)
		})
		t.Logf("%s: %v", command, outcomes.counts)
	}
	s.wantIdle()
	s.noWorkerEnded()
	for _, lease := range leases {
		s.release(lease)
	}
}

// cancelled makes a call that is cancelled meanwhile in one of three ways. Status 0 is no answer, as its client has left.
func (s *instance) cancelled(lease, id, command, args string) (answer, string, error) {
	ctx, leave := context.WithCancel(s.t.Context())
	defer leave()
	switch how := rand.N(3); how {
	case 0:
		body := client.ExecuteRequest{Command: command, Args: json.RawMessage(args), LeaseID: &lease, TimeoutMs: new(0.5 + 3*rand.Float64())}
		a, err := s.try(body, requestID(id))
		return a, "deadline", err
	case 1:
		go func() { // ends at once
			jitter(4 * time.Millisecond)
			leave()
		}()
		a, err := s.on(ctx, lease, id, command, args)
		if ctx.Err() != nil {
			return answer{}, "leaves", nil
		}
		return a, "leaves", err
	default:
		var other sync.WaitGroup
		var cancelErr error
		other.Go(func() {
			jitter(4 * time.Millisecond)
			_, cancelErr = s.cancel(id) // which may come too early, or too late
		})
		a, err := s.on(ctx, lease, id, command, args)
		other.Wait()
		if err == nil {
			err = cancelErr
		}
		return a, "deletes", err
	}
}

// wantIdle waits until no call is without an answer.
func (s *instance) wantIdle() {
	s.t.Helper()
	s.eventually("no call is left", func() bool { return len(s.executions()) == 0 })
}

// TestACancelMeetsTheDeathOfItsWorker has each call cancelled and its worker killed at the same time. The worker is leased, so that it
// is nobody else's.
func TestACancelMeetsTheDeathOfItsWorker(t *testing.T) {
	n := rounds(map[string]int{"fork": 1000, "exec": 250}[startMethod]) // each round starts a worker
	const clients = 4
	s := servePatiently(t, hasty, "--workers=6", "--cancel-grace=120s", "--spares=2", "--start-parallelism=4")
	s.connect(100)
	s.full(6)
	var outcomes tally
	race(t, clients, n, func(_, n int) error {
		lease, problem := s.checkout(waiting(minutes))
		if lease.LeaseID == "" {
			return fmt.Errorf("no lease: %+v", problem)
		}
		id, command := fmt.Sprintf("dies-%d", n), []string{"linger", "async_linger"}[n%2]
		answered := make(chan struct{})
		var others sync.WaitGroup
		var killErr, cancelErr error
		others.Go(func() {
			for !closed(answered) { // until the call is there
				if step, err := s.cancel(id); err != nil || step != "" {
					cancelErr = err
					return
				}
			}
		})
		others.Go(func() {
			jitter(4 * time.Millisecond)
			killErr = syscall.Kill(int(lease.Worker.PID), syscall.SIGKILL)
		})
		a, err := s.on(t.Context(), lease.LeaseID, id, command, `{}`)
		close(answered)
		others.Wait()
		if err != nil || killErr != nil || cancelErr != nil {
			return fmt.Errorf("call: %v, kill: %v, cancel: %v", err, killErr, cancelErr)
		}
		switch a.Problem.Code {
		case "cancelled", "worker_crashed", "lease_expired":
			outcomes.add(a.Problem.Code)
		default:
			return fmt.Errorf("got %d %s %+v", a.status, a.Result, a.Problem)
		}
		if next, err := s.on(t.Context(), "", "", "ping", fmt.Sprintf(`{"n":%d}`, n)); err != nil || next.Result != strconv.Itoa(n) {
			return fmt.Errorf("the next call got %d %s %+v %v", next.status, next.Result, next.Problem, err)
		}
		return nil
	})
	t.Logf("%v", outcomes.counts)
	s.wantIdle()
	s.full(6)
}

// TestACancelMeetsTheEndOfItsLease has the lease of each call expire about when the call is cancelled.
func TestACancelMeetsTheEndOfItsLease(t *testing.T) {
	const clients = 4
	s := servePatiently(t, hasty, "--workers=4", "--cancel-grace=120s", "--lease-reuse")
	s.connect(100)
	s.full(clients)
	before := s.pidsOfWorkers()
	var outcomes tally
	race(t, clients, rounds(1000), func(_, n int) error {
		lease, problem := s.checkout(waiting(minutes))
		if lease.LeaseID == "" {
			return fmt.Errorf("no lease: %+v", problem)
		}
		id, command := fmt.Sprintf("expires-%d", n), []string{"linger", "async_linger"}[n%2]
		var others sync.WaitGroup
		var cancelErr, renewErr error
		others.Go(func() {
			jitter(6 * time.Millisecond)
			_, cancelErr = s.cancel(id)
		})
		others.Go(func() {
			jitter(6 * time.Millisecond)
			_, renewErr = s.RenewLeaseWithResponse(t.Context(), lease.LeaseID, client.RenewRequest{TTLMs: new(1.0)})
		})
		a, err := s.on(t.Context(), lease.LeaseID, id, command, `{}`)
		others.Wait()
		if err != nil || cancelErr != nil || renewErr != nil {
			return fmt.Errorf("call: %v, cancel: %v, renew: %v", err, cancelErr, renewErr)
		}
		switch a.Problem.Code {
		case "cancelled", "lease_expired":
			outcomes.add(a.Problem.Code)
		default:
			return fmt.Errorf("got %d %s %+v", a.status, a.Result, a.Problem)
		}
		for range clients { // so that each worker gets one
			if next, err := s.on(t.Context(), "", "", "ping", fmt.Sprintf(`{"n":%d}`, n)); err != nil || next.Result != strconv.Itoa(n) {
				return fmt.Errorf("the next call got %d %s %+v %v", next.status, next.Result, next.Problem, err)
			}
		}
		return nil
	})
	t.Logf("%v", outcomes.counts)
	s.wantIdle()
	if after := s.pidsOfWorkers(); asJSON(after) != asJSON(before) {
		t.Errorf("workers before %v, after %v", before, after)
	}
	s.noWorkerEnded()
}
