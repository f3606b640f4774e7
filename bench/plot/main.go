// Plot draws the results of bench as bars, one picture for each scenario that has a column to draw. It is a module of its own, so
// that charmer does not depend on what draws.
//
//	plot results.json results.svg
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "plot results.json results.svg")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

// report is the part of results.json that is drawn.
type report struct {
	Scenarios []scenario
}

// scenario is one picture.
type scenario struct {
	ID, Title, Plot string // Plot is the column that is drawn
	Rows            []row
}

// row is one contender in one case.
type row struct {
	Case, Contender string
	Rounds          []map[string]float64
}

// values returns the sorted values of a column.
func (r row) values(column string) []float64 {
	var values []float64
	for _, m := range r.Rounds {
		if v, ok := m[column]; ok {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return values
}

func run(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	drawn := slices.DeleteFunc(r.Scenarios, func(s scenario) bool { return s.Plot == "" || len(s.Rows) == 0 })
	if len(drawn) == 0 {
		return nil
	}
	return draw(drawn, to)
}
