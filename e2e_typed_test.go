package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

const pathApp = `
import time
from dataclasses import dataclass
from typing import Iterator, List, Optional
from charmer import CommandError, command, current

@dataclass
class Item:
    id: int
    name: Optional[str] = None

calls = 0

@command
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b

@command
def total(items: List[Item]) -> Item:
    return Item(sum(item.id for item in items))

@command
def fails() -> None:
    raise ValueError("no")

@command
def sold_out() -> None:
    raise CommandError("sold_out", "nothing left", status=409)

@command
def count_to(n: int) -> Iterator[int]:
    yield from range(n)

@command
def visits() -> int:
    global calls
    calls += 1
    return calls

@command
def nap(seconds: float) -> None:
    time.sleep(seconds)

@command(name="größe.v1:x-y")
def named(text: str) -> int:
    return len(text)
`

// typed calls POST /commands/{command}, with a query behind it or not.
func (s *instance) typed(path, args string, header ...string) rawReply {
	return s.raw(http.MethodPost, "/commands/"+path, args, append([]string{"Content-Type", "application/json"}, header...)...)
}

// wantErrors checks that a reply refuses arguments at those places of the body.
func (r rawReply) wantErrors(t *testing.T, pointers ...string) {
	t.Helper()
	r.wantProblem(t, http.StatusBadRequest, "invalid_args")
	var got []string
	for _, e := range r.problem.Errors {
		got = append(got, e.Pointer)
	}
	if strings.Join(got, " ") != strings.Join(pointers, " ") {
		t.Errorf("errors at %q, want %q: %+v", got, pointers, r.problem.Errors)
	}
}

func TestATypedCallTakesArgumentsAndGivesTheResult(t *testing.T) {
	s := serve(t, pathApp, "--workers=1").ready()
	for path, want := range map[string][2]string{
		"add": {`{"a":1,"b":2}`, `3`}, "total": {`{"items":[{"id":1},{"id":2,"name":"x"}]}`, `{"id":3,"name":null}`},
		"gr%C3%B6%C3%9Fe.v1:x-y": {`{"text":"abc"}`, `3`}, "count_to": {`{"n":3}`, `[0,1,2]`},
	} {
		r := s.typed(path, want[0])
		compact := strings.ReplaceAll(string(r.body), " ", "")
		if r.status != http.StatusOK || compact != want[1] || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s, want %s", path, r.status, string(r.body), want[1])
		}
		if r.header.Get("Charmer-Worker") == "" || r.header.Get("Charmer-Generation") != "1" || r.header.Get("Charmer-Session") != "" ||
			!strings.Contains(r.header.Get("Server-Timing"), "run;dur=") || r.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: headers %v", path, r.header)
		}
	}
	s.typed("add", `{}`).wantErrors(t, "/a")
	s.typed("add", `{"a":"1","c":2}`).wantErrors(t, "/a", "/c")
	s.typed("total", `{"items":[{"id":1},{"id":"2"}]}`).wantErrors(t, "/items/1/id")
	s.raw(http.MethodPost, "/execute", `{"command":"total","args":{"items":[{}]}}`, "Content-Type", "application/json").wantErrors(t, "/args/items/0/id")
	s.raw(http.MethodPost, "/broadcast", `{"command":"add","args":{"a":null}}`, "Content-Type", "application/json").wantErrors(t, "/args/a")
	s.typed("add", `[]`).wantProblem(t, http.StatusBadRequest, "invalid_request")
	s.typed("add", `{"a":1,"a":2}`).wantProblem(t, http.StatusBadRequest, "invalid_request")
	s.typed("add?timeout_ms=0", `{"a":1}`).wantProblem(t, http.StatusBadRequest, "invalid_request")
	s.typed("add?session_id=u&lease_id=l", `{"a":1}`).wantProblem(t, http.StatusBadRequest, "invalid_request")
	s.typed("add?session_id=u&isolation=fresh", `{"a":1}`).wantProblem(t, http.StatusBadRequest, "invalid_request")
	s.typed("add?lease_id=none", `{"a":1}`).wantProblem(t, http.StatusNotFound, "lease_not_found")
	s.typed("nobody", `{}`).wantProblem(t, http.StatusNotFound, "unknown_command")
	s.raw(http.MethodGet, "/commands/nobody", "").wantProblem(t, http.StatusNotFound, "unknown_command")
	for path, want := range map[string]struct {
		args, code string
		status     int
	}{
		"fails": {`{}`, "command_failed", http.StatusUnprocessableEntity}, "sold_out": {`{}`, "sold_out", http.StatusConflict},
		"nap?timeout_ms=200": {`{"seconds":30}`, "execution_timeout", http.StatusGatewayTimeout},
	} {
		if r := s.typed(path, want.args); r.status != want.status || r.problem.Code != want.code || !r.problem.Started {
			t.Errorf("%s: %d %s, want %d %s", path, r.status, r.body, want.status, want.code)
		}
	}

	if r := s.raw(http.MethodPost, "/commands/visits", ""); r.status != http.StatusOK || string(r.body) != "1" { // no body, no arguments
		t.Errorf("without a body: %d %s", r.status, string(r.body))
	}
	for _, state := range []string{"new", "resumed"} {
		if r := s.typed("visits?session_id=u1", `{}`); r.status != http.StatusOK || r.header.Get("Charmer-Session") != state {
			t.Errorf("in a session: %d %s, %q, want %q", r.status, string(r.body), r.header.Get("Charmer-Session"), state)
		}
	}
	if r := s.raw(http.MethodGet, "/commands/add", ""); r.status != http.StatusOK || !strings.Contains(string(r.body), `"summary":"Add two numbers."`) || !strings.Contains(string(r.body), `"args_schema":{`) {
		t.Errorf("descriptor: %d %s", r.status, string(r.body))
	}
	if m := s.metrics(); m[`charmer_execute_total{outcome="invalid_args"}`] != 4 {
		t.Errorf("refused calls: %v", m[`charmer_execute_total{outcome="invalid_args"}`])
	}
}

func TestATypedCallMayBeAStream(t *testing.T) {
	s := serve(t, pathApp, "--workers=1").ready()
	for accept, want := range map[string]string{"text/event-stream": "event: chunk\nid: 2\ndata: 0\n\n", "application/x-ndjson": `{"event":"chunk","id":2,"data":0}` + "\n"} {
		r := s.typed("count_to", `{"n":2}`, "Accept", accept)
		if r.status != http.StatusOK || !strings.Contains(string(r.body), want) || r.header.Get("Content-Type") != accept || r.header.Get("Charmer-Worker") == "" {
			t.Errorf("%s: %d %v\n%s", accept, r.status, r.header, string(r.body))
		}
		s.typed("count_to", `{"n":"2"}`, "Accept", accept).wantErrors(t, "/n")
		s.typed("add", `{"a":1}`, "Accept", accept).wantProblem(t, http.StatusNotAcceptable, "not_streamable")
	}
}

func TestATypedCallWaitsAndIsRefusedAsAnyOther(t *testing.T) {
	s := serve(t, pathApp, "--workers=1").ready()
	lease := s.lease()
	r := s.typed("add?checkout_timeout_ms=0", `{"a":1}`)
	r.wantProblem(t, http.StatusServiceUnavailable, "checkout_timeout")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.typed("add?checkout_timeout_ms=0", `{"a":"1"}`).wantErrors(t, "/a") // with no worker free
	if r := s.typed("add?lease_id="+lease.LeaseID, `{"a":1}`); r.status != http.StatusOK || string(r.body) != "2" {
		t.Errorf("on the lease: %d %s", r.status, string(r.body))
	}
}

// document gets an OpenAPI document, which must be valid, and its ETag.
func (s *instance) document(path string) (*openapi3.T, string) {
	s.t.Helper()
	r := s.raw(http.MethodGet, path, "")
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(r.body)
	if err == nil {
		err = doc.Validate(loader.Context, openapi3.EnableExamplesValidation())
	}
	if err != nil || r.header.Get("Cache-Control") != "no-cache" {
		s.t.Fatalf("%s: %v, headers %v", path, err, r.header)
	}
	return doc, r.header.Get("Etag")
}

func TestTheDocumentHasTheCommandsAndChangesWithThem(t *testing.T) {
	app := appFile(t, pathApp)
	s := serve(t, app).ready()
	doc, etag := s.document("/openapi.json")
	old, oldTag := s.document("/openapi-3.0.json")
	for _, d := range []*openapi3.T{doc, old} {
		post := d.Paths.Value("/commands/total").Post
		if post.OperationID != "total" || d.Components.Schemas["TotalArgs"] == nil || d.Components.Schemas["Item"] == nil || d.Paths.Value("/commands/gr%C3%B6%C3%9Fe.v1:x-y") == nil {
			t.Errorf("%s: %+v", d.OpenAPI, post)
		}
	}
	if !doc.IsOpenAPI31OrLater() || old.OpenAPI != "3.0.3" || etag == oldTag || etag == "" {
		t.Errorf("versions %s and %s, ETags %s and %s", doc.OpenAPI, old.OpenAPI, etag, oldTag)
	}
	for _, value := range []string{etag, `"x", W/` + etag, "*"} {
		if r := s.raw(http.MethodGet, "/openapi.json", "", "If-None-Match", value); r.status != http.StatusNotModified || string(r.body) != "" || r.header.Get("Etag") != etag {
			t.Errorf("If-None-Match: %s: %d %s", value, r.status, string(r.body))
		}
	}
	change(t, app, pathApp+"\n@command\ndef later(x: str) -> str:\n    return x\n")
	s.reload()
	doc, changed := s.document("/openapi.json")
	if changed == etag || doc.Paths.Value("/commands/later") == nil {
		t.Errorf("after the reload the ETag is %s, before %s", changed, etag)
	}
	if r := s.raw(http.MethodGet, "/openapi.json", "", "If-None-Match", etag); r.status != http.StatusOK {
		t.Errorf("the old ETag: %d", r.status)
	}
	change(t, app, pathApp)
	s.reload()
	if _, again := s.document("/openapi.json"); again != etag {
		t.Errorf("the same code has the ETag %s, and had %s", again, etag)
	}
	if r := s.raw(http.MethodGet, "/openapi.yaml", ""); strings.Contains(string(r.body), "/commands/total") {
		t.Error("openapi.yaml has the commands, too")
	}
}

// TestAReloadThatChangesASignatureIsCheckedByTheCodeThatRuns has a session of the old code beside the new one.
func TestAReloadThatChangesASignatureIsCheckedByTheCodeThatRuns(t *testing.T) {
	const before, after = "from charmer import command\n@command\ndef f(old: int) -> int:\n    return 1\n", "from charmer import command\n@command\ndef f(new: str) -> int:\n    return 2\n#\n"
	app := appFile(t, before)
	s := serve(t, app).ready()
	s.typed("f?session_id=u", `{"old":1}`)
	change(t, app, after)
	s.reload()
	s.execute("f", `{"new":"x"}`).wantResult(t, "2")
	s.typed("f", `{"old":1}`).wantErrors(t, "/new", "/old")
	s.typed("f?session_id=u", `{"new":"x"}`).wantErrors(t, "/new", "/old")
	if r := s.typed("f?session_id=u", `{"old":1}`); r.status != http.StatusOK || string(r.body) != "1" {
		t.Errorf("in the old session: %d %s", r.status, string(r.body))
	}
}
