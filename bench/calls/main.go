// Calls measures streams, calls that wait side by side, and batches: charmer beside FastAPI on uvicorn, in turns, with two
// workers each. See bench/README.md.
//
//	go run ./bench/calls [-rounds 5]
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds; everything takes turns in each")
	flag.Parse()
	if err := run(*rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench/calls:", err)
		os.Exit(1)
	}
}

// request is one call of a contender.
type request struct {
	url, accept, body string
}

// contender makes the requests of one side; nil if it has no such thing.
type contender struct {
	name     string
	stream   func(command string, n int) request
	nap      func(seconds float64) request
	together func(x int) request
}

func execute(address, accept, command, args string) request {
	return request{"http://" + address + "/execute", accept, fmt.Sprintf(`{"command":%q,"args":%s}`, command, args)}
}

func run(rounds int) error {
	servers, err := startServers()
	if err != nil {
		return err
	}
	defer servers.stop()
	ours := contender{name: "charmer",
		stream: func(command string, n int) request {
			return execute(charmerAddress, "application/x-ndjson", command, fmt.Sprintf(`{"n":%d}`, n))
		},
		nap: func(s float64) request {
			return execute(charmerAddress, "", "nap", fmt.Sprintf(`{"seconds":%g}`, s))
		},
		together: func(x int) request { return execute(charmerAddress, "", "together", fmt.Sprintf(`{"x":%d}`, x)) },
	}
	alone := contender{name: "charmer, not batched",
		together: func(x int) request { return execute(singleAddress, "", "single", fmt.Sprintf(`{"x":%d}`, x)) },
	}
	theirs := contender{name: "FastAPI on uvicorn",
		stream: func(command string, n int) request {
			return request{"http://" + fastAPIAddress + "/" + command, "", fmt.Sprintf(`{"n":%d}`, n)}
		},
		nap: func(s float64) request {
			return request{"http://" + fastAPIAddress + "/nap", "", fmt.Sprintf(`{"seconds":%g}`, s)}
		},
	}
	results := map[string][]float64{}
	var names []string
	note := func(keep bool, name string, value float64) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		if keep { // the first round warms up
			results[name] = append(results[name], value)
		}
	}
	for round := range rounds + 1 {
		for _, s := range []struct {
			command     string
			connections int
		}{{"numbers", 1}, {"numbers", 2}, {"anumbers", 1}, {"anumbers", 16}} {
			for _, c := range []contender{ours, theirs} {
				rate, first, err := streams(c.stream(s.command, 5000), s.connections)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", c.name, s.command, err)
				}
				name := fmt.Sprintf("%s, %d connections", map[string]string{"numbers": "generator", "anumbers": "async generator"}[s.command], s.connections)
				note(round > 0, name+"\tchunks/s\t"+c.name, rate)
				note(round > 0, name+"\tms to the first chunk, p50\t"+c.name, first)
			}
		}
		for _, c := range []contender{ours, theirs} {
			took, err := together(500, func(int) request { return c.nap(0.1) })
			if err != nil {
				return fmt.Errorf("%s: nap: %w", c.name, err)
			}
			note(round > 0, "500 async calls at once, 100 ms each\tms for all\t"+c.name, float64(took.Microseconds())/1000)
		}
		for _, c := range []contender{ours, alone} {
			rate, err := closedLoop(64, time.Second, c.together)
			if err != nil {
				return fmt.Errorf("%s: batch: %w", c.name, err)
			}
			note(round > 0, "2 ms fixed cost, 64 connections\tcalls/s\t"+c.name, rate)
		}
	}
	fmt.Printf("%s, %d CPUs, %s, 2 workers, %d rounds, %s\n\n", runtime.Version(), runtime.NumCPU(), servers.versions, rounds, time.Now().UTC().Format(time.DateOnly))
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tunit\tcontender\tmedian\tlowest\thighest")
	for _, name := range names {
		v := slices.Sorted(slices.Values(results[name]))
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.1f\n", name, v[len(v)/2], v[0], v[len(v)-1])
	}
	return table.Flush()
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}

// send returns the reply to a request, which must be a 200.
func send(r request) (io.ReadCloser, error) {
	req, err := http.NewRequest("POST", r.url, strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	reply, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(reply.Body)
		_ = reply.Body.Close()
		return nil, fmt.Errorf("%d %s", reply.StatusCode, text)
	}
	return reply.Body, nil
}

// streams reads four streams on each of n connections, and returns the chunks per second and the median time until a first
// chunk is there, in milliseconds.
func streams(r request, n int) (rate, first float64, err error) {
	var mu sync.Mutex
	var firsts []float64
	chunks := 0
	var errs []error
	var clients sync.WaitGroup
	began := time.Now()
	for range n {
		clients.Go(func() {
			for range 4 {
				count, after, err := readStream(r)
				mu.Lock()
				chunks += count
				firsts = append(firsts, float64(after.Microseconds())/1000)
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	took := time.Since(began)
	slices.Sort(firsts)
	return float64(chunks) / took.Seconds(), firsts[len(firsts)/2], errors.Join(errs...)
}

// readStream counts the lines of a stream that have data.
func readStream(r request) (chunks int, first time.Duration, err error) {
	began := time.Now()
	body, err := send(r)
	if err != nil {
		return 0, 0, err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"i"`) {
			if chunks == 0 {
				first = time.Since(began)
			}
			chunks++
		}
	}
	return chunks, first, lines.Err()
}

// together sends n requests at once, and returns the time until all are answered.
func together(n int, of func(int) request) (time.Duration, error) {
	errs := make([]error, n)
	var clients sync.WaitGroup
	began := time.Now()
	for i := range n {
		clients.Go(func() { errs[i] = once(of(i)) })
	}
	clients.Wait()
	return time.Since(began), errors.Join(errs...)
}

// closedLoop sends requests on n connections, the next one when the reply is there, and returns how many a second.
func closedLoop(n int, length time.Duration, of func(int) request) (float64, error) {
	counts, errs := make([]int, n), make([]error, n)
	var clients sync.WaitGroup
	began := time.Now()
	for i := range n {
		clients.Go(func() {
			for errs[i] == nil && time.Since(began) < length {
				errs[i] = once(of(i))
				counts[i]++
			}
		})
	}
	clients.Wait()
	took := time.Since(began)
	all := 0
	for _, c := range counts {
		all += c
	}
	return float64(all) / took.Seconds(), errors.Join(errs...)
}

func once(r request) error {
	body, err := send(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, body)
	return errors.Join(err, body.Close())
}
