// Bench measures charmer beside what its users would pick instead: each with two workers and the same functions, started on
// loopback and called in turns. It writes results.md, results.json and results.svg. See bench/README.md.
//
//	go run ./bench [-scenarios S1,S2] [-contenders charmer,fastapi] [-rounds 5] [-seconds 3] [-soak 10m] [-out bench/results]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	scenarios, contenders []string // empty is all
	rounds                int
	length                time.Duration // of one measurement
	soak                  time.Duration // of S12
	out                   string
}

func main() {
	var o options
	scenarios := flag.String("scenarios", "", "scenarios to run, separated by commas; all when empty")
	contenders := flag.String("contenders", "", "contenders that take part, separated by commas; all when empty")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds after the one that warms up; the contenders take turns in each")
	seconds := flag.Float64("seconds", 3, "length of each measurement")
	flag.DurationVar(&o.soak, "soak", 10*time.Minute, "length of S12")
	flag.StringVar(&o.out, "out", "bench/results", "folder of the results")
	flag.Parse()
	o.scenarios, o.contenders = list(*scenarios), list(*contenders)
	o.length = time.Duration(*seconds * float64(time.Second))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// run measures the chosen scenarios one after the other, and writes the results after each.
func run(ctx context.Context, o options) error {
	runtime.GOMAXPROCS(1) // so that the load takes no more of the processors than it has work for
	chosen, err := choose(o.scenarios)
	if err != nil {
		return err
	}
	if o.soak < minSoak {
		return fmt.Errorf("-soak: less than %s tells nothing", minSoak)
	}
	for _, name := range o.contenders {
		if !slices.ContainsFunc(contenders, func(c *contender) bool { return c.name == name }) {
			return fmt.Errorf("-contenders: there is no %q", name)
		}
	}
	e, err := newEnvironment(ctx, o)
	if err != nil {
		return err
	}
	defer e.remove()
	r := &report{Machine: describe(e)}
	for _, s := range chosen {
		result, err := e.runScenario(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.id, err)
		}
		r.Scenarios = append(r.Scenarios, result)
		r.Machine.Others = e.others
		if err := r.write(o.out); err != nil {
			return err
		}
	}
	return r.draw(ctx, o.out)
}

// choose returns the scenarios of these ids, in the order of the table.
func choose(ids []string) ([]*scenario, error) {
	all := scenarios()
	for _, id := range ids {
		if !slices.ContainsFunc(all, func(s *scenario) bool { return strings.EqualFold(s.id, id) }) {
			return nil, fmt.Errorf("-scenarios: there is no %q", id)
		}
	}
	if len(ids) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(s *scenario) bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return strings.EqualFold(s.id, id) })
	}), nil
}
