package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"

	"charmer/bench/load"
)

// waiting is S5: calls that wait for something, as most do that ask a model or a database.
func waiting() *scenario {
	const connections = 256
	nap := func(seconds string) closedCase {
		wait, _ := strconv.ParseFloat(seconds, 64) // a constant
		return closedCase{label: fmt.Sprintf("%g ms", wait*1000), call: call{command: "nap", args: `{"seconds":` + seconds + `}`, want: seconds},
			connections: connections, ideal: connections / wait}
	}
	s := closed("S5", "waiting for I/O, 256 connections", []entrant{
		{contender: charmer, title: "charmer, async def", env: loop, flags: []string{"--concurrency=256"}},
		{contender: fastAPI, title: "FastAPI, async def"},
		{contender: flask, title: "Flask, gunicorn gevent", flags: []string{"--worker-class=gevent", "--worker-connections=1000"}},
		{contender: mosec, title: "mosec, one at a time", work: "nap"},
		{contender: litServe, title: "LitServe, enable_async", work: "nap"},
		{contender: rayServe, title: "Ray Serve"},
	}, nap("0.01"), nap("0.1"))
	s.about = "The function sleeps. `of ideal` is against connections / sleep, which nobody can exceed."
	s.plot = "of ideal %"
	s.columns = append([]column{{"of ideal %", "%.0f", false}}, loadColumns...)
	return s
}

// turns of the function spin take about 5 ms.
const turns = 100_000

// spin is a call that keeps the processor busy.
func spin() call {
	total := 0
	for i := range turns {
		total = (total*31 + i) % 1_000_003
	}
	return call{command: "spin", args: fmt.Sprintf(`{"n":%d}`, turns), want: strconv.Itoa(total)}
}

// busy is S6: pure Python. Two workers cannot do more than twice what one process does alone, less what HTTP costs.
func busy() *scenario {
	entrants := append([]entrant{{contender: alone, title: "one Python process, no HTTP"}}, plainEntrants("spin")...)
	var taking []entrant
	for _, n := range entrants {
		if n.contender != ceiling {
			taking = append(taking, n)
		}
	}
	s := closed("S6", "pure Python, about 5 ms", taking, closedCase{"2", spin(), 2, 0}, closedCase{"16", spin(), 16, 0})
	s.about = "The function computes. The case is the number of connections."
	through := s.measure
	s.measure = func(ctx context.Context, e *environment, s *server, index int) (measurement, error) {
		if s.contender != alone {
			return through(ctx, e, s, index)
		}
		if err := e.install(ctx, alone.name); err != nil {
			return nil, err
		}
		out, err := exec.CommandContext(ctx, e.python(alone.name), filepath.Join(contenderDir, alone.name, "alone.py"), "spin", strconv.Itoa(turns),
			fmt.Sprint(e.length.Seconds())).Output()
		if err != nil {
			return nil, err
		}
		m := measurement{}
		return m, json.Unmarshal(out, &m)
	}
	return s
}

// fairness is S13: calls of 5 ms and less beside others that take long.
func fairness() *scenario {
	const connections = 16
	return &scenario{id: "S13", plot: "fast p99 ms", title: "a fast function beside a slow one, 16 connections",
		about: "Each connection calls `echo`, and one time in five, at random, `doze` for 100 ms. `fast` is of `echo` alone. FastAPI runs `def` in 40 threads in each worker, " +
			"which share one interpreter; charmer runs a plain function alone in its worker unless told otherwise. mosec and LitServe serve one function here.",
		columns: []column{{"requests/s", "%.0f", true}, {"fast p50 ms", "%.2f", false}, {"fast p99 ms", "%.1f", true}, {"slow p50 ms", "%.1f", false},
			{"CPU s per 1,000", "%.3f", false}, {"failed", "%.0f", false}},
		entrants: []entrant{
			{contender: charmer, title: "charmer"},
			{contender: charmer, title: "charmer, concurrency=40", env: []string{"BENCH_THREADS=1"}},
			{contender: fastAPI, title: "FastAPI, def", env: []string{"BENCH_THREADS=1"}},
			{contender: flask, title: "Flask, gunicorn sync"},
			{contender: flask, title: "Flask, gunicorn gthread, 40 threads", flags: []string{"--worker-class=gthread", "--threads=40", "--keep-alive=60"}},
			{contender: rayServe, title: "Ray Serve"},
		},
		cases: []string{"20 % slow"},
		measure: func(_ context.Context, e *environment, s *server, _ int) (measurement, error) {
			fast, err := s.prepare(echo(100))
			if err != nil {
				return nil, err
			}
			slow, err := s.prepare(call{command: "doze", args: `{"seconds":0.1}`, want: "0.1"})
			if err != nil {
				return nil, err
			}
			var parts []load.Result
			m, _, err := e.observed(s, func() (load.Result, error) {
				parts = load.Closed(s.address, connections, e.length, []*load.Request{fast, slow}, oneInFive)
				return load.Join(parts), nil
			})
			if err != nil {
				return nil, err
			}
			m["fast p50 ms"], m["fast p99 ms"], m["slow p50 ms"] = parts[0].Milliseconds(0.5), parts[0].Milliseconds(0.99), parts[1].Milliseconds(0.5)
			return m, nil
		}}
}

// oneInFive picks 1 one time in five, at random but every time the same, and 0 otherwise.
func oneInFive(connection, turn int) int {
	x := uint64(connection+1)*0x9e3779b97f4a7c15 ^ uint64(turn+1)*0xbf58476d1ce4e5b9
	x ^= x >> 31
	x *= 0x94d049bb133111eb
	if (x>>33)%5 == 0 {
		return 1
	}
	return 0
}

// batches is S14: work that takes as long for many as for one, as a model does that runs on a batch.
func batches() *scenario {
	one := call{args: `{"x":7}`, want: "7", command: "together"}
	s := &scenario{id: "S14", plot: "requests/s", title: "2 ms of fixed cost, 64 connections",
		about:   "A function that takes 2 ms however many arguments it has, in batches of at most 32 that wait for at most 5 ms, and one call at a time.",
		columns: loadColumns, cases: []string{"batches", "one by one"},
		entrants: []entrant{
			{contender: charmer, title: "charmer", env: loop},
			{contender: mosec, title: "mosec", work: "together"},
			{contender: litServe, title: "LitServe", work: "together"},
			{contender: rayServe, title: "Ray Serve"},
		}}
	s.measure = func(_ context.Context, e *environment, s *server, index int) (measurement, error) {
		c := one
		if index == 1 {
			if s.contender != charmer {
				return nil, nil
			}
			c.command = "single"
		}
		request, err := s.prepare(c)
		if err != nil {
			return nil, err
		}
		m, _, err := e.observed(s, func() (load.Result, error) { return load.Poll(s.address, 64, e.length, request) })
		return m, err
	}
	return s
}
