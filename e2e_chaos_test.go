package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"charmer/api/client"
)

// appendTo appends text to a file, and makes it if it is not there.
func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// usage is what a process holds.
type usage struct{ goroutines, descriptors, children int }

// usage reads the goroutines from the metrics and the rest from /proc.
func (s *instance) usage() usage {
	s.t.Helper()
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	return usage{goroutines: int(s.metrics()["go_goroutines"]), descriptors: len(descriptors), children: len(s.pids()) - 1}
}

// metrics returns a scrape: values by name with labels.
func (s *instance) metrics() map[string]float64 {
	s.t.Helper()
	r, err := s.GetMetricsWithResponse(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	values := map[string]float64{}
	for line := range strings.Lines(string(r.Body)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(line, "#") {
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				values[name] = v
			}
		}
	}
	return values
}

// TestEveryRequestIsAnsweredWhileWorkersAreKilled has 20 clients call for 10 seconds while workers are killed at random.
// A kill may fail the one call that runs in the worker, and nothing else.
func TestEveryRequestIsAnsweredWhileWorkersAreKilled(t *testing.T) {
	lasting := 10 * time.Second
	if testing.Short() {
		lasting = time.Second
	}
	s := serve(t, gated, "--workers=4", "--checkout-timeout=60s").ready()
	s.full(4)
	s.connect(100)
	s.execute("ping", `{"n":1}`).wantResult(t, "1")
	before := s.usage()

	var calls, failed, killed atomic.Int64
	over := make(chan struct{})
	timer := time.AfterFunc(lasting, func() { close(over) })
	defer timer.Stop()
	var clients sync.WaitGroup
	for c := range 20 {
		clients.Go(func() {
			for n := c * 1_000_000; !closed(over); n++ {
				a, err := s.try(client.ExecuteRequest{Command: "ping", Args: fmt.Appendf(nil, `{"n":%d}`, n)})
				calls.Add(1)
				switch {
				case err != nil:
					t.Errorf("no answer: %v", err)
				case a.status == http.StatusOK && a.Result == fmt.Sprint(n):
				case a.Problem.Code == "worker_crashed" && a.Problem.Started && *a.Problem.Exit.Signal == int64(syscall.SIGKILL):
					failed.Add(1)
				default:
					t.Errorf("call %d got %d %s %+v", n, a.status, a.Result, a.Problem)
				}
			}
		})
	}
	clients.Go(func() {
		for !closed(over) {
			if s.killOne() {
				killed.Add(1)
			}
			s.checkSums()
		}
	})
	clients.Wait()
	t.Logf("%d calls, %d workers killed, %d calls failed", calls.Load(), killed.Load(), failed.Load())
	if failed.Load() > killed.Load() {
		t.Errorf("%d calls failed but only %d workers were killed", failed.Load(), killed.Load())
	}
	if killed.Load() == 0 || calls.Load() == 0 {
		t.Error("nothing was killed, or nothing was called: the test shows nothing")
	}
	s.full(4)
	s.http.CloseIdleConnections()
	var now usage
	defer func() { t.Logf("before %+v, after %+v", before, now) }()
	s.eventually("goroutines, descriptors and processes are back at the baseline", func() bool {
		now = s.usage()
		// One connection of this test, with its two goroutines, more or less; and a worker that was used has one descriptor more.
		return now.goroutines <= before.goroutines+2 && now.descriptors <= before.descriptors+1+4 && now.children == before.children
	})
}

// killOne sends SIGKILL to one of the workers that are up, once it is up and with the others serving on.
func (s *instance) killOne() bool {
	r, err := s.ListWorkersWithResponse(s.t.Context(), nil)
	if err != nil || r.JSON200 == nil || len(r.JSON200.Workers) == 0 {
		return false
	}
	w := r.JSON200.Workers[rand.IntN(len(r.JSON200.Workers))]
	if w.State == client.WorkerStateStarting || w.State == client.WorkerStateStopping || w.Calls == 0 {
		return false
	}
	return syscall.Kill(int(w.PID), syscall.SIGKILL) == nil
}

// checkSums fails the test unless the states of the workers sum up in one scrape of the metrics and in /health.
func (s *instance) checkSums() {
	counts := s.health().Workers
	if sum := counts.Starting + counts.Idle + counts.Busy + counts.Leased + counts.Stopping; sum != counts.Size {
		s.t.Errorf("states sum to %d, size is %d", sum, counts.Size)
	}
	if sum := s.poolSize(); sum < 4 {
		s.t.Errorf("a scrape shows %v workers in all states, want at least the 4 that should be there", sum)
	}
}

func (s *instance) poolSize() float64 {
	sum := 0.0
	for name, value := range s.metrics() {
		if strings.HasPrefix(name, "charmer_pool_workers{") {
			sum += value
		}
	}
	return sum
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
