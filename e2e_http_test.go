package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"charmer/api/client"
)

// callsApp has a command for each thing that the tests of the HTTP side have Python do.
const callsApp = `
import json, os, time
import charmer
from charmer import CommandError, command

counted = 0
notes = []

@command
def ping(n: int = 0) -> int:
    """Give back a number."""
    return n

@command
def count() -> int:
    global counted
    counted += 1
    return counted

@command
def note(text: str) -> list:
    notes.append(text)
    return notes

@command
def hold(dir: str, name: str) -> str:
    """Say that it runs by a file, and return when another file is there."""
    open(os.path.join(dir, name + ".entered"), "w").close()
    while not os.path.exists(os.path.join(dir, name + ".open")):
        time.sleep(0.002)
    return name

@command
def call() -> dict:
    c = charmer.current()
    return {"request_id": c.request_id, "session_id": c.session_id, "state": c.session_state, "traceparent": c.traceparent}

@command
def depth(value: object) -> int:
    n = 0
    while value:
        value, n = value[0], n + 1
    return n

@command(name="fail", timeout=20, idempotent=True)
def fail_as_told(code: str = "", status: int = 422, **more: object) -> None:
    if code:
        raise CommandError(code, "as told", status=status)
    raise ValueError("as told")

@command
def leave(code: int = 3) -> None:
    os._exit(code)
`

// servePatiently serves an app and waits until it is ready. No limit of time runs out unless the test sets it: the machines
// are shared, and a worker or a reply may take long.
func servePatiently(t *testing.T, app string, flags ...string) *instance {
	t.Helper()
	patient := []string{"--checkout-timeout=5m", "--execute-timeout=5m", "--start-timeout=5m", "--lease-ttl=10m"}
	return serve(t, app, append(patient, flags...)...).ready()
}

func serveCalls(t *testing.T, flags ...string) *instance {
	t.Helper()
	return servePatiently(t, callsApp, flags...)
}

// gates are rendezvous with the command hold: files in a directory.
type gates struct {
	s   *instance
	dir string
}

func newGates(s *instance) gates { return gates{s: s, dir: s.t.TempDir()} }

// args are those of a call that waits at the gate of this name.
func (g gates) args(name string) string { return fmt.Sprintf(`{"dir":%q,"name":%q}`, g.dir, name) }

// open lets the call at the gate, or one that comes later, return.
func (g gates) open(name string) {
	g.s.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name+".open"), nil, 0o644); err != nil {
		g.s.t.Fatal(err)
	}
}

// hold starts a call that waits at the gate, and returns when it does. The channel gives its answer.
func (g gates) hold(name string, options ...func(*client.ExecuteRequest)) <-chan answer {
	g.s.t.Helper()
	answers := make(chan answer, 1)
	go func() { answers <- g.s.execute("hold", g.args(name), options...) }() // ends when the gate opens, or with the service
	g.s.eventually("a call waits at "+name, func() bool {
		if len(answers) > 0 {
			g.s.t.Fatalf("the call at %s was answered: %+v", name, <-answers)
		}
		_, err := os.Stat(filepath.Join(g.dir, name+".entered"))
		return err == nil
	})
	return answers
}

// rawReply is a reply to a request that the generated client cannot make.
type rawReply struct {
	status  int
	header  http.Header
	body    []byte
	problem client.Problem // if it is one
}

// raw sends a request; header holds names and values by turns. The reply is checked against the contract.
func (s *instance) raw(method, path, body string, header ...string) rawReply {
	s.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	return s.rawFrom(method, path, reader, header...)
}

// rawFrom is raw with a body of a length that is not announced, unless reader is a *strings.Reader or nil.
func (s *instance) rawFrom(method, path string, reader io.Reader, header ...string) rawReply {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header[header[i]] = append(request.Header[header[i]], header[i+1])
	}
	reply, err := s.http.Do(request)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	r := rawReply{status: reply.StatusCode, header: reply.Header, body: body}
	if reply.Header.Get("Content-Type") == "application/problem+json" && len(body) > 0 {
		if err := json.Unmarshal(body, &r.problem); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, body)
		}
	}
	return r
}

// post sends a JSON body.
func (s *instance) post(path, body string) rawReply {
	s.t.Helper()
	return s.raw(http.MethodPost, path, body, "Content-Type", "application/json")
}

// wantProblem fails the test unless the reply is this problem, and Python had not started.
func (r rawReply) wantProblem(t *testing.T, status int, code string) {
	t.Helper()
	if r.status != status || r.problem.Code != code || r.problem.Started {
		t.Errorf("got %d %s started=%v: %s, want %d %s", r.status, r.problem.Code, r.problem.Started, r.body, status, code)
	}
}

// abandon sends a request on a connection of its own and returns what closes it, without waiting for the reply.
func (s *instance) abandon(method, path, body string) (leave func()) {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: charmer\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	if err != nil {
		s.t.Fatal(err)
	}
	return func() {
		if err := conn.Close(); err != nil {
			s.t.Error(err)
		}
	}
}

// checkout leases a worker. The type is anonymous unless an option says otherwise.
func (s *instance) checkout(options ...func(*client.CheckoutRequest)) (client.CheckoutReply, client.Problem) {
	s.t.Helper()
	body := client.CheckoutRequest{Type: client.CheckoutRequestTypeAnonymous}
	for _, option := range options {
		option(&body)
	}
	r, err := s.CheckoutWithResponse(s.t.Context(), body)
	if err != nil {
		s.t.Errorf("checkout: %v", err)
		return client.CheckoutReply{}, client.Problem{}
	}
	if r.JSON201 != nil {
		if got := r.HTTPResponse.Header.Get("Location"); got != "/checkout/"+r.JSON201.LeaseID {
			s.t.Errorf("Location of lease %s is %q", r.JSON201.LeaseID, got)
		}
		return *r.JSON201, client.Problem{}
	}
	var problem client.Problem
	if err := json.Unmarshal(r.Body, &problem); err != nil {
		s.t.Errorf("checkout: %v in %s", err, r.Body)
	}
	return client.CheckoutReply{}, problem
}

// lease is checkout that must succeed.
func (s *instance) lease(options ...func(*client.CheckoutRequest)) client.CheckoutReply {
	s.t.Helper()
	lease, problem := s.checkout(options...)
	if lease.LeaseID == "" {
		s.t.Fatalf("no lease: %+v", problem)
	}
	return lease
}

func forSession(id string) func(*client.CheckoutRequest) {
	return func(r *client.CheckoutRequest) { r.Type, r.SessionID = client.CheckoutRequestTypeSession, &id }
}

func waiting(ms float64) func(*client.CheckoutRequest) {
	return func(r *client.CheckoutRequest) { r.TimeoutMs = &ms }
}

func lasting(ms float64) func(*client.CheckoutRequest) {
	return func(r *client.CheckoutRequest) { r.TTLMs = &ms }
}

// waitingFor bounds the wait of a call for its worker.
func waitingFor(ms float64) func(*client.ExecuteRequest) {
	return func(r *client.ExecuteRequest) { r.CheckoutTimeoutMs = &ms }
}

// release gives a lease back.
func (s *instance) release(lease client.CheckoutReply) {
	s.t.Helper()
	if r := s.raw(http.MethodDelete, "/checkout/"+lease.LeaseID, ""); r.status != http.StatusNoContent {
		s.t.Errorf("release: %d %s", r.status, r.body)
	}
}

// queued waits until so many requests wait for a worker of the pool.
func (s *instance) queued(n int64) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d requests wait", n), func() bool { return s.health().Queue.Length == n })
}

// workers lists the workers of the pool and of sessions.
func (s *instance) workers() []client.Worker {
	s.t.Helper()
	r, err := s.ListWorkersWithResponse(s.t.Context(), nil)
	if err != nil || r.JSON200 == nil {
		s.t.Fatalf("list workers: %v", err)
	}
	return r.JSON200.Workers
}

// callsByPID are the calls that each worker has answered.
func (s *instance) callsByPID() map[int64]int64 {
	s.t.Helper()
	calls := map[int64]int64{}
	for _, w := range s.workers() {
		calls[w.PID] = w.Calls
	}
	return calls
}

func (s *instance) stats() client.Stats {
	s.t.Helper()
	r, err := s.GetStatsWithResponse(s.t.Context())
	if err != nil || r.JSON200 == nil {
		s.t.Fatalf("stats: %v", err)
	}
	return *r.JSON200
}

// exchange sends bytes on a connection of its own and returns those that come back within a while.
func (s *instance) exchange(request string) string {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		s.t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite() // the service may have closed it already
	reply, _ := io.ReadAll(conn)         // a reset is an answer too
	return string(reply)
}
