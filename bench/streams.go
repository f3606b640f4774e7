package main

import (
	"context"
	"fmt"
	"strings"

	"charmer/bench/load"
)

// streams is S4.
func streams() *scenario {
	const items = 1000
	cases := []struct {
		label, command string
		connections    int
	}{
		{"generator, 1", "numbers", 1}, {"generator, 16", "numbers", 16}, {"generator, 64", "numbers", 64},
		{"async generator, 1", "anumbers", 1}, {"async generator, 16", "anumbers", 16}, {"async generator, 64", "anumbers", 64},
	}
	s := &scenario{id: "S4", plot: "chunks/s", title: "streams of 1,000 words",
		about: "The case is the kind of function and the number of connections, each of which reads one stream after the other.",
		columns: []column{{"chunks/s", "%.0f", true}, {"first chunk p50 ms", "%.2f", false}, {"first chunk p99 ms", "%.2f", false}, {"stream p50 ms", "%.1f", false},
			{"CPU s per 1,000 chunks", "%.4f", false}, {"memory MB", "%.0f", false}, {"failed", "%.0f", false}},
		entrants: []entrant{
			{contender: charmer, title: "charmer, NDJSON", accept: "application/x-ndjson", env: loop, work: "numbers anumbers"},
			{contender: charmer, title: "charmer, SSE", accept: "text/event-stream", env: loop, work: "numbers anumbers"},
			{contender: fastAPI, title: "FastAPI, StreamingResponse", work: "numbers anumbers"},
			{contender: flask, title: "Flask, gunicorn sync", work: "numbers"},
			{contender: mosec, title: "mosec, SSE", work: "numbers"},
			{contender: litServe, title: "LitServe", work: "numbers"},
			{contender: litServe, title: "LitServe, enable_async", work: "anumbers"},
			{contender: rayServe, title: "Ray Serve", work: "numbers anumbers"},
		}}
	for _, c := range cases {
		s.cases = append(s.cases, c.label)
	}
	s.measure = func(_ context.Context, e *environment, s *server, index int) (measurement, error) {
		c := cases[index]
		if !strings.Contains(" "+s.work+" ", " "+c.command+" ") {
			return nil, nil
		}
		request := s.dialect.request(call{command: c.command, args: fmt.Sprintf(`{"n":%d}`, items), accept: s.accept})
		var first load.Result
		m, r, err := e.observed(s, func() (load.Result, error) {
			whole, f := load.Streams(s.address, c.connections, e.length, request, `"i"`, items)
			first = f
			return whole, nil
		})
		if err != nil {
			return nil, err
		}
		m["chunks/s"], m["stream p50 ms"] = r.Rate()*items, m["p50 ms"]
		m["first chunk p50 ms"], m["first chunk p99 ms"] = first.Milliseconds(0.5), first.Milliseconds(0.99)
		m["CPU s per 1,000 chunks"] = m["CPU s per 1,000"] / items
		return m, nil
	}
	return s
}
