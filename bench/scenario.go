package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"charmer/bench/load"
	"charmer/bench/proc"
)

// scenario is one question, put to all contenders that can answer it.
type scenario struct {
	id, title string
	about     string // a sentence for the report
	columns   []column
	plot      string // the column that is drawn
	entrants  []entrant
	cases     []string
	rounds    int           // at most; 0 is as many as the command line says
	once      bool          // it is one long measurement, without rounds
	cold      bool          // measure starts the entrants itself
	note      func() string // says more when all is measured; may be nil
	// measure returns nil if the server cannot do the case. It asks a running server for a case of the scenario.
	measure func(ctx context.Context, e *environment, s *server, index int) (measurement, error)
}

// scenarios is the table of all, in the order in which they run.
func scenarios() []*scenario {
	return []*scenario{echoOne(), echoMany(), payload(), streams(), waiting(), busy(), sessions(), overload(), kills(), leavers(), starts(), soak(), fairness(), batches()}
}

// column is one measured thing.
type column struct {
	Name   string
	Format string // of fmt, for a float64
	Spread bool   // lowest and highest are shown
}

// measurement is one value for each column, by its name.
type measurement map[string]float64

// runScenario measures the entrants of a scenario, those that are to be apart after the others.
func (e *environment) runScenario(ctx context.Context, sc *scenario) (*scenarioResult, error) {
	result := &scenarioResult{ID: sc.id, Title: sc.title, About: sc.about, Columns: sc.columns, Plot: sc.plot}
	for _, apart := range []bool{false, true} {
		var entrants []entrant
		for _, n := range sc.entrants {
			if n.apart == apart && (len(e.contenders) == 0 || slices.Contains(e.contenders, n.name)) {
				entrants = append(entrants, n)
			}
		}
		if len(entrants) == 0 {
			continue
		}
		if err := e.runEntrants(ctx, sc, entrants, result); err != nil {
			return nil, err
		}
	}
	result.sort(sc)
	for _, c := range contenders {
		if !slices.ContainsFunc(sc.entrants, func(n entrant) bool { return n.contender == c }) && c != ceiling && c != alone && !sc.once {
			result.Absent = append(result.Absent, c.name)
		}
	}
	if sc.note != nil {
		result.Note = sc.note()
	}
	return result, nil
}

// runEntrants starts entrants side by side and asks each in turn for each case, in every round; the first round is forgotten.
func (e *environment) runEntrants(ctx context.Context, sc *scenario, entrants []entrant, result *scenarioResult) error {
	var servers []*server
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	for _, n := range entrants {
		s := &server{entrant: n, notes: map[string]float64{}}
		if n.argv != nil && !sc.cold {
			var err error
			if s, err = e.start(ctx, n); err != nil {
				return err
			}
		}
		servers = append(servers, s)
	}
	rounds := e.rounds
	if sc.rounds > 0 {
		rounds = min(rounds, sc.rounds)
	}
	if sc.once {
		rounds = 0
	}
	for round := range rounds + 1 {
		if err := e.runRound(ctx, sc, servers, result, round > 0 || sc.once); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", sc.id, round, rounds)
	}
	return nil
}

// runRound asks each server for each case, and adds what they measured to the result if it is to be kept.
func (e *environment) runRound(ctx context.Context, sc *scenario, servers []*server, result *scenarioResult, keep bool) error {
	for index, label := range sc.cases {
		for _, s := range servers {
			if err := ctx.Err(); err != nil {
				return err
			}
			m, err := sc.measure(ctx, e, s, index)
			if err != nil {
				return fmt.Errorf("%s: %s: %w\n%s", s.title, label, err, s.output.Bytes())
			}
			if keep && m != nil {
				result.add(label, s.title, m)
			}
		}
	}
	return nil
}

// What is measured of a load.
var loadColumns = []column{
	{"requests/s", "%.0f", true}, {"p50 ms", "%.3f", false}, {"p99 ms", "%.3f", false},
	{"CPU s per 1,000", "%.3f", false}, {"memory MB", "%.1f", false}, {"failed", "%.0f", false},
}

// observed measures what a server and the rest of the machine use while a load runs.
func (e *environment) observed(s *server, run func() (load.Result, error)) (measurement, load.Result, error) {
	began := time.Now()
	cpu, busy, own := proc.CPU(s.cmd.Process.Pid), proc.Busy(), proc.Own()
	r, err := run()
	if err != nil {
		return nil, r, err
	}
	cpu, busy, own = proc.CPU(s.cmd.Process.Pid)-cpu, proc.Busy()-busy, proc.Own()-own
	e.others = append(e.others, max(0, (busy-cpu-own).Seconds()/time.Since(began).Seconds()))
	m := measurement{
		"requests/s": r.Rate(), "p50 ms": r.Milliseconds(0.5), "p99 ms": r.Milliseconds(0.99), "failed": float64(r.Failed),
		"memory MB": float64(proc.MemoryOf(s.cmd.Process.Pid).PSS) / 1e6,
	}
	if n := len(r.Latencies); n > 0 {
		m["CPU s per 1,000"] = cpu.Seconds() / float64(n) * 1000
		m["load CPU s per 1,000"] = own.Seconds() / float64(n) * 1000
	}
	return m, r, nil
}
