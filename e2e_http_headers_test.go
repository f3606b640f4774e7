package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

var madeHere = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// pythonSaw is what the command call gives back.
type pythonSaw struct {
	RequestID   string  `json:"request_id"`
	SessionID   *string `json:"session_id"`
	State       *string `json:"state"`
	Traceparent *string `json:"traceparent"`
}

// seen calls the command call with headers.
func seen(t *testing.T, s *instance, header ...string) (rawReply, pythonSaw) {
	t.Helper()
	r := s.raw(http.MethodPost, "/execute", `{"command":"call"}`, append([]string{"Content-Type", "application/json"}, header...)...)
	var reply struct {
		Result    pythonSaw
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(r.body, &reply); r.status != http.StatusOK || err != nil {
		t.Fatalf("headers %.80q: %d %s", header, r.status, r.body)
	}
	if id := r.header.Get("X-Request-Id"); reply.RequestID != id || reply.Result.RequestID != id || len(r.header.Values("X-Request-Id")) != 1 {
		t.Errorf("header %q, body %q, Python %q: want one request id", r.header.Values("X-Request-Id"), reply.RequestID, reply.Result.RequestID)
	}
	return r, reply.Result
}

func TestARequestIDIsTakenOverIfHarmlessAndElseMade(t *testing.T) {
	s := serveCalls(t)
	for _, id := range []string{"r-1", "a", "A.b_c:d-9", strings.Repeat("x", 128), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"} {
		if r, _ := seen(t, s, "X-Request-Id", id); r.header.Get("X-Request-Id") != id {
			t.Errorf("%q became %q", id, r.header.Get("X-Request-Id"))
		}
	}
	made := map[string]bool{}
	for _, id := range []string{"", " ", "a b", "a,b", "a/b", "é", "\xff", "a\tb", `"`, "<script>", "a%0d%0aX-Evil:1", "{}", "$(id)", strings.Repeat("x", 129)} {
		r, _ := seen(t, s, "X-Request-Id", id)
		got := r.header.Get("X-Request-Id")
		if !madeHere.MatchString(got) || made[got] {
			t.Errorf("%q became %q, want a new one", id, got)
		}
		made[got] = true
		if r.header.Get("X-Evil") != "" {
			t.Errorf("%q gave a header", id)
		}
	}
	refused := s.raw(http.MethodGet, "/nope", "", "X-Request-Id", "r-2")
	if refused.problem.RequestID != "r-2" || refused.header.Get("X-Request-Id") != "r-2" {
		t.Errorf("refusal: header %q, problem %q", refused.header.Get("X-Request-Id"), refused.problem.RequestID)
	}
	failed := s.execute("leave", `{}`)
	logged := s.log.await(t, s.exited, func(l logLine) bool { return l["request_id"] == failed.Problem.RequestID && l["msg"] == "request" })
	if logged["command"] != "leave" || logged["status"] != 502.0 {
		t.Errorf("logged as %v", logged)
	}
}

func TestATraceContextReachesPythonIfItIsOne(t *testing.T) {
	s := serveCalls(t, "--workers=1", "--max-frame=64KiB")
	const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if _, saw := seen(t, s, "Traceparent", traceparent); saw.Traceparent == nil || *saw.Traceparent != traceparent {
		t.Errorf("Python saw %+v", saw)
	}
	before := s.workers()[0].PID
	for _, value := range []string{"", "x", "\xff\xfe", `","args":{}}`, traceparent + "\xff", strings.Repeat("0", 70<<10)} {
		if _, saw := seen(t, s, "Traceparent", value); saw.Traceparent != nil {
			t.Errorf("%.80q came to Python as %.80q", value, *saw.Traceparent)
		}
	}
	if after := s.workers()[0].PID; after != before {
		t.Errorf("a header cost the worker its life: pid %d, then %d", before, after)
	}
}

func TestNothingOfARequestBecomesAHeaderOrALogRecord(t *testing.T) {
	s := serveCalls(t)
	const fake = `%0d%0aX-Evil:%201%0d%0a%0d%0a{"msg":"evil"}%0a`
	for _, path := range []string{"/" + fake, "/sessions/" + fake, "/checkout/" + fake + "/renew", "/workers/" + fake + "/recycle", "/health/ready?min_idle=" + fake} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			if r := s.raw(method, path, ""); r.header.Get("X-Evil") != "" || r.status < 400 || r.status > 499 {
				t.Errorf("%s %s: %d %v", method, path, r.status, r.header)
			}
		}
	}
	a := s.execute("fail", `{"code":"taken","status":409,"x":"\r\nX-Evil: 1"}`, inSession("a:b@c._-"))
	a.wantProblem(t, http.StatusConflict, "taken", true)
	s.post("/execute", `{"command":"a\r\nX-Evil: 1\n{\"msg\":\"evil\"}\n"}`).wantProblem(t, http.StatusNotFound, "unknown_command")

	// What the standard client refuses to send. The server may close or answer; it goes on either way.
	for _, head := range []string{
		"GET /health HTTP/1.1\r\nHost: h\r\nX-Request-Id: a\r\n X-Evil: 1\r\n\r\n",
		"GET /health HTTP/1.1\r\nHost: h\r\nX-Request-Id: a\rX-Evil: 1\r\n\r\n",
		"GET /health\r\nX-Evil: 1 HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /execute HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 18\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
		"POST /execute HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: -1\r\n\r\n",
	} {
		if reply := s.exchange(head); strings.Contains(reply, "\nX-Evil") {
			t.Errorf("%q was answered\n%s", head, reply)
		}
	}
	s.execute("ping", `{}`).wantResult(t, "0")
	if evil := s.log.lines(func(l logLine) bool { return l["msg"] == "evil" }); len(evil) > 0 {
		t.Errorf("a client has written into the log: %v", evil)
	}
}

func TestRepliesAreNotToBeStoredOrGuessedAt(t *testing.T) {
	s := servePatiently(t, "")
	for _, r := range []rawReply{s.raw("GET", "/health", ""), s.post("/execute", `{"command":"greet","args":{"name":"<b>"}}`), s.raw("GET", "/nope", "")} {
		if r.header.Get("Cache-Control") != "no-store" || r.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("header %v", r.header)
		}
	}
}

// TestAnAppMayChooseCodeAndStatusWithinLimits has CommandErrors that try to pass for charmer's own answers.
func TestAnAppMayChooseCodeAndStatusWithinLimits(t *testing.T) {
	s := serveCalls(t)
	for _, tt := range []struct {
		args   string
		status int
		code   string
	}{
		{`{}`, 422, "command_failed"},
		{`{"code":"not_in_catalogue","status":404}`, 404, "not_in_catalogue"},
		{`{"code":"teapot","status":418}`, 418, "teapot"},
		{`{"code":"out_of_order","status":500}`, 500, "out_of_order"},
		{`{"code":"worker_crashed","status":501}`, 501, "command_failed"}, // the closed set is charmer's
		{`{"code":"x","status":503}`, 422, "command_failed"},              // CommandError refuses it: ValueError
		{`{"code":"Not A Code"}`, 422, "command_failed"},
	} {
		a := s.execute("fail", tt.args)
		a.wantProblem(t, tt.status, tt.code, true)
		if e := a.Problem.Exception; e == nil || (e.Type == "ValueError") != (e.Traceback != nil) || a.Problem.Retryable {
			t.Errorf("%s: retryable %v, exception %+v", tt.args, a.Problem.Retryable, e)
		}
	}
	quiet := serveCalls(t, "--debug=false")
	if a := quiet.execute("fail", `{}`); a.Problem.Exception == nil || a.Problem.Exception.Traceback != nil {
		t.Errorf("without --debug: %+v", a.Problem.Exception)
	}
}
