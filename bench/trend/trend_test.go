package trend

import (
	"math/rand/v2"
	"testing"
)

func TestTheIntervalHoldsTheSlopeAboutAsOftenAsItSays(t *testing.T) {
	for _, slope := range []float64{0, 3} {
		random := rand.New(rand.NewPCG(1, 2))
		const runs = 1000
		held := 0
		for range runs {
			var x, y []float64
			for i := range 600 {
				x = append(x, float64(i)/600)
				y = append(y, 10+slope*float64(i)/600+random.NormFloat64())
			}
			line, err := Fit(x, y)
			if err != nil {
				t.Fatal(err)
			}
			if line.Low <= slope && slope <= line.High {
				held++
			}
		}
		if held < runs*93/100 || held > runs*97/100 {
			t.Errorf("slope %v: the interval held it in %d of %d runs", slope, held, runs)
		}
	}
}

func TestAFlatLineHasNoSlope(t *testing.T) {
	x, y := make([]float64, 100), make([]float64, 100)
	for i := range x {
		x[i], y[i] = float64(i), 7
	}
	line, err := Fit(x, y)
	if err != nil || line != (Line{Mean: 7}) {
		t.Errorf("Fit = %+v, %v", line, err)
	}
}
