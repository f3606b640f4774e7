// Package trend tells whether a measured quantity grows.
package trend

import (
	"errors"
	"math"
)

// Line is a line through measured values, by least squares.
type Line struct {
	Mean, Slope float64
	Low, High   float64 // of the slope, with a confidence of 95 %
}

const (
	blocks   = 20
	settle   = 0.2   // share of the time that is left out, for the quantity to get where it belongs
	critical = 2.101 // 0.975 quantile of Student's t distribution with blocks-2 degrees of freedom
)

// Fit fits a line. Samples close to each other are alike, which would make a confidence interval from all of them too narrow,
// so it is fitted to the means of 20 blocks of successive samples. The first fifth is left out. x must ascend.
func Fit(x, y []float64) (Line, error) {
	skip := int(float64(len(x)) * settle)
	x, y = x[skip:], y[skip:]
	if len(x) < 2*blocks {
		return Line{}, errors.New("too few for a line")
	}
	var bx, by [blocks]float64
	for i := range blocks {
		from, to := i*len(x)/blocks, (i+1)*len(x)/blocks
		bx[i], by[i] = mean(x[from:to]), mean(y[from:to])
	}
	mx, my := mean(bx[:]), mean(by[:])
	var sxx, sxy float64
	for i := range blocks {
		sxx += (bx[i] - mx) * (bx[i] - mx)
		sxy += (bx[i] - mx) * (by[i] - my)
	}
	slope := sxy / sxx
	var residual float64
	for i := range blocks {
		r := by[i] - my - slope*(bx[i]-mx)
		residual += r * r
	}
	margin := critical * math.Sqrt(residual/(blocks-2)/sxx)
	return Line{Mean: mean(y), Slope: slope, Low: slope - margin, High: slope + margin}, nil
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
