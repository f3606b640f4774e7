package main

import (
	"net/http"
	"sync"
	"syscall"
	"testing"

	"charmer/api/client"
)

// TestReloadsThatMeetOthersFailNoCall reloads under 64 clients: two at once, with workers being recycled, and with the zygote
// just killed.
func TestReloadsThatMeetOthersFailNoCall(t *testing.T) {
	app := appFile(t, versioned(1))
	s := serve(t, app, "--workers=4", "--checkout-timeout=60s", "--max-requests=100").ready()
	s.full(4)
	s.connect(100)
	s.execute("count", "{}", inSession("old")).wantResult(t, "1")
	lease := s.lease(lasting(minutes))
	over := make(chan struct{})
	var clients sync.WaitGroup
	for range 64 {
		clients.Go(func() {
			for !closed(over) {
				if a, err := s.try(client.ExecuteRequest{Command: "version"}); err != nil || a.status != http.StatusOK {
					t.Errorf("call failed: %v, %d %+v", err, a.status, a.Problem)
				}
			}
		})
	}
	stop := sync.OnceFunc(func() { close(over); clients.Wait() })
	defer stop()

	change(t, app, versioned(2))
	codes := make(chan int, 2)
	for range 2 {
		go func() { // ends with the reload
			r, err := s.ReloadWithResponse(t.Context())
			if err != nil {
				t.Errorf("reload: %v", err)
				codes <- 0
				return
			}
			codes <- r.StatusCode()
		}()
	}
	one, other := <-codes, <-codes
	if sum := one + other; sum != 2*http.StatusOK && sum != http.StatusOK+http.StatusConflict {
		t.Fatalf("two reloads at once: %d and %d, want 200 once, and 200 or 409", one, other)
	}
	at := s.health().Generation
	if startMethod == "fork" {
		s.kill(int(*s.zygote(client.ZygoteStateReady).PID), syscall.SIGKILL)
	}
	change(t, app, versioned(3))
	s.reload()
	s.execute("only3", "{}").wantResult(t, "3")
	s.execute("version", "{}", inSession("old")).wantResult(t, "1")
	s.execute("version", "{}", onLease(lease.LeaseID)).wantResult(t, "1")
	s.release(lease) // whose worker was the last of the old ones
	s.eventually("all workers are new", func() bool { h := s.health(); return h.Generation > at && h.Reload == nil })
	stop() // till then some worker is always being recycled
	s.full(4)
}

// TestAReloadAndTheEndOfTheServiceMeet sends SIGTERM while the first worker of the new code is imported.
func TestAReloadAndTheEndOfTheServiceMeet(t *testing.T) {
	app := appFile(t, versioned(1))
	s := serve(t, app).ready()
	s.full(2)
	dir := t.TempDir()
	change(t, app, meeting+"\ncome("+asJSON(dir)+", 'importing')\nwait_for("+asJSON(dir)+", 'never')\n")
	status := make(chan int, 1)
	go func() { // ends with the service
		r, err := s.ReloadWithResponse(t.Context())
		if err != nil {
			status <- 0
			return
		}
		status <- r.StatusCode()
	}()
	s.arrived(dir, "importing")
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
	if got := <-status; got != http.StatusServiceUnavailable {
		t.Errorf("the reload got %d, want 503", got)
	}
}
