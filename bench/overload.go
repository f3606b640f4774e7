package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"charmer/bench/load"
)

// What the clients of S8 want.
const (
	useful  = time.Second     // an answer that comes later is of no use to them
	giveUp  = 3 * time.Second // and this is when they leave
	refuse  = 500 * time.Millisecond
	settled = 100 * time.Millisecond // a server that answers in this time has no backlog
)

// overload is S8: clients that come whether or not the server keeps up.
func overload() *scenario {
	levels := []float64{1, 2, 5, 10}
	s := &scenario{id: "S8", plot: "goodput/s", title: "more requests than the server can do, open loop",
		about: "Requests for `spin` (about 5 ms) come at random times at a multiple of what the server has done at best with 16 connections, so far in the run. Times count from when a " +
			"request was to be sent. Goodput is right answers within 1 s. A refusal is a 408, 429, 503 or 504, in time within 550 ms: the servers that have such a limit are told 500 ms. " +
			"Clients leave after 3 s; what they got nothing for by then, or a broken connection, is `unanswered`.",
		columns: []column{{"capacity/s", "%.0f", false}, {"offered/s", "%.0f", false}, {"goodput/s", "%.0f", true}, {"of capacity %", "%.0f", false}, {"accepted p99 ms", "%.0f", true},
			{"refused/s", "%.0f", false}, {"refused in time %", "%.1f", false}, {"unanswered/s", "%.1f", false}, {"sent late p99 ms", "%.1f", false}},
		entrants: []entrant{
			{contender: charmer, title: "charmer", flags: []string{"--checkout-timeout=500ms"}},
			{contender: fastAPI, title: "FastAPI, async def"},
			{contender: fastAPI, title: "FastAPI, async def, --limit-concurrency=100", flags: []string{"--limit-concurrency=100"}},
			{contender: flask, title: "Flask, gunicorn sync"},
			{contender: mosec, title: "mosec, --timeout=500", work: "spin", flags: []string{"--timeout=500"}},
			{contender: litServe, title: "LitServe, timeout=0.5", work: "spin", env: []string{"BENCH_WAIT=0.5"}},
			{contender: rayServe, title: "Ray Serve"},
		}}
	for _, level := range levels {
		s.cases = append(s.cases, fmt.Sprintf("%g ×", level))
	}
	s.measure = func(ctx context.Context, e *environment, s *server, index int) (measurement, error) {
		request, err := s.prepare(spin())
		if err != nil {
			return nil, err
		}
		if err := s.settle(ctx, request); err != nil {
			return nil, err
		}
		if index == 0 {
			r, err := load.Poll(s.address, 16, e.length, request)
			if err != nil {
				return nil, err
			}
			s.notes["capacity"] = max(s.notes["capacity"], r.Rate())
		}
		m := overloaded(s.address, s.notes["capacity"], levels[index], e.length, request)
		return m, s.settle(ctx, request) // or its backlog would take the processors from who is next
	}
	return s
}

// overloaded sends level times the capacity and counts what became of it.
func overloaded(address string, capacity, level float64, length time.Duration, request *load.Request) measurement {
	outcomes := load.Open(address, capacity*level, length, giveUp, request)
	var accepted, late []float64
	var good, refused, inTime, unanswered float64
	for _, o := range outcomes {
		late = append(late, milliseconds(o.Late))
		switch {
		case o.Right:
			accepted = append(accepted, milliseconds(o.After))
			if o.After <= useful {
				good++
			}
		case slices.Contains([]int{408, 429, 503, 504}, o.Status):
			refused++
			if o.After <= refuse+refuse/10 {
				inTime++
			}
		default:
			unanswered++
		}
	}
	seconds := length.Seconds()
	m := measurement{"capacity/s": capacity, "offered/s": float64(len(outcomes)) / seconds, "goodput/s": good / seconds,
		"of capacity %": good / seconds / capacity * 100, "refused/s": refused / seconds, "unanswered/s": unanswered / seconds, "sent late p99 ms": quantile(late, 0.99)}
	if len(accepted) > 0 {
		m["accepted p99 ms"] = quantile(accepted, 0.99)
	}
	if refused > 0 {
		m["refused in time %"] = inTime / refused * 100
	}
	return m
}

// settle waits until the server has done what it was sent before.
func (s *server) settle(ctx context.Context, request *load.Request) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c := load.NewConn(s.address, time.Now().Add(10*time.Second))
		began := time.Now()
		answer, err := c.Do(request)
		if err == nil {
			err = request.Check(answer)
		}
		_ = c.Close() // it has said all
		if err == nil && time.Since(began) < settled {
			return nil
		}
		time.Sleep(settled)
	}
	return fmt.Errorf("%s has not recovered within a minute", s.title)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
