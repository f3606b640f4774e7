package main

import (
	"math"
	"slices"
)

// minRounds is the least of rounds for which the whole range of ratios is a 95 % interval of their median.
const minRounds = 6

// ratio is B against A, round by round.
type ratio struct {
	all       []float64 // sorted
	low, high float64   // between which the median is, with a confidence of at least 95 %
}

func ratios(rates [2][]float64) ratio {
	var r ratio
	for i := range rates[0] {
		r.all = append(r.all, rates[1][i]/rates[0][i])
	}
	slices.Sort(r.all)
	n := len(r.all)
	k := outside(n)
	r.low, r.high = r.all[k], r.all[n-1-k]
	return r
}

// outside returns how many of n sorted values can be left out on either side of an interval that holds the median of what they
// come from with a confidence of 95 %, whatever their distribution: of n values, each is above the median with probability 1/2.
func outside(n int) int {
	below := 0.0 // probability that at most k values are on one side
	for k := 0; ; k++ {
		if below += choose(n, k) / math.Pow(2, float64(n)); below > 0.025 {
			return max(0, k-1)
		}
	}
}

// choose is the number of ways to take k of n.
func choose(n, k int) float64 {
	ways := 1.0
	for i := range k {
		ways = ways * float64(n-i) / float64(i+1)
	}
	return ways
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
