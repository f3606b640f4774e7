package main

import (
	"testing"
	"time"
)

func TestATimeoutNeverBecomesNone(t *testing.T) {
	for timeout, want := range map[time.Duration]float64{
		1: 0.001, 100: 0.001, time.Microsecond: 0.001, time.Microsecond + 1: 0.002, time.Millisecond: 1, 1500 * time.Microsecond: 1.5, time.Hour: 3.6e6,
	} {
		if got := milliseconds(timeout); got != want {
			t.Errorf("%s is sent as %v ms, want %v", timeout, got, want)
		}
	}
}
