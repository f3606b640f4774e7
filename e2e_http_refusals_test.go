package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"charmer/api/client"
)

// untouched returns what fails the test if, since now, a worker has come, gone or been asked for.
func untouched(s *instance) (check func()) {
	s.t.Helper()
	calls, stats := s.callsByPID(), s.stats()
	return func() {
		s.t.Helper()
		if now := s.callsByPID(); !maps.Equal(now, calls) {
			s.t.Errorf("calls by pid were %v, are %v", calls, now)
		}
		now := s.stats()
		if !maps.Equal(now.Checkouts, stats.Checkouts) || !maps.Equal(now.Executions, stats.Executions) || now.Leases != stats.Leases {
			s.t.Errorf("a worker was asked for: before %+v, after %+v", stats, now)
		}
	}
}

// refusals serves callsApp for a group of bad requests. The check at the end is that none of them got to a worker.
func refusals(t *testing.T, flags ...string) (s *instance, check func()) {
	t.Helper()
	s = serveCalls(t, flags...)
	s.full(2)
	return s, untouched(s)
}

func TestBadBodiesAreRefusedBeforeAnyWorkerIsTouched(t *testing.T) {
	s, check := refusals(t)
	defer check()
	deep := strings.Repeat("[", 20_000)
	tests := []struct{ name, path, body, code, pointer string }{
		{"unknown checkout type", "/checkout", `{"type":"any_worker"}`, "invalid_checkout_type", "/type"},
		{"empty checkout type", "/checkout", `{"type":""}`, "invalid_checkout_type", "/type"},
		{"checkout type of a wrong type", "/checkout", `{"type":1}`, "invalid_checkout_type", "/type"},
		{"null checkout type", "/checkout", `{"type":null}`, "invalid_checkout_type", "/type"},
		{"no checkout type", "/checkout", `{}`, "invalid_request", "/type"},
		{"two checkout types", "/checkout", `{"type":"anonymous","type":"session"}`, "invalid_request", "/type"},
		{"checkout type cut off", "/checkout", `{"type":"anon`, "invalid_request", "/type"},
		{"session checkout without id", "/checkout", `{"type":"session"}`, "invalid_request", "/session_id"},
		{"anonymous checkout with an id", "/checkout", `{"type":"anonymous","session_id":"u1"}`, "invalid_request", "/session_id"},
		{"negative wait", "/checkout", `{"type":"anonymous","timeout_ms":-1}`, "invalid_request", "/timeout_ms"},
		{"TTL of nothing", "/checkout", `{"type":"anonymous","ttl_ms":0}`, "invalid_request", "/ttl_ms"},
		{"TTL of nothing at renewal", "/checkout/x/renew", `{"ttl_ms":0}`, "invalid_request", "/ttl_ms"},

		{"not JSON", "/execute", `command=ping`, "invalid_request", ""},
		{"cut off", "/execute", `{"command":"ping"`, "invalid_request", ""},
		{"trailing data", "/execute", `{"command":"ping"} true`, "invalid_request", ""},
		{"two bodies", "/execute", `{"command":"ping"}{"command":"ping"}`, "invalid_request", ""},
		{"array", "/execute", `["ping"]`, "invalid_request", ""},
		{"null", "/execute", `null`, "invalid_request", ""},
		{"no command", "/execute", `{"args":{}}`, "invalid_request", "/command"},
		{"unknown field", "/execute", `{"command":"ping","priority":1}`, "invalid_request", "/priority"},
		{"field in another case", "/execute", `{"command":"ping","Args":{}}`, "invalid_request", "/Args"},
		{"wrong type", "/execute", `{"command":"ping","timeout_ms":"5"}`, "invalid_request", "/timeout_ms"},
		{"explicit null", "/execute", `{"command":"ping","session_id":null}`, "invalid_request", "/session_id"},
		{"null for args", "/execute", `{"command":"ping","args":null}`, "invalid_request", "/args"},
		{"list for args", "/execute", `{"command":"ping","args":[1]}`, "invalid_request", "/args"},
		{"duplicate key", "/execute", `{"command":"ping","command":"leave"}`, "invalid_request", "/command"},
		{"duplicate key in args", "/execute", `{"command":"ping","args":{"n":1,"n":2}}`, "invalid_request", "/args/n"},
		{"duplicate key by an escape", "/execute", `{"command":"ping","args":{"n":1,"\u006e":2}}`, "invalid_request", "/args/n"},
		{"invalid UTF-8", "/execute", "{\"command\":\"ping\",\"args\":{\"n\":\"\xff\"}}", "invalid_request", "/args/n"},
		{"overlong UTF-8", "/execute", "{\"command\":\"\xc0\xaf\"}", "invalid_request", "/command"},
		{"lone surrogate", "/execute", `{"command":"ping","args":{"n":"\udc00"}}`, "invalid_request", "/args/n"},
		{"raw control character", "/execute", "{\"command\":\"a\x00b\"}", "invalid_request", "/command"},
		{"NaN", "/execute", `{"command":"ping","args":{"n":NaN}}`, "invalid_request", "/args/n"},
		{"deep nesting", "/execute", `{"command":"ping","args":{"n":` + deep + strings.Repeat("]", 20_000) + `}}`, "invalid_request", "/args/n/0/0/0/0/0/0/…"},
		{"deep nesting cut off", "/execute", `{"command":"ping","args":{"n":` + deep, "invalid_request", "/args/n/0/0/0/0/0/0/…"},
		{"lease and session", "/execute", `{"command":"ping","lease_id":"l","session_id":"u1"}`, "invalid_request", "/session_id"},
		{"session id with a space", "/execute", `{"command":"ping","session_id":"u 1"}`, "invalid_request", "/session_id"},
		{"session id with a line feed", "/execute", `{"command":"ping","session_id":"u1\n"}`, "invalid_request", "/session_id"},
		{"session id too long", "/execute", `{"command":"ping","session_id":"` + strings.Repeat("u", 129) + `"}`, "invalid_request", "/session_id"},
		{"endless timeout", "/execute", `{"command":"ping","timeout_ms":1e300}`, "invalid_request", "/timeout_ms"},
		{"no timeout", "/execute", `{"command":"ping","timeout_ms":0}`, "invalid_request", "/timeout_ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := s.post(tt.path, tt.body)
			r.wantProblem(t, http.StatusBadRequest, tt.code)
			if len(r.problem.Errors) != 1 || r.problem.Errors[0].Pointer != tt.pointer || r.problem.Retryable {
				t.Errorf("errors %+v, retryable %v; want one at %q", r.problem.Errors, r.problem.Retryable, tt.pointer)
			}
		})
	}
	empty := s.post("/execute", "")
	empty.wantProblem(t, http.StatusBadRequest, "invalid_request")
	several := s.post("/execute", `{"args":1,"lease_id":"","timeout_ms":-1}`)
	if several.wantProblem(t, http.StatusBadRequest, "invalid_request"); len(several.problem.Errors) != 4 {
		t.Errorf("errors %+v, want all four", several.problem.Errors)
	}
}

func TestUnknownNamesAreRefusedBeforeAnyWorkerIsTouched(t *testing.T) {
	s, check := refusals(t)
	defer check()
	for _, name := range []string{"nope", "__init__", "session_start", "os.system", "ping\x00", "пинг", strings.Repeat("é", 128)} {
		body := fmt.Sprintf(`{"command":%q}`, name)
		if name == "ping\x00" {
			body = `{"command":"ping\u0000"}`
		}
		s.post("/execute", body).wantProblem(t, http.StatusNotFound, "unknown_command")
	}
	s.post("/execute", `{"command":"nope","session_id":"u1"}`).wantProblem(t, http.StatusNotFound, "unknown_command")
	s.post("/execute", `{"command":"ping","lease_id":"nope"}`).wantProblem(t, http.StatusNotFound, "lease_not_found")
	for _, path := range []string{"/doc", "/nope", "/execute/", "/Execute", "//execute", "/checkout/", "/sessions/", "/sessions/a/b", "/checkout/a/b",
		"/openapi", "/%ff", "/%2e%2e/execute", "/execute%00", "/" + strings.Repeat("a", 10_000)} {
		r := s.rawUnchecked(t, http.MethodPost, path)
		r.wantProblem(t, http.StatusNotFound, "not_found")
	}
	s.raw(http.MethodGet, "/sessions/u1", "").wantProblem(t, http.StatusNotFound, "session_not_found")
	s.raw(http.MethodDelete, "/sessions/u1", "").wantProblem(t, http.StatusNotFound, "session_not_found")
	s.raw(http.MethodPost, "/workers/999999/recycle", "").wantProblem(t, http.StatusNotFound, "worker_not_found")
	s.raw(http.MethodGet, "/workers/999999", "").wantProblem(t, http.StatusNotFound, "worker_not_found")
	s.raw(http.MethodGet, "/workers/999999/stack", "").wantProblem(t, http.StatusNotFound, "worker_not_found")
}

func TestBadParametersAreRefusedWithTheirNames(t *testing.T) {
	s, check := refusals(t)
	defer check()
	for _, tt := range []struct{ method, path, pointer string }{
		{"GET", "/sessions/a%20b", "path/session_id"},
		{"GET", "/sessions/a%2Fb", "path/session_id"},
		{"GET", "/sessions/a%0d%0aX-Evil:1", "path/session_id"},
		{"DELETE", "/sessions/%C3%A9", "path/session_id"},
		{"DELETE", "/sessions/" + strings.Repeat("a", 129), "path/session_id"},
		{"DELETE", "/checkout/" + strings.Repeat("a", 65), "path/lease_id"},
		{"POST", "/checkout/" + strings.Repeat("a", 65) + "/renew", "path/lease_id"},
		{"POST", "/workers/0/recycle", "path/worker_id"},
		{"POST", "/workers/-1/recycle", "path/worker_id"},
		{"POST", "/workers/one/recycle", "path/worker_id"},
		{"POST", "/workers/1.0/recycle", "path/worker_id"},
		{"POST", "/workers/99999999999999999999/recycle", "path/worker_id"},
		{"GET", "/workers/0", "path/worker_id"},
		{"GET", "/workers/one/stack", "path/worker_id"},
		{"GET", "/workers?usage=maybe", "query/usage"},
		{"GET", "/health/ready?min_idle=-1", "query/min_idle"},
		{"GET", "/health/ready?min_idle=all", "query/min_idle"},
		{"GET", "/health/ready?min_idle=1&min_idle=2", "query/min_idle"},
	} {
		r := s.raw(tt.method, tt.path, "")
		r.wantProblem(t, http.StatusBadRequest, "invalid_request")
		if len(r.problem.Errors) != 1 || r.problem.Errors[0].Pointer != tt.pointer {
			t.Errorf("%s %s: errors %+v, want one at %s", tt.method, tt.path, r.problem.Errors, tt.pointer)
		}
	}
}

func TestWrongMethodsAreRefusedAndTheRightOnesNamed(t *testing.T) {
	s, check := refusals(t)
	defer check()
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		allowed := slices.Collect(maps.Keys(item.Operations()))
		if slices.Contains(allowed, http.MethodGet) {
			allowed = append(allowed, http.MethodHead)
		}
		slices.Sort(allowed)
		path = strings.NewReplacer("{lease_id}", "l", "{session_id}", "u1", "{worker_id}", "1").Replace(path)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			if slices.Contains(allowed, method) {
				continue
			}
			r := s.raw(method, path, "")
			if method != http.MethodHead {
				r.wantProblem(t, http.StatusMethodNotAllowed, "method_not_allowed")
			}
			got := strings.Split(strings.ReplaceAll(strings.Join(r.header.Values("Allow"), ","), " ", ""), ",")
			slices.Sort(got)
			if r.status != http.StatusMethodNotAllowed || !slices.Equal(got, allowed) {
				t.Errorf("%s %s: %d, Allow %q, want 405 and %q", method, path, r.status, got, allowed)
			}
		}
	}
}

// rawUnchecked is raw for requests whose path no contract check can repeat in the problem.
func (s *instance) rawUnchecked(t *testing.T, method, path string) rawReply {
	t.Helper()
	checked := s.http
	s.http = &http.Client{}
	defer func() { s.http = checked }()
	return s.raw(method, path, "")
}

func TestWhatIsNotJSONOrTooMuchIsRefused(t *testing.T) {
	s, check := refusals(t, "--max-body=64KiB")
	defer check()
	const call = `{"command":"ping"}`
	for _, header := range [][]string{
		nil, {"Content-Type", ""}, {"Content-Type", "text/plain"}, {"Content-Type", "application/x-www-form-urlencoded"},
		{"Content-Type", "application/json; charset=latin1"}, {"Content-Type", "application/json/x"}, {"Content-Type", "application/problem+json"},
		{"Content-Type", "text/\xff\xfe"}, {"Content-Type", "application/json", "Content-Encoding", "gzip"},
		{"Content-Type", "application/json", "Content-Encoding", "\xff"},
	} {
		s.raw(http.MethodPost, "/execute", call, header...).wantProblem(t, http.StatusUnsupportedMediaType, "unsupported_media_type")
		s.raw(http.MethodPost, "/checkout", call, header...).wantProblem(t, http.StatusUnsupportedMediaType, "unsupported_media_type")
		s.raw(http.MethodPost, "/checkout/l/renew", `{"ttl_ms":1}`, header...).wantProblem(t, http.StatusUnsupportedMediaType, "unsupported_media_type")
	}
	large := `{"command":"ping","args":{"n":"` + strings.Repeat("n", 64<<10) + `"}}`
	for _, path := range []string{"/execute", "/checkout", "/checkout/l/renew"} {
		announced := s.post(path, large)
		streamed := s.rawFrom(http.MethodPost, path, struct{ *strings.Reader }{strings.NewReader(large)}, "Content-Type", "application/json")
		for _, r := range []rawReply{announced, streamed} {
			r.wantProblem(t, http.StatusRequestEntityTooLarge, "payload_too_large")
			if r.problem.LimitBytes == nil || *r.problem.LimitBytes != 64<<10 {
				t.Errorf("%s: limit_bytes %v, want 65536", path, r.problem.LimitBytes)
			}
		}
	}
	s.rawFrom(http.MethodPost, "/execute", struct{ *strings.Reader }{strings.NewReader(call)}).
		wantProblem(t, http.StatusUnsupportedMediaType, "unsupported_media_type")
}

func TestHeadIsGetWithoutTheBody(t *testing.T) {
	s, check := refusals(t)
	defer check()
	for _, path := range []string{"/health", "/health/live", "/health/ready", "/sessions", "/workers", "/stats", "/commands", "/metrics",
		"/openapi.yaml", "/openapi.json", "/openapi-3.0.json", "/sessions/u1", "/sessions/a%20b", "/nope"} {
		get, head := s.raw(http.MethodGet, path, ""), s.raw(http.MethodHead, path, "")
		if head.status != get.status || len(head.body) != 0 || head.header.Get("Content-Type") != get.header.Get("Content-Type") {
			t.Errorf("HEAD %s: %d %s and %d bytes, GET %d %s", path, head.status, head.header.Get("Content-Type"), len(head.body),
				get.status, get.header.Get("Content-Type"))
		}
	}
}

func TestArgumentsThatPythonCannotTakeLeaveTheWorkerUnharmed(t *testing.T) {
	s := serveCalls(t, "--workers=1")
	before := s.execute("ping", `{}`)
	s.execute("depth", `{"value":`+strings.Repeat("9", 5_000)+`}`).wantProblem(t, http.StatusBadRequest, "invalid_args", false)
	nested := s.execute("depth", `{"value":`+strings.Repeat("[", 9_000)+strings.Repeat("]", 9_000)+`}`)
	if nested.status != http.StatusOK { // how deep it goes depends on the version of Python
		nested.wantProblem(t, http.StatusBadRequest, "invalid_args", false)
	}
	for args, pointer := range map[string]string{`{}`: "/args/value", `{"value":1,"a/b~c":2}`: "/args/a~1b~0c"} {
		a := s.execute("depth", args)
		a.wantProblem(t, http.StatusBadRequest, "invalid_args", false)
		if want := []client.FieldError{{Pointer: pointer, Detail: a.Problem.Errors[0].Detail}}; !slices.Equal(a.Problem.Errors, want) {
			t.Errorf("errors %+v, want one at %s", a.Problem.Errors, pointer)
		}
	}
	s.execute("depth", `{"value":[[[]]]}`).wantResult(t, "2")
	if after := s.execute("ping", `{}`); after.Worker != before.Worker {
		t.Errorf("worker %+v was replaced by %+v", before.Worker, after.Worker)
	}
}
