package load

import (
	"slices"
	"time"
)

// Result is what requests of one kind met.
type Result struct {
	Took      time.Duration   // of the measurement
	Latencies []time.Duration // of right answers, sorted
	Failed    int             // requests without a right answer
	Failure   error           // one of the failures, or nil
}

// Rate is right answers in a second.
func (r Result) Rate() float64 { return float64(len(r.Latencies)) / r.Took.Seconds() }

// Milliseconds is the latency below which a share q of the right answers came, or 0 if there were none.
func (r Result) Milliseconds(q float64) float64 {
	if len(r.Latencies) == 0 {
		return 0
	}
	return float64(r.Latencies[min(len(r.Latencies)-1, int(q*float64(len(r.Latencies))))]) / float64(time.Millisecond)
}

// right notes a right answer.
func (r *Result) right(latency time.Duration) { r.Latencies = append(r.Latencies, latency) }

// wrong notes a request without one.
func (r *Result) wrong(err error) {
	r.Failed++
	if r.Failure == nil {
		r.Failure = err
	}
}

// merge makes one result of those of several connections.
func merge(parts []Result, took time.Duration) Result {
	all := Result{Took: took}
	for _, p := range parts {
		all.Latencies = append(all.Latencies, p.Latencies...)
		all.Failed += p.Failed
		if all.Failure == nil {
			all.Failure = p.Failure
		}
	}
	slices.Sort(all.Latencies)
	return all
}

// Join makes one result of those of several kinds of requests that ran side by side.
func Join(parts []Result) Result { return merge(parts, parts[0].Took) }
