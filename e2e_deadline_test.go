package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"charmer/api/client"
)

// requestTimeout sets the header Request-Timeout-Ms.
func requestTimeout(value string) client.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("Request-Timeout-Ms", value)
		return nil
	}
}

// timed makes a call with that header, and timeout_ms unless it is 0.
func (s *instance) timed(header string, timeoutMs float64, command, args string) answer {
	s.t.Helper()
	body := client.ExecuteRequest{Command: command, Args: []byte(args), CheckoutTimeoutMs: new(float64(minutes))}
	if timeoutMs > 0 {
		body.TimeoutMs = &timeoutMs
	}
	a, err := s.try(body, requestTimeout(header))
	if err != nil {
		s.t.Error(err)
	}
	return a
}

func TestTheHeaderOfARequestShortensItsTimeAndCannotExtendIt(t *testing.T) {
	s := servePatiently(t, cancelling, "--workers=1", "--cancel-grace=60s")
	for _, row := range []struct {
		header    string
		timeoutMs float64
		command   string
	}{
		{"300", 0, "sleep"},        // than that of the service
		{"300", minutes, "sleep"},  // than that of the request
		{"120000.5", 300, "sleep"}, // than which the request's is shorter
		{"120000", 0, "short"},     // than which the command's is shorter
		{"300", minutes, "generator"},
		{"300", minutes, "async_sleep"},
	} {
		t.Run(row.command+" "+row.header, func(t *testing.T) {
			s := s.in(t)
			a := s.timed(row.header, row.timeoutMs, row.command, fmt.Sprintf(`{"dir":%q}`, t.TempDir()))
			a.wantProblem(t, http.StatusGatewayTimeout, "execution_timeout", true)
			a.wantStep(t, client.CancelStepCancelled)
		})
	}
	s.noWorkerEnded()
	for _, header := range []string{"0", "-1", "soon", "1e99", "NaN"} {
		s.timed(header, 0, "ping", `{"n":1}`).wantProblem(t, http.StatusBadRequest, "invalid_request", false)
	}
}

func TestPythonKnowsTheTimeThatIsLeft(t *testing.T) {
	s := servePatiently(t, cancelling)
	for _, row := range []struct {
		header string
		most   float64 // seconds
	}{{"86400000", 300}, {"100000", 100}, {"50000", 50}} {
		a := s.timed(row.header, 0, "remaining", `{}`)
		left, err := strconv.ParseFloat(a.Result, 64)
		if err != nil || left <= row.most-patience.Seconds() || left > row.most {
			t.Errorf("with %s ms %s seconds are left: %v", row.header, a.Result, err)
		}
	}
}

// TestTimeThatIsUpBeforePythonHasBegunIsNoTimeoutOfTheCommand has one call wait until its time is up.
func TestTimeThatIsUpBeforePythonHasBegunIsNoTimeoutOfTheCommand(t *testing.T) {
	s := servePatiently(t, cancelling, "--workers=1", "--cancel-grace=60s")
	dir := t.TempDir()
	running := s.named("runs", "sleep", fmt.Sprintf(`{"dir":%q}`, dir))
	s.arrived(dir, "there")
	a := s.timed("100", minutes, "ping", `{"n":1}`)
	a.wantProblem(t, http.StatusServiceUnavailable, "checkout_timeout", false)
	if !a.Problem.Retryable {
		t.Errorf("problem %+v", a.Problem)
	}
	s.wantCancel("runs", client.CancelStepCancelled)
	(<-running).wantProblem(t, http.StatusConflict, "cancelled", true)
}

// TestACallThatIsToFinishOutlivesItsClient whether it runs or waits. A call without that wish, whose client leaves later, tells when
// the service has noticed.
func TestACallThatIsToFinishOutlivesItsClient(t *testing.T) {
	s := servePatiently(t, cancelling, "--workers=2", "--cancel-grace=60s")
	s.full(2)
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()}
	abandon := func(dir, more string) func() {
		return s.abandon(http.MethodPost, "/execute", fmt.Sprintf(`{"command":"report","args":{"dir":%q}%s}`, dir, more))
	}
	runs, wishless := abandon(dirs[0], `,"on_disconnect":"finish"`), abandon(dirs[1], `,"on_disconnect":"cancel"`)
	pids := []int{s.arrived(dirs[0], "there"), s.arrived(dirs[1], "there")}
	waits := abandon(dirs[2], `,"on_disconnect":"finish"`)
	s.queued(1)
	gone := abandon(dirs[3], "")
	s.queued(2)

	runs()
	waits()
	gone()
	s.queued(1) // the one that is to finish
	wishless()  // and makes room for that
	s.arrived(dirs[2], "there")
	for _, dir := range []string{dirs[0], dirs[2]} {
		touch(t, dir, "go")
	}
	s.eventually("both have finished", func() bool { return len(s.executions()) == 0 })
	if got := s.stats().Executions["ok"]; got != 2 {
		t.Errorf("%d calls returned, want the two that were to finish", got)
	}
	if got := [2]float64{s.cancels(client.CancelStepCancelled), s.cancels(client.CancelStepDequeued)}; got != [2]float64{1, 1} {
		t.Errorf("cancelled and taken off the queue: %v", got)
	}
	for _, pid := range pids {
		s.kill(pid, 0)
	}
	s.noWorkerEnded()
}
