package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// result is one measurement. Times are milliseconds.
type result struct {
	rate     float64 // requests per second
	p50, p99 float64
	cpu      float64 // seconds of CPU, of service and workers, for 1,000 requests
}

// load sends the same request over and over on each of n connections, the next one when the reply is there (a closed
// loop), and measures for length.
func load(address string, request []byte, n int, length time.Duration) (result, error) {
	latencies := make([][]time.Duration, n)
	errs := make([]error, n)
	cpu := serviceCPU()
	began := time.Now()
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() { latencies[i], errs[i] = client(address, request, began.Add(length)) })
	}
	clients.Wait()
	took := time.Since(began)
	all := slices.Concat(latencies...)
	if err := errors.Join(errs...); err != nil || len(all) == 0 {
		return result{}, errors.Join(err, errors.New("no measurement"))
	}
	slices.Sort(all)
	at := func(q float64) float64 {
		return float64(all[min(len(all)-1, int(q*float64(len(all))))].Microseconds()) / 1000
	}
	return result{rate: float64(len(all)) / took.Seconds(), p50: at(0.5), p99: at(0.99),
		cpu: (serviceCPU() - cpu).Seconds() / float64(len(all)) * 1000}, nil
}

// client is one connection. It speaks just enough HTTP/1.1 to cost little beside what it measures.
func client(address string, request []byte, until time.Time) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 16<<10)
	var latencies []time.Duration
	for now := time.Now(); now.Before(until); {
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		if err := readReply(in); err != nil {
			return nil, err
		}
		next := time.Now()
		latencies = append(latencies, next.Sub(now))
		now = next
	}
	return latencies, nil
}

// readReply reads one reply and returns an error unless it is a 200 with a Content-Length.
func readReply(in *bufio.Reader) error {
	status, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(status), "HTTP/1.1 200 ") {
		return fmt.Errorf("the service answered %q", status)
	}
	length := -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("the service sent no Content-Length")
	}
	_, err = in.Discard(length)
	return err
}

// awaitReady returns when the service is ready, or an error after a minute.
func awaitReady(address string) error {
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var reply *http.Response
		if reply, err = http.Get("http://" + address + "/health/ready"); err != nil {
			continue
		}
		text, _ := io.ReadAll(reply.Body)
		_ = reply.Body.Close()
		if reply.StatusCode == http.StatusOK {
			return nil
		}
		err = fmt.Errorf("not ready: %s", text)
	}
	return err
}

// serviceCPU returns the CPU time so far of the children of this process and of theirs, or 0 without /proc.
func serviceCPU() time.Duration {
	ticks, family := int64(0), map[string]bool{strconv.Itoa(os.Getpid()): true}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	slices.SortFunc(stats, func(a, b string) int { return len(a)*1_000_000 - len(b)*1_000_000 + strings.Compare(a, b) })
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest) // from field 3 of proc(5) on
		if len(fields) < 13 || !family[fields[1]] {
			continue
		}
		family[filepath.Base(filepath.Dir(path))] = true
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		ticks += user + system
	}
	const hertz = 100 // USER_HZ of Linux
	return time.Duration(ticks) * time.Second / hertz
}
