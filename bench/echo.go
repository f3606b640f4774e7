package main

import (
	"context"
	"strconv"

	"charmer/bench/load"
)

// loop has the app of charmer offer async commands too. Its workers then serve all commands on an event loop.
var loop = []string{"BENCH_LOOP=1"}

// plainEntrants serve plain functions, one call at a time in each worker.
func plainEntrants(work string) []entrant {
	return []entrant{
		{contender: charmer, title: "charmer"},
		{contender: charmer, title: "charmer, on an event loop", env: loop},
		{contender: ceiling, title: "charmer without Python"},
		{contender: fastAPI, title: "FastAPI, async def"},
		{contender: fastAPI, title: "FastAPI, def", env: []string{"BENCH_THREADS=1"}},
		{contender: flask, title: "Flask, gunicorn sync"},
		{contender: flask, title: "Flask, gunicorn gthread", flags: []string{"--worker-class=gthread", "--threads=8", "--keep-alive=60"}},
		{contender: mosec, title: "mosec", work: work},
		{contender: litServe, title: "LitServe", work: work},
		{contender: rayServe, title: "Ray Serve"},
	}
}

func echoOne() *scenario {
	s := closed("S1", "echo of 100 B, one connection", plainEntrants("echo"), closedCase{"1", echo(100), 1, 0})
	s.about = "What a call costs when nothing else runs."
	return s
}

func echoMany() *scenario {
	var cases []closedCase
	for _, n := range []int{16, 64, 256} {
		cases = append(cases, closedCase{strconv.Itoa(n), echo(100), n, 0})
	}
	s := closed("S2", "echo of 100 B, many connections", plainEntrants("echo"), cases...)
	s.about = "What a call costs when there are always more."
	return s
}

// closedCase is a closed loop: each connection sends its next request when the answer to the last one is there.
type closedCase struct {
	label       string
	call        call
	connections int
	ideal       float64 // requests/s that nobody can exceed, or 0
}

// closed is a scenario of closed loops.
func closed(id, title string, entrants []entrant, cases ...closedCase) *scenario {
	s := &scenario{id: id, title: title, plot: "requests/s", columns: loadColumns, entrants: entrants,
		measure: func(_ context.Context, e *environment, s *server, index int) (measurement, error) {
			c := cases[index]
			request, err := s.prepare(c.call)
			if err != nil {
				return nil, err
			}
			m, _, err := e.observed(s, func() (load.Result, error) { return load.Poll(s.address, c.connections, e.length, request) })
			if err == nil && c.ideal > 0 {
				m["of ideal %"] = m["requests/s"] / c.ideal * 100
			}
			return m, err
		}}
	for _, c := range cases {
		s.cases = append(s.cases, c.label)
	}
	return s
}
