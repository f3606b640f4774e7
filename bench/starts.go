package main

import (
	"context"
	"strconv"

	"charmer/bench/proc"
)

// starts is S11: from the command to the last worker that serves.
func starts() *scenario {
	sizes := []int{1, 2, 4, 8, 16}
	env := []string{"BENCH_IMPORT_SECONDS=0.3"}
	s := &scenario{id: "S11", plot: "all ready ms", title: "start until all workers are ready", cold: true, rounds: 3,
		about:   "The case is the number of workers. Importing the app takes 0.3 s of processor time. gunicorn is given --preload, so that it imports once too.",
		columns: []column{{"all ready ms", "%.0f", true}, {"CPU s", "%.2f", false}, {"memory MB", "%.0f", false}},
		entrants: []entrant{
			{contender: charmer, title: "charmer", env: env},
			{contender: fastAPI, title: "FastAPI", env: env},
			{contender: flask, title: "Flask, gunicorn --preload", env: env, flags: []string{"--preload"}},
			{contender: mosec, title: "mosec", work: "echo", env: env},
			{contender: litServe, title: "LitServe", work: "echo", env: env},
			{contender: rayServe, title: "Ray Serve", env: env},
		}}
	for _, n := range sizes {
		s.cases = append(s.cases, strconv.Itoa(n))
	}
	s.measure = func(ctx context.Context, e *environment, s *server, index int) (measurement, error) {
		n := s.entrant
		n.workers = sizes[index]
		started, err := e.start(ctx, n)
		if err != nil {
			return nil, err
		}
		defer started.stop()
		return measurement{"all ready ms": milliseconds(started.took), "CPU s": proc.CPU(started.cmd.Process.Pid).Seconds(),
			"memory MB": float64(proc.MemoryOf(started.cmd.Process.Pid).PSS) / 1e6}, nil
	}
	return s
}
