package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"charmer/api/client"
)

// TestAServiceThatWasStoppedTakesTheAnswersThatCameMeanwhile stops charmer itself, as a debugger or the snapshot of a machine
// does, until the time of two calls is over: one that Python has answered by then, and one that it has not.
func TestAServiceThatWasStoppedTakesTheAnswersThatCameMeanwhile(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, fmt.Sprintf(`
import os, time
from charmer import command

@command
def wait(name: str) -> str:
    here = os.path.join(%q, name)
    open(here + ".begun", "w").close()
    while not os.path.exists(here):
        time.sleep(0.01)
    open(here + ".over", "w").close()
    return name

@command
def ping() -> int:
    return 1
`, dir), "--workers=4").ready()
	s.full(4)
	s.execute("ping", `{}`, inSession("s")).wantResult(t, "1")
	lease := s.lease()

	const limit = 2 * time.Second
	begun := time.Now()
	call := func(name string) <-chan answer {
		out := make(chan answer, 1)
		go func() {
			timeout := float64(limit.Milliseconds())
			a, err := s.try(client.ExecuteRequest{Command: "wait", Args: fmt.Appendf(nil, `{"name":%q}`, name), TimeoutMs: &timeout})
			if err != nil {
				t.Error(err)
			}
			out <- a
		}()
		return out
	}
	answered, unanswered := call("a"), call("b")
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	s.eventually("both calls run", func() bool { return there("a.begun") && there("b.begun") })
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	touch(t, dir, "a")
	for !there("a.over") {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Until(begun.Add(2 * limit))) // for both to be late: what is tested, not a way to wait for it
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	(<-answered).wantResult(t, `"a"`)
	(<-unanswered).wantProblem(t, http.StatusGatewayTimeout, "execution_timeout", true)
	s.full(4)
	s.execute("ping", `{}`, inSession("s")).wantResult(t, "1")
	s.execute("ping", `{}`, func(r *client.ExecuteRequest) { r.LeaseID = &lease.LeaseID }).wantResult(t, "1")
	m := s.metrics()
	if exits := [2]float64{m[`charmer_worker_exits_total{reason="timeout"}`], m[`charmer_worker_exits_total{reason="crash"}`]}; exits != [2]float64{1, 0} {
		t.Errorf("ends by timeout and crash: %v", exits)
	}
	if z := s.health().Zygote; z.Restarts != nil {
		t.Errorf("zygote: %+v", z)
	}
}
