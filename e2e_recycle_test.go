package main

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"charmer/api/client"
)

// capacity is the least number of workers that were up at once, of all samples taken until over is closed.
func (s *instance) capacity(over <-chan struct{}) (least int64, samples int) {
	least = 1 << 30
	for ; !closed(over); samples++ {
		w := s.health().Workers
		least = min(least, w.Idle+w.Busy+w.Leased)
	}
	return least, samples
}

// TestWorkersThatReachTheirLimitTogetherAreReplacedOneByOne has ten workers wear out at nearly the same time, under load.
func TestWorkersThatReachTheirLimitTogetherAreReplacedOneByOne(t *testing.T) {
	const size = 10
	s := serve(t, leaking, fmt.Sprintf("--workers=%d", size), "--max-requests=200", "--checkout-timeout=60s").ready()
	s.full(size)
	s.connect(100)
	first := map[int64]bool{}
	for _, pid := range s.pidsOfWorkers() {
		first[pid] = true
	}
	over := make(chan struct{})
	var calls atomic.Int64
	var clients, sampler sync.WaitGroup
	for c := range 32 {
		clients.Go(func() {
			for n := c * 1_000_000; !closed(over); n++ {
				a, err := s.try(client.ExecuteRequest{Command: "keep", Args: fmt.Appendf(nil, `{"n":%d,"size":1}`, n)})
				if err != nil || a.status != http.StatusOK || a.Result != fmt.Sprint(n) {
					t.Errorf("call %d: %v, %d %s %+v", n, err, a.status, a.Result, a.Problem)
				}
				calls.Add(1)
			}
		})
	}
	var least int64
	var samples int
	sampler.Go(func() { least, samples = s.capacity(over) })
	s.eventually("all first workers are replaced", func() bool {
		for _, pid := range s.pidsOfWorkers() {
			if first[pid] {
				return false
			}
		}
		return s.metrics()[`charmer_worker_exits_total{reason="max_requests"}`] >= size
	})
	close(over)
	clients.Wait()
	sampler.Wait()
	exits := s.metrics()[`charmer_worker_exits_total{reason="max_requests"}`]
	t.Logf("%d calls, %v workers replaced, at least %d up in %d samples", calls.Load(), exits, least, samples)
	if least < size-1 { // all but the ten percent that may be missing
		t.Errorf("%d workers were up at one moment, want at least %d", least, size-1)
	}
	if done := calls.Load(); done < size*170 { // 200 less 15 percent, each
		t.Errorf("%d calls wore out %d workers", done, size)
	}
	s.full(size)
}
