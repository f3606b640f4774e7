package main

import (
	"context"
	"fmt"
	"time"

	"charmer/bench/trend"
)

// soak is S12: a long time under a load in which everything happens that may leave something behind.
func soak() *scenario {
	quantities := []string{"memory of the service, MB", "memory of its Python processes, MB", "heap of the service, MB", "goroutines", "descriptors of the service", "processes"}
	s := &scenario{id: "S12", title: "soak", once: true, cases: quantities,
		about: "Two workers, under echoes, sessions that open and end, streams (some left in the middle), exceptions, calls that run out of time, clients that leave, and a kill -9 every " +
			"other second. Each quantity is measured every second. Its slope is that of a line through the means of 20 equal parts of the time, without the first fifth: means, because what follows a sample " +
			"closely depends on it. Before and after the load the service is idle.",
		columns: []column{{"before", "%.1f", false}, {"mean under load", "%.1f", false}, {"after", "%.1f", false}, {"slope per hour", "%.2f", false},
			{"95 % from", "%.2f", false}, {"95 % to", "%.2f", false}, {"indistinguishable from zero", yesNo, false}},
		entrants: []entrant{{contender: charmer, title: "charmer", env: loop, flags: []string{"--cancel-grace=100ms"}}}}
	var before, after vitals
	var samples []vitals
	var mixed *mixture
	s.note = func() string {
		if mixed == nil {
			return ""
		}
		return mixed.String()
	}
	s.measure = func(ctx context.Context, e *environment, s *server, index int) (measurement, error) {
		if index == 0 {
			var err error
			if before, err = s.vitals(); err != nil {
				return nil, err
			}
			mixed = newMixture(s)
			ctx, stop := context.WithTimeout(ctx, e.soak)
			defer stop()
			go mixed.run(ctx) // ends with ctx; waited for below
			if samples, err = s.watch(ctx); err != nil {
				return nil, err
			}
			<-mixed.done
			time.Sleep(restTime)
			if after, err = s.vitals(); err != nil {
				return nil, err
			}
		}
		var hours, values []float64
		for _, v := range samples {
			hours, values = append(hours, v.at.Hours()), append(values, v.values[index])
		}
		line, err := trend.Fit(hours, values)
		if err != nil {
			return nil, fmt.Errorf("%d samples: %w", len(samples), err)
		}
		m := measurement{"before": before.values[index], "mean under load": line.Mean, "after": after.values[index], "slope per hour": line.Slope,
			"95 % from": line.Low, "95 % to": line.High, "indistinguishable from zero": 0}
		if line.Low <= 0 && line.High >= 0 {
			m["indistinguishable from zero"] = 1
		}
		return m, nil
	}
	return s
}

// minSoak has enough samples for a line, one each second.
const minSoak = time.Minute

// restTime is how long the service is left alone before it is measured for the last time: connections that clients keep are
// closed by then, and the heap is collected.
const restTime = 10 * time.Second
