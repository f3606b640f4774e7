package handlers

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"charmer/poolsvc"
)

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// post sends a message of the Model Context Protocol. The options are the names and values of headers by turns.
func (c checked) post(t *testing.T, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if local := r.Header.Get("Test-Local"); local != "" {
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP(local), Port: 80})))
		r.Host = r.Header.Get("Test-Host")
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	for _, fault := range c.contract.Faults(r, w.Code, w.Header(), w.Body.Bytes()) {
		t.Errorf("%d: %s\n%s", w.Code, fault, w.Body)
	}
	return w
}

func TestTheModelContextProtocolBegins(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard))
	for _, accept := range []string{"", "application/json", "application/json, text/event-stream", "*/*"} {
		w := c.post(t, initialize, "Accept", accept)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"serverInfo":{"name":"charmer","version":"0.1.0"}`) || w.Header().Get(mcpSession) == "" {
			t.Errorf("Accept %q: %d %v %s", accept, w.Code, w.Header(), w.Body)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control %q", got)
		}
	}
	if w := c.post(t, `{"jsonrpc":"2.0","method":"notifications/initialized"}`); w.Code != http.StatusAccepted || w.Body.Len() > 0 {
		t.Errorf("notification: %d %s", w.Code, w.Body)
	}
	if w := c.post(t, `{"jsonrpc":"2.0","id":"p","method":"ping"}`); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"id":"p","result":{}`) {
		t.Errorf("ping: %d %s", w.Code, w.Body)
	}
}

func TestWhatIsNoMessageOfTheModelContextProtocolIsAProblem(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard))
	for _, tt := range []struct {
		name, body string
		header     []string
		status     int
		code       string
	}{
		{"no body", ``, nil, 400, "invalid_request"},
		{"no JSON", `{"jsonrpc":`, nil, 400, "invalid_request"},
		{"a member twice", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"b":1,"b":2}}}`, nil, 400, "invalid_request"},
		{"no JSON-RPC", `{"command":"greet"}`, nil, 400, "invalid_request"},
		{"several messages", `[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`, nil, 400, "invalid_request"},
		{"a number", `7`, nil, 400, "invalid_request"},
		{"no such method", `{"jsonrpc":"2.0","id":1,"method":"tools/sharpen"}`, nil, 400, "invalid_request"},
		{"no such version", initialize, []string{"Mcp-Protocol-Version", "1999-12-31"}, 400, "invalid_request"},
		{"text", initialize, []string{"Content-Type", "text/plain"}, 415, "unsupported_media_type"},
		{"too large", strings.Repeat(" ", testLimit) + initialize, nil, 413, "payload_too_large"},
		{"a wrong timeout", initialize, []string{"Request-Timeout-Ms", "-1"}, 400, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := c.post(t, tt.body, tt.header...)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), `"code":"`+tt.code+`"`) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, tt.status, tt.code)
			}
		})
	}
	for _, method := range []string{"GET", "DELETE"} {
		if w := c.answer(t, method, "/mcp", ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

func TestPagesOfOtherOriginsAreRefused(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard))
	for _, tt := range []struct {
		name   string
		header []string
		want   int
	}{
		{"no browser", nil, 200},
		{"no browser, behind a proxy here", []string{"Test-Local", "127.0.0.1", "Test-Host", "charmer.example"}, 200},
		{"its own page", []string{"Origin", "http://example.com"}, 200},
		{"its own page here", []string{"Origin", "http://localhost:8080", "Test-Local", "127.0.0.1", "Test-Host", "localhost:8080"}, 200},
		{"its own page here, by IPv6", []string{"Origin", "http://[::1]:8080", "Test-Local", "::1", "Test-Host", "[::1]:8080"}, 200},
		{"another page", []string{"Origin", "https://evil.example"}, 403},
		{"another page here", []string{"Origin", "http://localhost:3000", "Test-Local", "127.0.0.1", "Test-Host", "localhost:8080"}, 403},
		{"another page, by the browser's word", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a page of a file", []string{"Origin", "null"}, 403},
		{"a name made to point here", []string{"Origin", "http://evil.example:8080", "Test-Local", "127.0.0.1", "Test-Host", "evil.example:8080"}, 403},
		{"such a name, by the browser's word", []string{"Origin", "http://evil.example:8080", "Sec-Fetch-Site", "same-origin", "Test-Local", "::1", "Test-Host", "evil.example:8080"}, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := c.post(t, initialize, tt.header...)
			if w.Code != tt.want || (tt.want == 403 && !strings.Contains(w.Body.String(), `"code":"forbidden"`)) {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tt.want)
			}
		})
	}
}

// TestAPanicInAMethodOfTheProtocolIsAnAnswer has tools/list meet what cannot be: a pool that was not made by New.
func TestAPanicInAMethodOfTheProtocolIsAnAnswer(t *testing.T) {
	s := testServerOf(t, new(poolsvc.Pool), slog.New(slog.DiscardHandler))
	w := newChecked(t, s).post(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"code":-32000`) || !strings.Contains(w.Body.String(), `"code":"internal"`) ||
		strings.Contains(w.Body.String(), "divide") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
