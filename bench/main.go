// Bench measures a running service from outside: it builds charmer, serves bench/echo.py with two workers, and calls it over
// keep-alive connections. See bench/README.md.
//
//	go run ./bench [-connections 1,16,64] [-rounds 5] [-seconds 3]
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	connections := flag.String("connections", "1,16,64", "numbers of connections, separated by commas")
	rounds := flag.Int("rounds", 5, "rounds; the scenarios take turns in each")
	seconds := flag.Float64("seconds", 3, "length of each measurement")
	workers := flag.Int("workers", 2, "worker processes")
	flag.Parse()
	if err := run(*connections, *rounds, *workers, time.Duration(*seconds*float64(time.Second))); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// scenario is one thing that is measured.
type scenario struct {
	name        string
	request     []byte
	connections int
}

func run(connections string, rounds, workers int, length time.Duration) error {
	service, err := startService(workers)
	if err != nil {
		return err
	}
	defer service.stop()
	scenarios, err := scenariosFor(connections, service.address)
	if err != nil {
		return err
	}
	results := make([][]result, len(scenarios))
	for round := range rounds + 1 {
		for i, s := range scenarios {
			r, err := load(service.address, s.request, s.connections, length)
			if err != nil {
				return fmt.Errorf("%s, %d connections: %w", s.name, s.connections, err)
			}
			if round > 0 { // the first round warms up
				results[i] = append(results[i], r)
			}
		}
	}
	return report(scenarios, results, workers, length)
}

// scenariosFor returns the echo through Python, and the same connections against a route that Go answers alone.
func scenariosFor(connections, address string) ([]scenario, error) {
	value := strings.Repeat("x", 100-len(`{"value":""}`))
	echo := fmt.Sprintf(`{"command":"echo","args":{"value":"%s"}}`, value)
	var scenarios []scenario
	for text := range strings.SplitSeq(connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-connections: %q is not a number of connections", text)
		}
		scenarios = append(scenarios,
			scenario{"echo 100 B", request("POST", "/execute", address, echo), n},
			scenario{"Go alone", request("GET", "/health/live", address, ""), n})
	}
	return scenarios, nil
}

func request(method, path, address, body string) []byte {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, address)
	if body != "" {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return []byte(head + "\r\n" + body)
}

// report prints the medians over the rounds, and the spread of the rate.
func report(scenarios []scenario, results [][]result, workers int, length time.Duration) error {
	fmt.Printf("%s, %d CPUs, %s, %d workers, %d rounds of %s, %s\n\n", runtime.Version(), runtime.NumCPU(), pythonVersion(), workers,
		len(results[0]), length, time.Now().UTC().Format(time.DateOnly))
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "scenario\tconnections\trequests/s\tlowest\thighest\tp50 ms\tp99 ms\tCPU s per 1,000\t")
	for i, s := range scenarios {
		rate := func(r result) float64 { return r.rate }
		fmt.Fprintf(table, "%s\t%d\t%.0f\t%.0f\t%.0f\t%.3f\t%.3f\t%.3f\t\n", s.name, s.connections, median(results[i], rate),
			slices.Min(values(results[i], rate)), slices.Max(values(results[i], rate)),
			median(results[i], func(r result) float64 { return r.p50 }), median(results[i], func(r result) float64 { return r.p99 }),
			median(results[i], func(r result) float64 { return r.cpu }))
	}
	return table.Flush()
}

func values(results []result, of func(result) float64) []float64 {
	out := make([]float64, len(results))
	for i, r := range results {
		out[i] = of(r)
	}
	return out
}

func median(results []result, of func(result) float64) float64 {
	sorted := values(results, of)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

func pythonVersion() string {
	out, err := exec.Command("python3", "--version").Output()
	if err != nil {
		return "no python3"
	}
	return strings.TrimSpace(string(out))
}

// service is a charmer that is measured.
type service struct {
	cmd     *exec.Cmd
	dir     string
	address string
}

// startService builds and starts charmer, and waits until it answers.
func startService(workers int) (*service, error) {
	dir, err := os.MkdirTemp("", "charmer-bench-")
	if err != nil {
		return nil, err
	}
	s := &service{dir: dir, address: "127.0.0.1:18765"}
	program := filepath.Join(dir, "charmer")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("go build, in the folder of go.mod: %w", err)
	}
	s.cmd = exec.Command(program, "serve", "--listen="+s.address, "--workers="+strconv.Itoa(workers), "--min-ready="+strconv.Itoa(workers),
		"--log-level=warn", filepath.Join("bench", "echo.py"))
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := awaitReady(s.address); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// stop ends the service and removes what was built.
func (s *service) stop() {
	if err := s.cmd.Process.Signal(os.Interrupt); err == nil {
		_ = s.cmd.Wait() // its log has gone to stderr
	}
	_ = os.RemoveAll(s.dir)
}
