package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// lone is a connection of which it is counted how often a processor stays awake for it.
type lone struct {
	net.Conn
	*loneClient
	awake int
}

func (l *lone) SyscallConn() (syscall.RawConn, error) { return nil, nil }

func newLone() *lone {
	l := &lone{}
	l.loneClient = newLoneClient(func(syscall.Conn, time.Duration) { l.awake++ })
	l.changed(l, http.StateNew)
	return l
}

// requests has n of them come one after the other, each that long after the answer to the one before.
func (l *lone) requests(n int, after time.Duration) {
	for range n {
		time.Sleep(after)
		l.changed(l, http.StateActive)
		l.changed(l, http.StateIdle)
	}
}

func TestAProcessorStaysAwakeForALonePromptClient(t *testing.T) {
	for name, row := range map[string]struct {
		happens func(l *lone)
		want    int
	}{
		"prompt":          {func(l *lone) { l.requests(promptRequests+2, promptly) }, 3},
		"not yet":         {func(l *lone) { l.requests(promptRequests-1, promptly) }, 0},
		"late":            {func(l *lone) { l.requests(100, promptly+1) }, 0},
		"late once":       {func(l *lone) { l.requests(promptRequests, 1); l.requests(1, time.Second); l.requests(1, 1) }, 1},
		"no longer alone": {func(l *lone) { l.changed(nil, http.StateNew); l.requests(100, 1) }, 0},
		"alone again": {func(l *lone) {
			l.changed(nil, http.StateNew)
			l.changed(nil, http.StateClosed)
			l.requests(promptRequests, 1)
		}, 1},
		"alone as one is hijacked": {func(l *lone) {
			l.changed(nil, http.StateNew)
			l.changed(nil, http.StateHijacked)
			l.requests(promptRequests, 1)
		}, 1},
		"multiplexed": {func(l *lone) {
			request := httptest.NewRequest("GET", "/", nil)
			request.ProtoMajor = 2
			l.see(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), request)
			l.requests(100, 1)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLone()
				l.requests(1, time.Second) // the first
				row.happens(l)
				if l.awake != row.want {
					t.Errorf("a processor stayed awake %d times, want %d", l.awake, row.want)
				}
			})
		})
	}
}
