package main

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// leaking is an app that keeps what it is given to hold.
const leaking = `
from charmer import command

KEPT = []

@command
def keep(n: int, size: int) -> int:
    KEPT.append(b"x" * size)
    return n
`

func TestAWorkerThatLeaksIsReplacedAndNoCallFails(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory is measured on Linux only")
	}
	s := serve(t, leaking, "--workers=2", "--max-memory=64MiB").ready()
	s.full(2)
	first := s.pidsOfWorkers()
	replaced := func() float64 { return s.metrics()[`charmer_worker_exits_total{reason="max_memory"}`] }
	var clients sync.WaitGroup
	over := make(chan struct{})
	for c := range 3 {
		clients.Go(func() {
			for n := c * 1_000_000; !closed(over); n++ {
				s.execute("keep", fmt.Sprintf(`{"n":%d,"size":1048576}`, n), patiently).wantResult(t, fmt.Sprint(n))
			}
		})
	}
	s.eventually("three workers are replaced for their memory", func() bool { return replaced() >= 3 })
	close(over)
	clients.Wait()
	for _, pid := range first {
		s.gone(pid)
	}
	s.full(2)
}

func TestThePoolGrowsForThoseWhoWaitAndShrinksAgain(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, meeting, "--min-workers=1", "--max-workers=3", "--scale-down-after=1s").ready()
	s.full(1)
	names := []string{"a", "b", "c"}
	var calls sync.WaitGroup
	var answers []*answer
	for _, name := range names {
		answers = append(answers, s.inBackground(&calls, "stay", fmt.Sprintf(`{"dir":%q,"name":%q}`, dir, name)))
	}
	for _, name := range names { // each stays until all have come
		s.arrived(dir, name)
	}
	if m := s.metrics(); m["charmer_pool_workers_target"] != 3 || m["charmer_pool_workers_min"] != 1 || m["charmer_pool_workers_max"] != 3 {
		t.Errorf("metrics: %v", m)
	}
	touch(t, dir, "go")
	calls.Wait()
	for i, a := range answers {
		a.wantResult(t, fmt.Sprintf("%q", names[i]))
	}
	s.eventually("one worker is left", func() bool { return s.health().Workers.Size == 1 })
	if got := s.metrics()[`charmer_worker_exits_total{reason="idle"}`]; got != 2 {
		t.Errorf("%v workers were stopped as idle, want 2", got)
	}
}

func TestWorkersAreReplacedAfterTheirCallsAndTheirTime(t *testing.T) {
	s := serve(t, leaking, "--workers=1", "--max-requests=10").ready()
	for n := range 12 { // which is more than 10 and 15 %
		s.execute("keep", fmt.Sprintf(`{"n":%d,"size":1}`, n)).wantResult(t, fmt.Sprint(n))
	}
	s.eventually("a worker is replaced for its calls", func() bool { return s.metrics()[`charmer_worker_exits_total{reason="max_requests"}`] == 1 })

	s = serve(t, leaking, "--workers=1", "--max-age=1s").ready()
	s.eventually("workers are replaced for their age", func() bool { return s.metrics()[`charmer_worker_exits_total{reason="max_age"}`] >= 2 })
	s.execute("keep", `{"n":1,"size":1}`).wantResult(t, "1")
}
