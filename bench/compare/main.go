// Compare measures two commits of charmer against each other: echoes of 100 B on two workers, in turns. It exits with 1 if the
// second is slower than the first by more than a share, and that is not noise.
//
//	go run ./bench/compare [-slower 5] [-connections 1,16,64] [-rounds 10] [-seconds 2] A B      in the folder of go.mod
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	commits     [2]string
	connections []int
	rounds      int
	length      time.Duration
	python      string
	slower      float64 // share that B may be slower
}

// errSlower means that B is slower than it may be.
var errSlower = errors.New("the second is slower than the first")

func main() {
	o, err := parse()
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, o)
		stop()
	}
	switch {
	case errors.Is(err, errSlower):
		fmt.Println(err)
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench/compare:", err)
		os.Exit(2)
	}
}

func parse() (options, error) {
	var o options
	slower := flag.Float64("slower", 5, "per cent that B may be slower")
	connections := flag.String("connections", "1,16,64", "numbers of connections, separated by commas")
	flag.IntVar(&o.rounds, "rounds", 10, "rounds, at least 6; A and B take turns in each, and in who is first")
	seconds := flag.Float64("seconds", 2, "length of each measurement")
	flag.StringVar(&o.python, "python", "python3", "interpreter of the workers")
	flag.Parse()
	if flag.NArg() != 2 {
		return o, errors.New("two commits are needed: compare A B")
	}
	o.commits = [2]string{flag.Arg(0), flag.Arg(1)}
	o.slower, o.length = *slower/100, time.Duration(*seconds*float64(time.Second))
	if o.rounds < minRounds {
		return o, fmt.Errorf("-rounds: fewer than %d tell nothing about noise", minRounds)
	}
	for text := range strings.SplitSeq(*connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-connections: %q is not a number of connections", text)
		}
		o.connections = append(o.connections, n)
	}
	return o, nil
}

// run builds, starts and measures both, and prints the ratios.
func run(ctx context.Context, o options) error {
	runtime.GOMAXPROCS(1) // so that the load takes no more of the processors than it has work for
	dir, err := os.MkdirTemp("", "charmer-compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var services [2]*service
	for i, commit := range o.commits {
		program, err := build(ctx, dir, string("AB"[i]), commit)
		if err != nil {
			return err
		}
		if services[i], err = start(ctx, dir, program, o.python); err != nil {
			return fmt.Errorf("%s: %w", commit, err)
		}
		defer services[i].stop()
	}
	fmt.Printf("A %s, B %s; %d rounds of %s, %d CPUs, %s\n", o.commits[0], o.commits[1], o.rounds, o.length, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	fmt.Println("connections   A requests/s   B requests/s   B/A (lowest-highest)   95 % of the median")
	slow := false
	for _, n := range o.connections {
		rates, err := measure(ctx, o, services, n)
		if err != nil {
			return err
		}
		r := ratios(rates)
		fmt.Printf("%11d   %12.0f   %12.0f   %.3f (%.3f-%.3f)    %.3f-%.3f\n", n, median(rates[0]), median(rates[1]), median(r.all), r.all[0], r.all[len(r.all)-1], r.low, r.high)
		slow = slow || r.high < 1-o.slower
	}
	if slow {
		return fmt.Errorf("%w by more than %g %%, beyond noise", errSlower, o.slower*100)
	}
	return nil
}
