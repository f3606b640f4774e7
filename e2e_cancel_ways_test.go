package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"charmer/api/client"
)

// said waits until a command has left this file, and returns what it has written.
func (s *instance) said(dir, name string) string {
	s.t.Helper()
	path := filepath.Join(dir, name)
	s.eventually(name+" is there", func() bool { _, err := os.Stat(path); return err == nil })
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// wantRaised checks what a command says that was raised in it.
func (s *instance) wantRaised(dir, want string) {
	s.t.Helper()
	if got := s.said(dir, "ended"); got != want {
		s.t.Errorf("%s was raised, want %s", got, want)
	}
}

// cancellable are the commands of cancelling that end by a cancel, and what that raises.
var cancellable = map[string]string{
	"loop": "charmer.Cancelled", "sleep": "charmer.Cancelled", "read": "charmer.Cancelled", "lock": "charmer.Cancelled", "join": "charmer.Cancelled",
	"program": "charmer.Cancelled", "generator": "charmer.Cancelled", "except_exception": "charmer.Cancelled", "loop_in_a_thread": "charmer.Cancelled",
	"async_sleep": "asyncio.exceptions.CancelledError", "async_generator": "asyncio.exceptions.CancelledError", "async_loop": "charmer.Cancelled",
}

// TestAClientThatLeavesEndsItsCall sees that Python has stopped, and that the same worker answers the next call. The grace is
// longer than any machine is slow.
func TestAClientThatLeavesEndsItsCall(t *testing.T) {
	s := servePatiently(t, cancelling, "--workers=1", "--cancel-grace=60s")
	s.full(1)
	for command, raised := range cancellable {
		t.Run(command, func(t *testing.T) {
			s := s.in(t)
			dir, before := t.TempDir(), s.cancels(client.CancelStepCancelled)
			leave := s.abandon(http.MethodPost, "/execute", fmt.Sprintf(`{"command":%q,"args":{"dir":%q}}`, command, dir))
			pid := s.arrived(dir, "there")
			leave()
			s.wantRaised(dir, raised)
			a := s.execute("ping", `{"n":1}`)
			a.wantResult(t, "1")
			if a.Worker.PID != int64(pid) {
				t.Errorf("worker %d answers, want %d", a.Worker.PID, pid)
			}
			s.eventually("the cancel is counted", func() bool { return s.cancels(client.CancelStepCancelled) == before+1 })
		})
	}
	s.noWorkerEnded()
}

func TestADeletedCallIsAnsweredAsCancelled(t *testing.T) {
	s := servePatiently(t, cancelling, "--workers=1", "--cancel-grace=60s")
	s.full(1)
	for command, raised := range cancellable {
		t.Run(command, func(t *testing.T) {
			s := s.in(t)
			dir := t.TempDir()
			answers := s.named("x-"+command, command, fmt.Sprintf(`{"dir":%q}`, dir))
			pid := s.arrived(dir, "there")
			s.wantCancel("x-"+command, client.CancelStepCancelled)
			a := <-answers
			a.wantProblem(t, http.StatusConflict, "cancelled", true)
			a.wantStep(t, client.CancelStepCancelled)
			if a.Problem.Stack == nil || a.ranOn(t).PID != int64(pid) {
				t.Errorf("problem %+v, ran on %d", a.Problem, pid)
			} else {
				wantPart(t, "stack", *a.Problem.Stack, "in "+command)
			}
			s.wantRaised(dir, raised)
			s.wantCancel("x-"+command, "")
		})
	}
	s.noWorkerEnded()
}

// TestACallThatGoesOnWhenItIsCancelledIsKilledAfterTheGrace has it replaced, and counted.
func TestACallThatGoesOnWhenItIsCancelledIsKilledAfterTheGrace(t *testing.T) {
	s := servePatiently(t, cancelling, "--cancel-grace=300ms")
	for _, command := range []string{"hang_in_c", "swallow", "async_swallow"} {
		for _, how := range []string{"leaves", "deletes"} {
			t.Run(command+" "+how, func(t *testing.T) {
				s := s.in(t)
				s.full(2)
				dir, id := t.TempDir(), command+"-"+how
				args, cancels, exits := fmt.Sprintf(`{"dir":%q}`, dir), s.cancels(client.CancelStepKilled), s.stats().WorkerExits["cancelled"]
				if how == "leaves" {
					leave := s.abandon(http.MethodPost, "/execute", fmt.Sprintf(`{"command":%q,"args":%s}`, command, args))
					s.arrived(dir, "there")
					leave()
				} else {
					answers := s.named(id, command, args)
					s.arrived(dir, "there")
					s.wantCancel(id, client.CancelStepKilled)
					a := <-answers
					a.wantProblem(t, http.StatusConflict, "cancelled", true)
					a.wantStep(t, client.CancelStepKilled)
					a.wantSignal(t, syscall.SIGKILL)
					if at := map[bool]string{true: "run_forever", false: command}[command == "async_swallow"]; a.Problem.Stack == nil {
						t.Error("no stack")
					} else { // of threads: a task that waits is in none
						wantPart(t, "stack", *a.Problem.Stack, "in "+at)
					}
				}
				s.gone(int64(s.arrived(dir, "there")))
				s.full(2)
				s.execute("ping", `{"n":1}`).wantResult(t, "1")
				s.eventually("the kill is counted", func() bool {
					return s.cancels(client.CancelStepKilled) == cancels+1 && s.stats().WorkerExits["cancelled"] == exits+1
				})
			})
		}
	}
}

func TestACallThatAnswersAllTheSameHasItsAnswer(t *testing.T) {
	s := servePatiently(t, cancelling, "--cancel-grace=60s")
	dir := t.TempDir()
	answers := s.named("same", "answer_all_the_same", fmt.Sprintf(`{"dir":%q}`, dir))
	s.arrived(dir, "there")
	s.wantCancel("same", client.CancelStepFinished)
	(<-answers).wantResult(t, `"all the same"`)
}

func TestAShieldKeepsACancelOutUntilItsEnd(t *testing.T) {
	s := servePatiently(t, cancelling, "--cancel-grace=60s")
	dir := t.TempDir()
	leave := s.abandon(http.MethodPost, "/execute", fmt.Sprintf(`{"command":"shielded","args":{"dir":%q}}`, dir))
	s.arrived(dir, "there")
	leave()
	s.arrived(dir, "asked")
	touch(t, dir, "go")
	if got := s.said(dir, "ended"); got != "charmer.Cancelled" {
		t.Errorf("%s was raised at the end of the shield", got)
	}
	s.arrived(dir, "unharmed")
	s.noWorkerEnded()
}

func TestACallThatWaitsIsTakenOffTheQueue(t *testing.T) {
	s := servePatiently(t, cancelling, "--workers=1", "--cancel-grace=60s")
	dir := t.TempDir()
	running := s.named("runs", "report", fmt.Sprintf(`{"dir":%q}`, dir))
	s.arrived(dir, "there")
	waiting := s.named("waits", "ping", `{"n":1}`)
	s.queued(1)
	again := s.named("waits", "ping", `{"n":2}`)
	s.queued(2)
	s.wantCancel("waits", client.CancelStepDequeued)
	s.queued(0)
	for _, answers := range []<-chan answer{waiting, again} {
		a := <-answers
		a.wantProblem(t, http.StatusConflict, "cancelled", false)
		a.wantStep(t, client.CancelStepDequeued)
	}
	touch(t, dir, "go")
	(<-running).wantResult(t, `"reported"`)
	if got := s.cancels(client.CancelStepDequeued); got != 2 {
		t.Errorf("%v are counted as taken off the queue", got)
	}
}

func TestTheCallsThatHaveNoAnswerAreListed(t *testing.T) {
	s := servePatiently(t, cancelling, "--workers=1")
	dir := t.TempDir()
	first := s.named("first", "report", fmt.Sprintf(`{"dir":%q}`, dir))
	pid := s.arrived(dir, "there")
	second := s.named("second", "ping", `{"n":1}`)
	s.queued(1)
	third := s.named("third", "report", fmt.Sprintf(`{"dir":%q}`, dir), inSession("u1"))
	s.eventually("the session runs its call", func() bool { return s.executions()["third"].State == client.ExecutionStateRunning })

	x := s.executions()
	if got := x["first"]; got.State != client.ExecutionStateRunning || got.Command != "report" || got.Worker == nil || got.Worker.PID != int64(pid) ||
		got.BeganAt == nil || got.BeganAt.Before(got.Since) || got.Deadline.Before(*got.BeganAt) || got.SessionID != nil {
		t.Errorf("first: %s", asJSON(got))
	}
	if got := x["second"]; got.State != client.ExecutionStateWaiting || got.Worker != nil || got.BeganAt != nil || got.Progress != nil {
		t.Errorf("second: %s", asJSON(got))
	}
	if got := x["third"]; got.SessionID == nil || *got.SessionID != "u1" {
		t.Errorf("third: %s", asJSON(got))
	}
	for _, id := range []string{"first", "third"} {
		s.eventually("its progress is known", func() bool {
			r, err := s.GetExecutionWithResponse(t.Context(), id)
			return err == nil && r.JSON200 != nil && r.JSON200.Progress != nil && *r.JSON200.Progress.Fraction == 0.25 && *r.JSON200.Progress.Message == "a quarter"
		})
	}
	if r, err := s.GetExecutionWithResponse(t.Context(), "nobody"); err != nil || r.StatusCode() != http.StatusNotFound {
		t.Errorf("a call that there is not: %v %s", err, r.Status())
	}
	s.raw(http.MethodDelete, "/executions/nobody", "").wantProblem(t, http.StatusNotFound, "execution_not_found")

	touch(t, dir, "go")
	(<-first).wantResult(t, `"reported"`)
	(<-second).wantResult(t, "1")
	(<-third).wantResult(t, `"reported"`)
	if left := s.executions(); len(left) != 0 {
		t.Errorf("calls that have their answer: %v", left)
	}
}

func TestASessionOutlivesACancel(t *testing.T) {
	s := servePatiently(t, cancelling, "--cancel-grace=60s")
	s.execute("count", `{}`, inSession("u1")).wantResult(t, "1")
	for command := range cancellable {
		dir := t.TempDir()
		answers := s.named("in-session", command, fmt.Sprintf(`{"dir":%q}`, dir), inSession("u1"))
		s.arrived(dir, "there")
		waits := s.named("waits", "ping", `{"n":1}`, inSession("u1"))
		s.eventually("one waits", func() bool { return s.session("u1").Waiting == 1 })
		s.wantCancel("waits", client.CancelStepDequeued)
		(<-waits).wantProblem(t, http.StatusConflict, "cancelled", false)
		s.wantCancel("in-session", client.CancelStepCancelled)
		(<-answers).wantProblem(t, http.StatusConflict, "cancelled", true)
	}
	s.execute("count", `{}`, inSession("u1")).wantResult(t, "2")
	s.endSession("u1")
}
