package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"time"

	"charmer/bench/load"
	"charmer/bench/proc"
)

// kills is S9: a worker dies each second.
func kills() *scenario {
	const connections = 16
	s := &scenario{id: "S9", plot: "of undisturbed %", title: "kill -9 of a worker each second, 16 connections",
		about: "The function blocks for 20 ms, so workers are always in the middle of a call. `failed for each kill` is requests without a right answer; all 16 are in flight at each kill. " +
			"`of undisturbed %` is against the same server without kills, in the same round. `restarts` counts servers that had to be started anew because they had ended.",
		columns: []column{{"requests/s", "%.0f", true}, {"of undisturbed %", "%.0f", true}, {"kills", "%.0f", false}, {"failed", "%.0f", false}, {"failed for each kill", "%.2f", false},
			{"p99 ms", "%.0f", false}, {"restarts", "%.0f", false}},
		entrants: []entrant{
			{contender: charmer, title: "charmer"},
			{contender: fastAPI, title: "FastAPI, def"},
			{contender: flask, title: "Flask, gunicorn sync"},
			{contender: mosec, title: "mosec", work: "doze", flags: []string{"--timeout=3000"}},
			{contender: litServe, title: "LitServe, restart_workers", work: "doze"},
			{contender: rayServe, title: "Ray Serve"},
		},
		cases: []string{"no kills", "kills"}}
	s.measure = func(ctx context.Context, e *environment, s *server, index int) (measurement, error) {
		restarted, err := e.revive(ctx, s)
		if err != nil {
			return nil, err
		}
		request, err := s.prepare(call{command: "doze", args: `{"seconds":0.02}`, want: "0.02"})
		if err != nil {
			return nil, err
		}
		killed := make(chan int)
		go func() { // ends with the measurement
			if index == 0 {
				killed <- 0
				return
			}
			killed <- s.killEachSecond(time.Now().Add(e.length))
		}()
		m, r, err := e.observed(s, func() (load.Result, error) { return load.Poll(s.address, connections, e.length, request) })
		n := <-killed
		if err != nil {
			return nil, err
		}
		m["kills"], m["restarts"] = float64(n), restarted
		m["requests/s"] = float64(len(r.Latencies)) / e.length.Seconds() // whatever time the last ones take that have no answer
		if index == 0 {
			s.notes["undisturbed"] = m["requests/s"]
		}
		if n > 0 {
			m["failed for each kill"] = m["failed"] / float64(n)
		}
		m["of undisturbed %"] = m["requests/s"] / s.notes["undisturbed"] * 100
		return m, nil
	}
	return s
}

// killEachSecond kills a worker half a second from now and each second after it, and returns how many.
func (s *server) killEachSecond(until time.Time) int {
	n := 0
	for next := time.Now().Add(time.Second / 2); next.Before(until); next = next.Add(time.Second) {
		time.Sleep(time.Until(next))
		if workers := s.workerPIDs(); len(workers) > 0 && syscall.Kill(workers[rand.IntN(len(workers))], syscall.SIGKILL) == nil {
			n++
		}
	}
	return n
}

// workerPIDs returns the processes that run the functions now.
func (s *server) workerPIDs() []int {
	var pids []int
	if s.contender == charmer {
		reply, err := probe.Get("http://" + s.address + "/workers")
		if err != nil {
			return nil
		}
		defer reply.Body.Close()
		var list struct {
			Workers []struct {
				PID   int    `json:"pid"`
				State string `json:"state"`
			} `json:"workers"`
		}
		if json.NewDecoder(reply.Body).Decode(&list) != nil {
			return nil
		}
		for _, w := range list.Workers {
			if w.State == "idle" || w.State == "busy" {
				pids = append(pids, w.PID)
			}
		}
		return pids
	}
	for _, p := range proc.Tree(s.cmd.Process.Pid) {
		if _, err := os.Stat(s.marks + "/" + strconv.Itoa(p.PID)); err == nil {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// revive waits until all workers of a server are there again, and starts it anew if it has ended. It returns how often.
func (e *environment) revive(ctx context.Context, s *server) (float64, error) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.exited:
			deadline = time.Now()
			continue
		case <-ctx.Done():
			return 0, ctx.Err()
		default:
		}
		if len(s.workerPIDs()) >= s.size() {
			return 0, nil
		}
	}
	s.stop()
	again, err := e.start(ctx, s.entrant)
	if err != nil {
		return 0, fmt.Errorf("start again: %w", err)
	}
	notes := s.notes
	*s = *again
	s.notes = notes
	return 1, nil
}
