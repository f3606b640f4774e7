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
