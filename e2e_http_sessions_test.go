package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"charmer/api/client"
)

// sessions lists the sessions.
func (s *instance) sessions() []client.Session {
	s.t.Helper()
	r, err := s.ListSessionsWithResponse(s.t.Context())
	if err != nil || r.JSON200 == nil {
		s.t.Fatalf("list sessions: %v", err)
	}
	return r.JSON200.Sessions
}

// sessionIDs are those of the sessions, oldest first.
func (s *instance) sessionIDs() []string {
	s.t.Helper()
	ids := []string{}
	for _, row := range s.sessions() {
		ids = append(ids, row.ID)
	}
	return ids
}

// session looks at one session, which must be there.
func (s *instance) session(id string) client.Session {
	s.t.Helper()
	r, err := s.GetSessionWithResponse(s.t.Context(), id)
	if err != nil || r.JSON200 == nil {
		s.t.Fatalf("session %s: %v", id, err)
	}
	return *r.JSON200
}

// endSession ends a session, which must be there.
func (s *instance) endSession(id string) {
	s.t.Helper()
	if r := s.raw(http.MethodDelete, "/sessions/"+id, ""); r.status != http.StatusNoContent {
		s.t.Errorf("end of session %s: %d %s", id, r.status, r.body)
	}
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	s := serveCalls(t)
	if got := s.sessions(); len(got) != 0 {
		t.Fatalf("sessions at the start: %+v", got)
	}
	for _, id := range []string{"one", "two", "three"} {
		a := s.execute("count", `{}`, inSession(id))
		a.wantResult(t, "1")
		if a.Session == nil || *a.Session != (client.SessionRef{ID: id, State: "new"}) {
			t.Errorf("session %s: %+v", id, a.Session)
		}
	}
	before := s.session("two")
	for n := range 3 {
		a := s.execute("count", `{}`, inSession("two"))
		a.wantResult(t, fmt.Sprint(n+2))
		if a.Session.State != "resumed" || a.Worker != *before.Worker {
			t.Errorf("call %d: %+v on %+v, want %+v", n, a.Session, a.Worker, before.Worker)
		}
	}
	after := s.session("two")
	if after.Calls != before.Calls+3 || after.State != client.SessionStateIdle || after.Waiting != 0 {
		t.Errorf("3 calls later %+v, before %+v", after, before)
	}
	if after.LastUsedAt.Before(before.LastUsedAt) || !after.CreatedAt.Equal(before.CreatedAt) ||
		!after.ExpiresAt.Equal(after.LastUsedAt.Add(15*time.Minute)) {
		t.Errorf("times: before %+v, after %+v", before, after)
	}
	if got := s.sessionIDs(); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("sessions %q", got)
	}
	s.endSession("two")
	s.raw(http.MethodDelete, "/sessions/two", "").wantProblem(t, http.StatusNotFound, "session_not_found")
	s.raw(http.MethodGet, "/sessions/two", "").wantProblem(t, http.StatusNotFound, "session_not_found")
	if got := s.sessionIDs(); !slices.Equal(got, []string{"one", "three"}) {
		t.Errorf("sessions %q after the end of two", got)
	}
	s.eventually("its process is gone", func() bool { return syscall.Kill(int(after.Worker.PID), 0) == syscall.ESRCH })
	a := s.execute("count", `{}`, inSession("two"))
	a.wantResult(t, "1")
	if a.Session.State != "new" {
		t.Errorf("opened again it is %s", a.Session.State)
	}
	if got := s.stats().Sessions; got.Live != 3 || got.Created != 4 || got.Ended != 1 || got.Expired != 0 || got.Lost != 0 {
		t.Errorf("counts %+v", got)
	}
}

func TestASessionThatNobodyWaitsForStartsForTheNextCall(t *testing.T) {
	s := serveCalls(t)
	const id = "a:b@c._-"
	s.execute("count", `{}`, inSession(id), waitingFor(0)).wantProblem(t, http.StatusServiceUnavailable, "checkout_timeout", false)
	s.eventually("it is up", func() bool { return s.session(id).State == client.SessionStateIdle })
	a := s.execute("count", `{}`, inSession(id), waitingFor(0))
	a.wantResult(t, "1")
	if a.Session.State != "new" || a.Worker != *s.session(id).Worker {
		t.Errorf("its first use: %+v by %+v", a.Session, a.Worker)
	}
	for _, path := range []string{"/sessions/a:b@c._-", "/sessions/a%3Ab%40c._-"} {
		if r := s.raw(http.MethodGet, path, ""); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}

	leave := s.abandon(http.MethodPost, "/execute", `{"command":"count","session_id":"u2"}`)
	s.eventually("it starts", func() bool { return slices.Contains(s.sessionIDs(), "u2") })
	leave()
	b := s.execute("ping", `{}`, inSession("u2")) // new if the first client left before it came up
	b.wantResult(t, "0")
	s.endSession("u2")
}

func TestSessionsAreLimited(t *testing.T) {
	s := serveCalls(t, "--max-sessions=2")
	s.execute("ping", `{}`, inSession("u1")).wantResult(t, "0")
	s.execute("ping", `{}`, inSession("u2")).wantResult(t, "0")
	a := s.execute("ping", `{}`, inSession("u3"))
	a.wantProblem(t, http.StatusServiceUnavailable, "session_limit", false)
	if !a.Problem.Retryable || a.header.Get("Retry-After") == "" {
		t.Errorf("retryable %v, Retry-After %q", a.Problem.Retryable, a.header.Get("Retry-After"))
	}
	if _, problem := s.checkout(forSession("u3")); problem.Code != "session_limit" {
		t.Errorf("checkout: %+v", problem)
	}
	s.execute("ping", `{}`, inSession("u1")).wantResult(t, "0") // those that are there go on
	s.execute("ping", `{}`).wantResult(t, "0")                  // and the pool too
	s.endSession("u1")
	s.execute("ping", `{}`, inSession("u3")).wantResult(t, "0")
	if got := s.sessionIDs(); !slices.Equal(got, []string{"u2", "u3"}) {
		t.Errorf("sessions %q", got)
	}
}

func TestAnIdleSessionExpires(t *testing.T) {
	s := serveCalls(t, "--session-idle=1s")
	a := s.execute("count", `{}`, inSession("u1"))
	a.wantResult(t, "1")
	r, err := s.GetSessionWithResponse(t.Context(), "u1") // looking is no use
	if err != nil || r.JSON200 != nil && !r.JSON200.ExpiresAt.Equal(r.JSON200.LastUsedAt.Add(time.Second)) {
		t.Errorf("session %s, %v", r.Body, err)
	}
	expired := s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == "session expired" })
	if at, err := time.Parse(time.RFC3339Nano, expired["time"].(string)); err != nil || r.JSON200 != nil && at.Before(r.JSON200.ExpiresAt) {
		t.Errorf("expired at %s, %v, which is too early for %s", at, err, r.Body)
	}
	if got := s.sessions(); len(got) != 0 {
		t.Errorf("sessions %+v", got)
	}
	s.raw(http.MethodGet, "/sessions/u1", "").wantProblem(t, http.StatusNotFound, "session_not_found")
	s.eventually("its process is gone", func() bool { return syscall.Kill(int(a.Worker.PID), 0) == syscall.ESRCH })
	b := s.execute("count", `{}`, inSession("u1"))
	b.wantResult(t, "1")
	if b.Session.State != "new" || b.Worker == a.Worker {
		t.Errorf("the next call: %+v by %+v", b.Session, b.Worker)
	}
	if got := s.stats().Sessions; got.Expired < 1 || got.Lost != 0 || got.Ended != 0 {
		t.Errorf("counts %+v", got)
	}
}

func TestASessionInUseDoesNotExpire(t *testing.T) {
	s := serveCalls(t, "--session-idle=100ms")
	g := newGates(s)
	lease := s.lease(forSession("leased"))
	running := g.hold("a", inSession("running"))
	s.execute("ping", `{}`, inSession("unused")).wantResult(t, "0")
	s.eventually("the unused one has expired", func() bool { return !slices.Contains(s.sessionIDs(), "unused") })
	if got := s.sessionIDs(); !slices.Equal(got, []string{"leased", "running"}) {
		t.Errorf("sessions %q", got)
	}
	g.open("a")
	(<-running).wantResult(t, `"a"`)
	s.execute("count", `{}`, onLease(lease.LeaseID)).wantResult(t, "1")
	s.release(lease)
	s.eventually("both have expired", func() bool { return len(s.sessions()) == 0 })
}

// hookedApp writes what its hooks and commands see into the file that replaces %q.
const hookedApp = `
import charmer
from charmer import CommandError, command, on_session_end, on_session_start, on_start, on_stop

def write(*words):
    with open(%q, "a") as f:
        f.write(" ".join(words) + "\n")

@on_session_start
def begin(session_id: str) -> None:
    if session_id.startswith("broken"):
        raise ValueError("the hook is broken")
    if session_id.startswith("barred"):
        raise CommandError("no_entry", "not this one", status=403)
    c = charmer.current()
    write("start", session_id, c.session_id, c.session_state, c.command)

@on_session_end
def end(session_id: str) -> None:
    write("end", session_id, charmer.current().session_id)

@command
def ping() -> int:
    c = charmer.current()
    write("call", c.session_id or "none", c.session_state or "none")
    return 1
`

func TestSessionHooksRunOnceEachAndSeeTheSession(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen")
	s := servePatiently(t, fmt.Sprintf(hookedApp, path), "--stop-grace=60s")
	written := func() []string {
		text, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	s.execute("ping", `{}`).wantResult(t, "1")
	for range 2 {
		s.execute("ping", `{}`, inSession("u1")).wantResult(t, "1")
	}
	s.endSession("u1")
	want := []string{"call none none", "start u1 u1 new session_start", "call u1 new", "call u1 resumed", "end u1 u1"}
	s.eventually("the end hook has run", func() bool { return len(written()) >= len(want) })
	s.eventually("the process is gone", func() bool { return len(s.workers()) == 2 })
	if got := written(); !slices.Equal(got, want) {
		t.Errorf("hooks and calls saw\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	lease := s.lease(forSession("u2"))
	s.endSession("u2") // takes the lease with it
	want = append(want, "start u2 u2 new session_start", "end u2 u2")
	s.eventually("the end hook has run", func() bool { return slices.Equal(written(), want) })
	s.execute("ping", `{}`, onLease(lease.LeaseID)).wantProblem(t, http.StatusGone, "lease_expired", false)
}

func TestAStartHookThatFailsLeavesNoSession(t *testing.T) {
	s := servePatiently(t, fmt.Sprintf(hookedApp, filepath.Join(t.TempDir(), "seen")))
	for _, tt := range []struct {
		id     string
		status int
		code   string
	}{{"broken", 422, "command_failed"}, {"barred", 403, "no_entry"}} {
		a := s.execute("ping", `{}`, inSession(tt.id))
		a.wantProblem(t, tt.status, tt.code, true)
		s.raw(http.MethodGet, "/sessions/"+tt.id, "").wantProblem(t, http.StatusNotFound, "session_not_found")
		r := s.post("/checkout", fmt.Sprintf(`{"type":"session","session_id":%q}`, tt.id))
		if r.status != tt.status || r.problem.Code != tt.code || !r.problem.Started {
			t.Errorf("checkout of %s: %d %s", tt.id, r.status, r.body)
		}
	}
	if got := s.sessions(); len(got) != 0 {
		t.Errorf("sessions %+v", got)
	}
	s.eventually("only the pool's workers are left", func() bool { return len(s.workers()) == 2 })
	if h := s.health(); h.State != client.HealthStateReady || h.Restarts != nil {
		t.Errorf("health %+v: the failure is the session's, not the pool's", h)
	}
	s.execute("ping", `{}`, inSession("good")).wantResult(t, "1")
	if got := s.stats().Sessions; got.Live != 1 || got.Created != got.Live+got.Ended+got.Expired+got.Lost {
		t.Errorf("%+v: what was created lives or has ended, expired or been lost", got)
	}
}

func TestEndingASessionEndsItsCallAndRefusesThoseWhoWaitForIt(t *testing.T) {
	s := serveCalls(t)
	g := newGates(s)
	running := g.hold("a", inSession("u1"))
	waiter := make(chan answer, 1)
	go func() { waiter <- s.execute("ping", `{}`, inSession("u1")) }()
	s.eventually("one waits", func() bool { return s.session("u1").Waiting == 1 })
	s.endSession("u1")
	(<-waiter).wantProblem(t, http.StatusNotFound, "session_not_found", false)
	(<-running).wantProblem(t, http.StatusConflict, "cancelled", true)
	s.eventually("its process is gone", func() bool { return len(s.workers()) == 2 })
}
