package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// freezing is an app whose commands and start end when the test says so, and say when they are about to answer.
const freezing = meeting + `
state = 0

@command
def count() -> int:
    global state
    state += 1
    return state

@command
def last(dir: str, name: str) -> str:
    """Like stay, and leave a file as the last thing."""
    come(dir, name)
    wait_for(dir, "go")
    come(dir, name + ".over")
    return name
`

// freeze stops the service, has meanwhile run, waits until so much time has passed since the stop, and lets the service go
// on. The time is what the test is about: limits shorter than it have passed when it returns.
func (s *instance) freeze(least time.Duration, meanwhile func()) {
	s.t.Helper()
	pid := s.cmd.Process.Pid
	s.stopProcess(int64(pid))
	over := time.After(least)
	meanwhile()
	<-over
	s.kill(pid, syscall.SIGCONT)
}

// asleep waits until a process waits for something: it has written what it had to.
func (s *instance) asleep(pid int) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("process %d sleeps", pid), func() bool { return inState(pid, "S") })
}

// TestWhatEndsWhileTheServiceIsStoppedIsNotKilledForIt stops the service for longer than the time of a call, of a start and of
// an answer of the zygote.
func TestWhatEndsWhileTheServiceIsStoppedIsNotKilledForIt(t *testing.T) {
	s := serve(t, freezing, "--workers=3", "--checkout-timeout=60s", "--execute-timeout=60s").ready()
	s.full(3)
	dir := t.TempDir()
	s.execute("count", `{}`, inSession("u1")).wantResult(t, "1")
	lease := s.lease(lasting(minutes))
	before := s.pidsOfWorkers()

	var calls sync.WaitGroup
	args := func(name string) string { return fmt.Sprintf(`{"dir":%q,"name":%q}`, dir, name) }
	var answers [2]answer
	calls.Go(func() { answers[0] = s.execute("last", args("pool"), within(3000)) })
	calls.Go(func() { answers[1] = s.execute("last", args("lease"), within(3000), onLease(lease.LeaseID)) })
	pids := []int{s.arrived(dir, "pool"), s.arrived(dir, "lease")}
	s.freeze(4*time.Second, func() {
		touch(t, dir, "go")
		for i, name := range []string{"pool", "lease"} {
			s.arrived(dir, name+".over")
			s.asleep(pids[i])
		}
	})
	calls.Wait()
	answers[0].wantResult(t, `"pool"`)
	answers[1].wantResult(t, `"lease"`)
	s.execute("ping", `{"n":1}`, onLease(lease.LeaseID)).wantResult(t, "1")
	s.execute("count", `{}`, inSession("u1")).wantResult(t, "2")
	if after := s.pidsOfWorkers(); asJSON(after) != asJSON(before) {
		t.Errorf("workers before %v, after %v", before, after)
	}
	s.noWorkerEnded()
	s.endSession("u1")
}

// TestAStartThatEndsWhileTheServiceIsStoppedIsNoFailure stops the service while the app is imported, for longer than a start
// may take: the zygote's READY, or the workers', lies there when it goes on.
func TestAStartThatEndsWhileTheServiceIsStoppedIsNoFailure(t *testing.T) {
	dir := t.TempDir()
	app := fmt.Sprintf("%s\ncome(%q, 'importing')\nwait_for(%q, 'go')\ncome(%q, 'imported')\n", meeting, dir, dir, dir)
	s := serve(t, app, "--workers=1", "--start-timeout=4s", "--checkout-timeout=60s")
	pid := s.arrived(dir, "importing")
	s.freeze(5*time.Second, func() {
		touch(t, dir, "go")
		s.arrived(dir, "imported")
		s.asleep(pid)
	})
	s.ready()
	s.execute("ping", `{"n":1}`).wantResult(t, "1")
	if got := s.arrived(dir, "importing"); got != pid {
		t.Errorf("process %d has imported the app, want %d alone", got, pid)
	}
	for name, value := range s.metrics() {
		if strings.HasPrefix(name, "charmer_worker_starts_total") && !strings.Contains(name, `result="ok"`) && value != 0 {
			t.Errorf("%s = %v, want no start but good ones", name, value)
		}
	}
}

// TestACallThatHasNotEndedWhenItsTimeIsOverIsATimeoutThoughTheServiceWasStopped has one of two calls end in time. A session and
// a lease live on.
func TestACallThatHasNotEndedWhenItsTimeIsOverIsATimeoutThoughTheServiceWasStopped(t *testing.T) {
	s := serve(t, freezing, "--workers=4").ready()
	s.full(4)
	s.execute("count", `{}`, inSession("u1")).wantResult(t, "1")
	lease := s.lease(lasting(minutes))
	dir, other := t.TempDir(), t.TempDir() // of which nobody lets the other go
	call := func(dir, name string) <-chan answer {
		out := make(chan answer, 1)
		go func() { out <- s.execute("last", fmt.Sprintf(`{"dir":%q,"name":%q}`, dir, name), within(2000)) }()
		return out
	}
	answered, unanswered := call(dir, "a"), call(other, "b")
	pid := s.arrived(dir, "a")
	s.arrived(other, "b")
	s.freeze(3*time.Second, func() {
		touch(t, dir, "go")
		s.arrived(dir, "a.over")
		s.asleep(pid)
	})
	(<-answered).wantResult(t, `"a"`)
	(<-unanswered).wantProblem(t, http.StatusGatewayTimeout, "execution_timeout", true)
	s.full(4)
	s.execute("count", `{}`, inSession("u1")).wantResult(t, "2")
	s.execute("ping", `{"n":1}`, onLease(lease.LeaseID)).wantResult(t, "1")
	m := s.metrics()
	if exits := [2]float64{m[`charmer_worker_exits_total{reason="timeout"}`], m[`charmer_worker_exits_total{reason="crash"}`]}; exits != [2]float64{0, 0} || m[`charmer_cancel_total{step="cancelled"}`] != 1 {
		t.Errorf("ends by timeout and crash: %v", exits)
	}
	if z := s.health().Zygote; z.Restarts != nil {
		t.Errorf("zygote: %+v", z)
	}
	s.endSession("u1")
}

// noWorkerEnded fails the test if the service counts the end of a worker.
func (s *instance) noWorkerEnded() {
	s.t.Helper()
	for name, value := range s.metrics() {
		if strings.HasPrefix(name, "charmer_worker_exits_total") && value != 0 {
			s.t.Errorf("%s = %v, want none", name, value)
		}
	}
}
