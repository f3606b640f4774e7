package load

import (
	"sync"
	"time"
)

const (
	patience = 30 * time.Second      // after the end of a measurement, for the answers that are still to come
	pause    = 10 * time.Millisecond // after a failed request
)

// Closed keeps n connections busy for length: each sends its next request when the answer to the last one is there. pick
// chooses that request by its index, and there is one result for each of requests.
func Closed(address string, n int, length time.Duration, requests []*Request, pick func(connection, turn int) int) []Result {
	parts := make([][]Result, len(requests)) // by request and connection
	for i := range parts {
		parts[i] = make([]Result, n)
	}
	began := time.Now()
	until := began.Add(length)
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() { // ends at until, or patience later
			c := NewConn(address, until.Add(patience))
			for turn, now := 0, time.Now(); now.Before(until); turn++ {
				kind := pick(i, turn)
				answer, err := c.Do(requests[kind])
				if err == nil {
					err = requests[kind].Check(answer)
				}
				then := now
				now = time.Now()
				if err != nil {
					parts[kind][i].wrong(err)
					time.Sleep(pause)
					now = time.Now()
					continue
				}
				parts[kind][i].right(now.Sub(then))
			}
			_ = c.Close() // it has said all
		})
	}
	clients.Wait()
	took := time.Since(began)
	results := make([]Result, len(requests))
	for kind, p := range parts {
		results[kind] = merge(p, took)
	}
	return results
}

// Only is Closed with one request.
func Only(address string, n int, length time.Duration, request *Request) Result {
	return Closed(address, n, length, []*Request{request}, func(int, int) int { return 0 })[0]
}
