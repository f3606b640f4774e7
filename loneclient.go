package main

import (
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"
)

// loneClient has a processor stay awake for the next request of a client that sends one after the other over the only connection
// there is. It begins when the client has been prompt for a while, and ends when it is not, or no longer alone.
type loneClient struct {
	stay  func(conn syscall.Conn, limit time.Duration) // awake.For
	began time.Time

	connections atomic.Int64
	multiplexed atomic.Bool  // the last request came over HTTP/2, of which an answer may not be written out when its connection is idle
	answered    atomic.Int64 // nanoseconds after began
	prompt      atomic.Int64 // requests, one after the other, that came promptly after the answer to the one before
}

const (
	promptly       = 200 * time.Microsecond
	promptRequests = 8
)

func newLoneClient(stay func(syscall.Conn, time.Duration)) *loneClient {
	return &loneClient{stay: stay, began: time.Now()}
}

// see returns a handler that notes of each request what it has to know, and hands it to next.
func (l *loneClient) see(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.multiplexed.Store(r.ProtoMajor != 1)
		next.ServeHTTP(w, r)
	})
}

// changed is http.Server.ConnState. The server reads the next request when it returns.
func (l *loneClient) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		l.connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		l.connections.Add(-1)
	case http.StateActive, http.StateIdle:
		if l.connections.Load() == 1 {
			l.lone(conn, state, time.Since(l.began))
		}
	}
}

func (l *loneClient) lone(conn net.Conn, state http.ConnState, now time.Duration) {
	if state == http.StateActive {
		if now-time.Duration(l.answered.Load()) > promptly {
			l.prompt.Store(0)
		} else {
			l.prompt.Add(1)
		}
		return
	}
	l.answered.Store(int64(now))
	if l.prompt.Load() < promptRequests || l.multiplexed.Load() {
		return
	}
	if conn, ok := conn.(syscall.Conn); ok {
		l.stay(conn, promptly)
	}
}
