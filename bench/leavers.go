package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"charmer/bench/load"
)

// leavers is S10: clients that lose patience, and what the service still does for them.
func leavers() *scenario {
	const (
		connections = 16 // half of them leave
		takes       = 0.2
		after       = 20 * time.Millisecond
	)
	s := &scenario{id: "S10", plot: "wasted %", title: "half of the clients leave after 20 ms of a 200 ms function",
		about: "8 connections wait for their answers, 8 others hang up after 20 ms and come back at once. The function notes how long it kept a worker: `wasted` is the share " +
			"of that time which no answer came of.",
		columns: []column{{"answers/s", "%.2f", true}, {"p50 ms", "%.0f", false}, {"worker s for each answer", "%.3f", false}, {"wasted %", "%.0f", true}, {"left", "%.0f", false}, {"failed", "%.0f", false}},
		entrants: []entrant{
			{contender: charmer, title: "charmer", spent: true},
			{contender: fastAPI, title: "FastAPI, def", spent: true},
			{contender: flask, title: "Flask, gunicorn sync", spent: true},
			{contender: mosec, title: "mosec", work: "doze", spent: true},
			{contender: litServe, title: "LitServe", work: "doze", spent: true},
			{contender: rayServe, title: "Ray Serve", spent: true},
		},
		cases: []string{"16 connections"}}
	s.measure = func(ctx context.Context, e *environment, s *server, _ int) (measurement, error) {
		request, err := s.prepare(call{command: "doze", args: `{"seconds":0.2}`, want: "0.2"})
		if err != nil {
			return nil, err
		}
		if err := os.RemoveAll(s.spent()); err != nil {
			return nil, err
		}
		until := time.Now().Add(e.length)
		var leaving sync.WaitGroup
		left := make([]int, connections/2)
		for i := range left {
			leaving.Go(func() { // ends at until
				for time.Now().Before(until) {
					c := load.NewConn(s.address, until)
					if c.Send(request) == nil {
						left[i]++
						time.Sleep(after)
					}
					_ = c.Close() // that is the point
				}
			})
		}
		r := load.Only(s.address, connections/2, e.length, request)
		leaving.Wait()
		if err := s.rest(ctx); err != nil {
			return nil, err
		}
		spent, err := sum(s.spent())
		if err != nil {
			return nil, err
		}
		m := measurement{"answers/s": r.Rate(), "p50 ms": r.Milliseconds(0.5), "failed": float64(r.Failed)}
		for _, n := range left {
			m["left"] += float64(n)
		}
		if n := float64(len(r.Latencies)); n > 0 {
			m["worker s for each answer"], m["wasted %"] = spent/n, max(0, 1-n*takes/spent)*100
		}
		return m, nil
	}
	return s
}

// rest waits until nothing is added any more to what was spent.
func (s *server) rest(ctx context.Context) error {
	for size := int64(-1); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
		info, err := os.Stat(s.spent())
		if err != nil {
			return err
		}
		if info.Size() == size {
			return nil
		}
		size = info.Size()
	}
}

// sum adds up the numbers in a file, one on each line.
func sum(path string) (float64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var total float64
	for line := range strings.Lines(string(text)) {
		v, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
		if err != nil {
			return 0, err
		}
		total += v
	}
	return total, nil
}
