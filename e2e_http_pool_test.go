package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"charmer/api/client"
)

// What callers of a hand-made pool of processes rely on, and what such pools get wrong.

func TestOneWorkerAnswersAnAnonymousPing(t *testing.T) {
	s := serveCalls(t, "--workers=1")
	if h := s.health(); h.State != client.HealthStateReady || h.Workers.Size != 1 || h.Sessions != 0 || h.UptimeMs <= 0 {
		t.Errorf("health %+v", h)
	}
	s.execute("ping", `{"n":123}`).wantResult(t, "123")
	s.execute("ping", `{"n":1}`, waitingFor(0)).wantResult(t, "1") // there is no wait
	lease := s.lease()
	s.execute("ping", `{"n":124}`, onLease(lease.LeaseID)).wantResult(t, "124")
	s.release(lease)
	s.eventually("a new worker is in the place of the one that was leased", func() bool {
		return s.health().Workers == client.WorkerCounts{Size: 1, Idle: 1} && s.workers()[0].ID != lease.Worker.ID
	})
}

func TestTwoCallsOnTwoWorkersAreInPythonTogether(t *testing.T) {
	s := serveCalls(t)
	g := newGates(s)
	a, b := g.hold("a"), g.hold("b") // each returns when its call is in Python, and neither can end before the other
	more := make([]answer, 3)
	var waiters sync.WaitGroup
	for n := range more {
		waiters.Go(func() { more[n] = s.execute("ping", fmt.Sprintf(`{"n":%d}`, n)) })
	}
	s.queued(3)
	g.open("a")
	g.open("b")
	first, second := <-a, <-b
	first.wantResult(t, `"a"`)
	second.wantResult(t, `"b"`)
	if first.Worker.PID == second.Worker.PID {
		t.Errorf("both by %+v", first.Worker)
	}
	waiters.Wait()
	for n, m := range more {
		m.wantResult(t, fmt.Sprint(n))
	}
}

func TestSessionsSeeTheirOwnStateOnly(t *testing.T) {
	s := serveCalls(t)
	const sessions = 5
	var clients sync.WaitGroup
	pids := make([]int64, sessions)
	for n := range sessions {
		clients.Go(func() {
			id, other := fmt.Sprintf("u%d", n), s.execute("ping", fmt.Sprintf(`{"n":%d}`, n)) // anonymous calls in between
			other.wantResult(t, fmt.Sprint(n))
			want := "["
			for i := range 3 {
				want += fmt.Sprintf("%q", fmt.Sprintf("%s-%d", id, i))
				a := s.execute("note", fmt.Sprintf(`{"text":"%s-%d"}`, id, i), inSession(id))
				a.wantResult(t, want+"]")
				if i > 0 && (a.Worker.PID != pids[n] || a.Session.State != "resumed") {
					t.Errorf("%s moved from pid %d to %+v, %+v", id, pids[n], a.Worker, a.Session)
				}
				pids[n] = a.Worker.PID
				want += ","
			}
			saw := pythonSaw{}
			if err := json.Unmarshal([]byte(s.execute("call", `{}`, inSession(id)).Result), &saw); err != nil || saw.SessionID == nil || *saw.SessionID != id {
				t.Errorf("Python saw %+v in session %s", saw, id)
			}
		})
	}
	clients.Wait()
	slices.Sort(pids)
	if len(slices.Compact(pids)) != sessions {
		t.Errorf("sessions share a process: %v", pids)
	}
	if _, saw := seen(t, s); saw.SessionID != nil || saw.State != nil {
		t.Errorf("an anonymous call saw session %+v", saw)
	}
	if a := s.execute("fail", `{}`); a.Session != nil || a.Problem.Exception == nil {
		t.Errorf("an anonymous call that fails: %+v", a)
	}
}

func TestErrorsDoNotReachOtherCalls(t *testing.T) {
	s := serveCalls(t)
	s.full(2)
	before := s.callsByPID()
	var calls sync.WaitGroup
	for n := range 12 {
		calls.Go(func() {
			switch n % 3 {
			case 0:
				s.execute("nope", `{}`).wantProblem(t, http.StatusNotFound, "unknown_command", false)
			case 1:
				a := s.execute("fail", fmt.Sprintf(`{"code":"call_%d","status":409}`, n))
				a.wantProblem(t, http.StatusConflict, fmt.Sprintf("call_%d", n), true)
			default:
				s.execute("ping", fmt.Sprintf(`{"n":%d}`, n)).wantResult(t, fmt.Sprint(n))
			}
		})
	}
	calls.Wait()
	after, answered := s.callsByPID(), int64(0)
	for pid, n := range after {
		if _, there := before[pid]; !there {
			t.Errorf("worker %d is new", pid)
		}
		answered += n
	}
	if answered != 8 || len(after) != 2 {
		t.Errorf("%d workers answered %d calls, want 2 and 8", len(after), answered)
	}
}

func TestAClientThatLeavesInMidCallGivesItsWorkerBack(t *testing.T) {
	s := serveCalls(t, "--workers=1")
	g := newGates(s)
	leave := s.abandon(http.MethodPost, "/execute", `{"command":"hold","args":`+g.args("a")+`}`)
	s.eventually("the call is in Python", func() bool { return len(glob(t, g.dir, "a.entered")) == 1 })
	before := s.workers()[0]
	leave() // nobody opens the gate
	s.eventually("the worker is idle again", func() bool { return s.health().Workers.Idle == 1 })
	a := s.execute("ping", `{}`)
	a.wantResult(t, "0")
	if a.Worker.PID != before.PID || s.workers()[0].Calls != 2 {
		t.Errorf("answered by %+v, was %+v", a.Worker, before)
	}
}

func TestSessionsThatComeAndGoLeaveNothing(t *testing.T) {
	s := serveCalls(t)
	s.full(2)
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for n := range 3 {
				id := fmt.Sprintf("u%d-%d", c, n)
				s.execute("count", `{}`, inSession(id)).wantResult(t, "1")
				s.endSession(id)
			}
		})
	}
	clients.Wait()
	want := map[string]int{"fork": 4, "exec": 3}[startMethod] // the service, two workers, and the zygote
	s.eventually("only the pool's processes are left", func() bool { return len(s.workers()) == 2 && len(s.pids()) == want })
	if got := s.stats().Sessions; got.Live != 0 || got.Created != 12 || got.Ended != 12 {
		t.Errorf("sessions %+v", got)
	}
}

// lateApp is not ready before the file that replaces %q is there.
const lateApp = `
import os, time
from charmer import command

while not os.path.exists(%q):
    time.sleep(0.002)

@command
def ping() -> int:
    return 1
`

func TestWhileStartingItSaysSoAndServesThoseWhoCanWait(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, fmt.Sprintf(lateApp, filepath.Join(dir, "go")), "--start-timeout=5m", "--checkout-timeout=5m", "--execute-timeout=5m")
	s.eventually("both workers import the app", func() bool {
		starting := s.health().Starting
		return len(starting) == 2 && starting[0].Stage == "import app" && starting[1].Stage == "import app"
	})
	h := s.health()
	if h.State != client.HealthStateStarting || h.Workers != (client.WorkerCounts{Size: 2, Starting: 2}) || h.Reason == nil || h.Restarts != nil {
		t.Errorf("health %+v", h)
	}
	for _, p := range h.Starting {
		if p.PID == 0 || p.ElapsedMs <= 0 {
			t.Errorf("start progress %+v", p)
		}
	}
	for _, r := range []rawReply{
		s.raw(http.MethodGet, "/health/ready", ""), s.raw(http.MethodGet, "/commands", ""),
		s.post("/execute", `{"command":"ping","checkout_timeout_ms":20}`), s.post("/checkout", `{"type":"anonymous","timeout_ms":0}`),
	} {
		r.wantProblem(t, http.StatusServiceUnavailable, "starting")
		if r.header.Get("Retry-After") == "" {
			t.Errorf("no Retry-After: %s", r.body)
		}
	}
	if live, err := s.GetLiveWithResponse(t.Context()); err != nil || live.JSON200 == nil {
		t.Errorf("live while starting: %+v, %v", live, err)
	}
	waiter := make(chan answer, 1)
	go func() { waiter <- s.execute("ping", `{}`) }()
	s.queued(1)
	touch(t, dir, "go")
	(<-waiter).wantResult(t, "1")
	s.ready().full(2)
	s.execute("nope", `{}`).wantProblem(t, http.StatusNotFound, "unknown_command", false)
}

func TestALazyPoolStartsWorkersForThoseWhoCome(t *testing.T) {
	s := serveCalls(t, "--lazy")
	if h := s.health(); h.State != client.HealthStateReady || h.Workers.Size != 0 {
		t.Errorf("before the first call: %+v", h)
	}
	s.execute("nope", `{}`).wantProblem(t, http.StatusNotFound, "unknown_command", false)
	g := newGates(s)
	held := g.hold("a")
	if h := s.health(); h.Workers != (client.WorkerCounts{Size: 1, Busy: 1}) {
		t.Errorf("with one call: %+v", h.Workers)
	}
	s.execute("ping", `{"n":1}`).wantResult(t, "1")
	g.open("a")
	(<-held).wantResult(t, `"a"`)
	s.full(2)
	if got := s.stats().WorkerStarts["ok"]; got != 2 {
		t.Errorf("%d workers were started, want 2", got)
	}
}

func TestTheQueueHasAnExactBound(t *testing.T) {
	s := serveCalls(t, "--workers=1", "--max-queue=2")
	lease := s.lease()
	waiters := make(chan answer, 2)
	for n := range 2 {
		go func() { waiters <- s.execute("ping", `{}`) }()
		s.queued(int64(n + 1))
	}
	a := s.execute("ping", `{}`)
	a.wantProblem(t, http.StatusServiceUnavailable, "queue_full", false)
	if a.Problem.QueueLength == nil || *a.Problem.QueueLength != 2 || !a.Problem.Retryable || a.header.Get("Retry-After") == "" {
		t.Errorf("queue_length %v, retryable %v, Retry-After %q", a.Problem.QueueLength, a.Problem.Retryable, a.header.Get("Retry-After"))
	}
	if r := s.raw(http.MethodPost, "/checkout/"+lease.LeaseID+"/renew", ""); r.status != http.StatusOK { // never queues
		t.Errorf("renew: %d %s", r.status, r.body)
	}
	s.release(lease)
	(<-waiters).wantResult(t, "0")
	(<-waiters).wantResult(t, "0")
}
