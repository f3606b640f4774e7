package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"bookshop/bookshop"
)

// Failure is a problem document (RFC 9457) as an error.
type Failure struct{ bookshop.Problem }

func (f *Failure) Error() string { return fmt.Sprintf("%d %s: %s", f.Status, f.Code, f.Detail) }

// failure returns the problem that the body of a reply without a result holds.
func failure(body []byte) error {
	var f Failure
	if err := json.Unmarshal(body, &f.Problem); err != nil {
		return fmt.Errorf("not a problem document: %q", body)
	}
	return &f
}

// patient is an http.RoundTripper that repeats a request the service had no worker for, after as long as that says. Nothing is run
// twice: what is answered with 503 was not begun.
type patient struct {
	attempts int                      // the most requests for one call
	refused  func(wait time.Duration) // told before each wait
}

func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		if attempt > 1 && r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			r = r.Clone(r.Context())
			r.Body = body
		}
		reply, err := http.DefaultTransport.RoundTrip(r)
		if err != nil || reply.StatusCode != http.StatusServiceUnavailable || attempt == p.attempts {
			return reply, err
		}
		seconds, err := strconv.Atoi(reply.Header.Get("Retry-After"))
		if err != nil {
			return reply, nil // waiting would not help
		}
		reply.Body.Close()
		wait := time.Duration(seconds) * time.Second
		p.refused(wait)
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}
