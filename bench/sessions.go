package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"charmer/bench/load"
	"charmer/bench/proc"
)

// sessionCount is how many sessions S7 keeps.
const sessionCount = 1000

// sessions is S7: state that must be where it was left.
func sessions() *scenario {
	open := map[*server]*counters{}
	s := &scenario{id: "S7", plot: "p50 ms", title: "1,000 sessions that count their calls",
		about: "Calls go to the sessions in random order. Each answer must have the number of calls so far, from the process that answered the session's first one: `wrong` counts those " +
			"that do not. `times one session` is the median against that of calls in a single session, in the same round.",
		columns: []column{{"requests/s", "%.0f", true}, {"p50 ms", "%.3f", false}, {"p99 ms", "%.3f", false}, {"times one session", "%.2f", true}, {"wrong", "%.0f", false},
			{"failed", "%.0f", false}, {"memory of a session MB", "%.2f", false}},
		entrants: []entrant{{contender: charmer, title: "charmer", flags: []string{"--max-sessions=1100"}}},
		cases:    []string{"1 session, 1 connection", "1,000 sessions, 1 connection", "1,000 sessions, 16 connections"}}
	s.measure = func(_ context.Context, e *environment, s *server, index int) (measurement, error) {
		c := open[s]
		if c == nil {
			before := proc.MemoryOf(s.cmd.Process.Pid).Private
			c = &counters{pids: make([]int, sessionCount), calls: make([]int, sessionCount)}
			if r := c.run(s, sessionCount, 8, time.Time{}); r.failed+r.wrong > 0 {
				return nil, fmt.Errorf("open the sessions: %d failed, %d wrong: %v", r.failed, r.wrong, r.failure)
			}
			c.memory = float64(proc.MemoryOf(s.cmd.Process.Pid).Private-before) / sessionCount / 1e6
			open[s] = c
		}
		among, connections := sessionCount, 1
		switch index {
		case 0:
			among = 1
		case 2:
			connections = 16
		}
		r := c.run(s, among, connections, time.Now().Add(e.length))
		m := measurement{"requests/s": float64(len(r.took)) / e.length.Seconds(), "p50 ms": quantile(r.took, 0.5), "p99 ms": quantile(r.took, 0.99),
			"wrong": float64(r.wrong), "failed": float64(r.failed), "memory of a session MB": c.memory}
		if index == 0 {
			s.notes["one session"] = m["p50 ms"]
		}
		if one := s.notes["one session"]; connections == 1 && one > 0 {
			m["times one session"] = m["p50 ms"] / one
		}
		return m, nil
	}
	return s
}

// counters is what is known of each session. A session belongs to one connection at a time.
type counters struct {
	pids, calls []int
	memory      float64 // megabytes that each has for itself
}

// counted is what calls in sessions met.
type counted struct {
	took          []float64 // milliseconds
	wrong, failed int
	failure       error
}

// run calls count in the first sessions, each connection in its share of them, at random until a point in time, or once in
// each if that is zero.
func (c *counters) run(s *server, among, connections int, until time.Time) counted {
	parts := make([]counted, connections)
	var clients sync.WaitGroup
	for i := range connections {
		clients.Go(func() { parts[i] = c.client(s, i, among, connections, until) }) // ends at until
	}
	clients.Wait()
	var all counted
	for _, p := range parts {
		all.took = append(all.took, p.took...)
		all.wrong, all.failed = all.wrong+p.wrong, all.failed+p.failed
		if p.failure != nil {
			all.failure = p.failure
		}
	}
	return all
}

func (c *counters) client(s *server, first, among, connections int, until time.Time) counted {
	var result counted
	conn := load.NewConn(s.address, time.Now().Add(10*time.Minute))
	defer conn.Close()
	random := rand.New(rand.NewPCG(uint64(first), 7))
	requests := map[int]*load.Request{}
	mine := (among - first + connections - 1) / connections
	for turn := 0; ; turn++ {
		if until.IsZero() && turn == mine || !until.IsZero() && !time.Now().Before(until) {
			return result
		}
		pick := turn
		if !until.IsZero() {
			pick = random.IntN(mine)
		}
		id := first + pick*connections
		if requests[id] == nil {
			requests[id] = load.NewRequest("/execute", "", []byte(`{"command":"count","session_id":"s`+strconv.Itoa(id)+`"}`))
		}
		began := time.Now()
		answer, err := conn.Do(requests[id])
		took := milliseconds(time.Since(began))
		if err == nil {
			err = requests[id].Check(answer)
		}
		if err != nil {
			result.failed, result.failure = result.failed+1, err
			continue
		}
		result.took = append(result.took, took)
		if err := c.check(id, answer.Body); err != nil {
			result.wrong, result.failure = result.wrong+1, err
		}
	}
}

// check compares an answer with what the session has answered so far.
func (c *counters) check(id int, body []byte) error {
	var answer struct {
		Result int `json:"result"`
		Worker struct {
			PID int `json:"pid"`
		} `json:"worker"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	c.calls[id]++
	if c.pids[id] == 0 {
		c.pids[id] = answer.Worker.PID
	}
	if answer.Result != c.calls[id] || answer.Worker.PID != c.pids[id] {
		return fmt.Errorf("session %d: %d of process %d, not %d of process %d", id, answer.Result, answer.Worker.PID, c.calls[id], c.pids[id])
	}
	return nil
}
