package poolsvc

import (
	"slices"
	"time"
)

// bucketBounds are the upper bounds of all histograms, 0.1 ms to 30 s.
var bucketBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// histogram counts durations by bucket. It lives in the pool, and not in a metrics library, so that it is part of the
// one snapshot that everything is read from.
type histogram struct {
	buckets [len(bucketBounds)]uint64 // not cumulative; what is over the last bound is only in count
	count   uint64
	sum     time.Duration
}

func (h *histogram) observe(d time.Duration) {
	h.count++
	h.sum += d
	if i, _ := slices.BinarySearch(bucketBounds[:], d); i < len(h.buckets) {
		h.buckets[i]++
	}
}

// Histogram is a snapshot of durations. Buckets maps an upper bound in seconds to how many were at most that.
type Histogram struct {
	Count   uint64
	Sum     time.Duration
	Buckets map[float64]uint64
}

func (h *histogram) snapshot() Histogram {
	out := Histogram{Count: h.count, Sum: h.sum, Buckets: make(map[float64]uint64, len(bucketBounds))}
	var below uint64
	for i, bound := range bucketBounds {
		below += h.buckets[i]
		out.Buckets[bound.Seconds()] = below
	}
	return out
}
