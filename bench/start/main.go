// Start measures how workers start: forked from a zygote against started as programs of their own, in turns. See
// bench/README.md.
//
//	go run ./bench/start [-rounds 30] [-python python3] [-imports numpy,fastapi]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"charmer/workerproc"
)

func main() {
	rounds := flag.Int("rounds", 30, "rounds of ten forks and one exec")
	python := flag.String("python", "python3", "interpreter")
	imports := flag.String("imports", "", "modules that the app imports besides the standard library's, separated by commas")
	flag.Parse()
	if err := run(*rounds, *python, *imports); err != nil {
		fmt.Fprintln(os.Stderr, "bench/start:", err)
		os.Exit(1)
	}
}

func run(rounds int, python, imports string) error {
	app, err := filepath.Abs("bench/start/app.py")
	if err != nil {
		return err
	}
	cfg := workerproc.Config{
		Python: python, App: app, MaxFrame: 64 << 20, StartTimeout: time.Minute,
		Family: new(workerproc.Family), Environ: append(os.Environ(), "BENCH_IMPORTS="+imports), Log: slog.New(slog.DiscardHandler),
	}
	execs, err := workerproc.NewSpawner(cfg)
	if err != nil {
		return err
	}
	cfg.Preload = true
	forks, err := workerproc.NewSpawner(cfg)
	if err != nil {
		return errors.Join(err, execs.Close())
	}
	err = measure(forks, execs, rounds)
	return errors.Join(err, forks.Close(), execs.Close())
}

func measure(forks, execs *workerproc.Spawner, rounds int) error {
	first, err := start(forks) // waits for the import
	if err != nil {
		return err
	}
	z := forks.Zygote(generation)
	if z.State != workerproc.ZygoteReady {
		return fmt.Errorf("the zygote is %s: %s", z.State, z.Reason)
	}
	fmt.Printf("import: %s, %.1f MB\n", z.Import.Round(time.Millisecond), mega(z.Memory))
	var byFork, byExec []time.Duration
	for range rounds {
		for _, row := range []struct {
			spawner *workerproc.Spawner
			took    *[]time.Duration
			times   int
		}{{forks, &byFork, forksPerExec}, {execs, &byExec, 1}} {
			for range row.times {
				began := time.Now()
				w, err := start(row.spawner)
				if err != nil {
					return err
				}
				*row.took = append(*row.took, time.Since(began))
				w.Stop(time.Second)
			}
		}
	}
	for _, row := range []struct {
		name string
		took []time.Duration
	}{{"fork", byFork}, {"exec", byExec}} {
		slices.Sort(row.took)
		fmt.Printf("%s to READY: p50 %.2f ms, p99 %.2f ms, least %.2f ms of %d\n", row.name, ms(at(row.took, 50)), ms(at(row.took, 99)), ms(row.took[0]), len(row.took))
	}
	fmt.Printf("ratio of the p50: %.0f\n", float64(at(byExec, 50))/float64(at(byFork, 50)))
	if err := memory("forked worker", first); err != nil {
		return err
	}
	other, err := start(execs)
	if err != nil {
		return err
	}
	return memory("exec'ed worker", other)
}

// forksPerExec is how many forks there are in a row: the first after an exec finds the processor's caches full of other things.
const forksPerExec = 10

// generation of the app; there is one.
const generation = 1

func start(s *workerproc.Spawner) (*workerproc.Worker, error) {
	return s.Spawn(context.Background(), generation, 1, nil)
}

// memory tells the private memory of a new worker, and after 10,000 calls and a collection; then it stops the worker.
func memory(name string, w *workerproc.Worker) error {
	defer w.Stop(time.Second)
	before, err := w.Usage()
	if err != nil {
		return err
	}
	for n := range 10_000 {
		command, args := "echo", fmt.Appendf(nil, `{"n":%d}`, n)
		if n == 9_999 {
			command, args = "collect", nil
		}
		if _, err := w.Call(context.Background(), &workerproc.Call{Command: command, Args: args, RequestID: "bench", Deadline: time.Now().Add(time.Minute)}); err != nil {
			return err
		}
	}
	after, err := w.Usage()
	if err != nil {
		return err
	}
	fmt.Printf("%s: private %.2f MB when ready, %.2f MB after 10,000 calls and gc.collect(); rss %.1f MB\n", name, mega(before.Private), mega(after.Private), mega(after.RSS))
	return nil
}

// at returns a percentile of sorted times.
func at(sorted []time.Duration, percent int) time.Duration { return sorted[len(sorted)*percent/100] }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mega(bytes int64) float64 { return float64(bytes) / 1e6 }
