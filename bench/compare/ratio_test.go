package main

import "testing"

func TestTheIntervalLeavesOutWhatTablesSay(t *testing.T) {
	// Orders of the sign test at 5 %, two-sided.
	for n, want := range map[int]int{6: 0, 8: 0, 9: 1, 10: 1, 12: 2, 15: 3, 20: 5, 25: 7} {
		if got := outside(n); got != want {
			t.Errorf("outside(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestRatiosAreByRound(t *testing.T) {
	r := ratios([2][]float64{{100, 200, 100, 100, 100, 100}, {90, 180, 110, 90, 90, 90}})
	if r.low != 0.9 || r.high != 1.1 || median(r.all) != 0.9 {
		t.Errorf("ratios = %+v", r)
	}
}
