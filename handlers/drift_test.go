package handlers

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"charmer/api"
)

// witness checks replies against the contract, and remembers what was there of what it documents.
type witness struct {
	checked
	seen map[string]bool // by operation, status, and header or media type
}

// do sends a request, whose headers are names and values by turns, and wants that status.
func (s witness) do(t *testing.T, status int, method, target, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", jsonMediaType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	for _, fault := range s.contract.Faults(r, w.Code, w.Header(), w.Body.Bytes()) {
		t.Errorf("%s %s: %d: %s", method, target, w.Code, fault)
	}
	if w.Code != status {
		t.Errorf("%s %s: %d, want %d\n%.500s", method, target, w.Code, status, w.Body)
	}
	at := fmt.Sprintf("%s %d", s.contract.Operation(r), w.Code)
	media, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	s.seen[at], s.seen[at+" "+media] = true, true
	for name := range w.Header() {
		s.seen[at+" "+strings.ToLower(name)] = true
	}
	return w
}

// TestEveryDocumentedReplyIsSent has the service send each reply below 400 that openapi.yaml has, in each of its media types and with
// each of its headers. That nothing else is sent is checked with every reply.
func TestEveryDocumentedReplyIsSent(t *testing.T) {
	began := make(chan struct{}, 1)
	c := newChecked(t, newTestServer(t, io.Discard, withVaried(began)))
	s := witness{c, map[string]bool{}}
	s.do(t, 200, "POST", "/execute", `{"command":"any"}`) // waits for the first worker
	s.calls(t)
	s.underWay(t, began)
	s.leases(t)
	s.documents(t)
	for _, path := range []string{"/commands", "/commands/any", "/workers", "/workers/1", "/workers/1/stack", "/stats", "/health", "/health/live", "/health/ready"} {
		s.do(t, 200, "GET", path, "")
	}
	broadcast := s.do(t, 200, "POST", "/broadcast", `{"command":"any"}`)
	s.do(t, 200, "GET", "/broadcasts", "")
	s.do(t, 204, "DELETE", "/broadcasts/"+reading[api.BroadcastReply](t, broadcast).ID, "")
	s.do(t, 202, "POST", "/workers/1/recycle", "")
	s.do(t, 200, "POST", "/reload", "")

	for _, reply := range c.contract.Responses() {
		at := fmt.Sprintf("%s %d", reply.Operation, reply.Status)
		if !s.seen[at] {
			t.Errorf("%s is documented and was not sent: is the test to be extended?", at)
			continue
		}
		for _, part := range slices.Concat(reply.Headers, reply.Media) {
			if !s.seen[at+" "+strings.ToLower(part)] {
				t.Errorf("%s: %s is documented and was never there", at, part)
			}
		}
	}
}

func (s witness) calls(t *testing.T) {
	s.do(t, 200, "POST", "/commands/any?session_id=u1", `{}`)
	for _, media := range []string{jsonMediaType, eventStream, jsonLines} {
		s.do(t, 200, "POST", "/execute", `{"command":"items"}`, "Accept", media)
		s.do(t, 200, "POST", "/commands/items", `{}`, "Accept", media)
	}
	s.do(t, 200, "GET", "/sessions", "")
	s.do(t, 200, "GET", "/sessions/u1", "")
	s.do(t, 204, "DELETE", "/sessions/u1", "")
	s.do(t, 200, "POST", "/mcp", initialize)
	s.do(t, 202, "POST", "/mcp", `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	s.do(t, 200, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"any","arguments":{},"_meta":{"progressToken":1}}}`,
		"Accept", "application/json, text/event-stream")
}

// underWay looks at a call that waits, and cancels it.
func (s witness) underWay(t *testing.T, began <-chan struct{}) {
	var caller sync.WaitGroup
	caller.Go(func() {
		r := httptest.NewRequest("POST", "/execute", strings.NewReader(`{"command":"waits"}`))
		r.Header.Set("Content-Type", jsonMediaType)
		r.Header.Set("X-Request-Id", "r1")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusConflict {
			t.Errorf("the cancelled call: %d %s", w.Code, w.Body)
		}
	})
	<-began
	s.do(t, 200, "GET", "/executions", "")
	s.do(t, 200, "GET", "/executions/r1", "")
	s.do(t, 200, "DELETE", "/executions/r1", "")
	caller.Wait()
}

func (s witness) leases(t *testing.T) {
	lease := reading[api.CheckoutReply](t, s.do(t, 201, "POST", "/checkout", `{"type":"anonymous"}`))
	s.do(t, 200, "POST", "/checkout/"+lease.LeaseID+"/renew", "")
	s.do(t, 204, "DELETE", "/checkout/"+lease.LeaseID, "")
}

func (s witness) documents(t *testing.T) {
	s.do(t, 200, "GET", "/", "")
	s.do(t, 200, "GET", "/", "", "Accept", browser)
	s.do(t, 200, "GET", "/metrics", "", "Accept-Encoding", "gzip")
	s.do(t, 200, "GET", "/openapi.yaml", "")
	for _, path := range []string{"/openapi.json", "/openapi-3.0.json", "/docs"} {
		etag := s.do(t, 200, "GET", path, "", "Range", "bytes=0-9", "If-Match", `"x"`).Header().Get("ETag")
		s.do(t, 304, "GET", path, "", "If-None-Match", `"x", W/`+etag)
	}
}

// reading decodes a reply.
func reading[T any](t *testing.T, w *httptest.ResponseRecorder) (out T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%v in %.200s", err, w.Body)
	}
	return out
}
