package contracttest

import (
	"net/http"
	"strings"
	"testing"
)

func TestMisfitsOfASchemaAreFound(t *testing.T) {
	c, err := Load("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for text, fits := range map[string]bool{
		`{"event":"chunk","id":2,"data":null}`: true,
		`{"event":"chunk"}`:                    false,
		`{"event":"piece","id":2}`:             false,
		`{"event":"chunk","id":2,"x":1}`:       false,
		`{"event":"chunk","id":2`:              false,
	} {
		if err := c.Misfit("StreamEvent", []byte(text)); (err == nil) != fits {
			t.Errorf("%s: %v, want a fit: %v", text, err, fits)
		}
	}
}

func TestTheContractCheckFindsFaults(t *testing.T) {
	c, err := Load("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const (
		ready   = `{"ready":true,"idle":1}`
		problem = `{"type":"urn:charmer:problem:queue_full","title":"t","status":503,"detail":"d","instance":"/health/ready",` +
			`"code":"queue_full","retryable":true,"started":false,"request_id":"r1"}`
		notAllowed = `{"type":"urn:charmer:problem:method_not_allowed","title":"t","status":405,"detail":"d","instance":"/health/ready",` +
			`"code":"method_not_allowed","retryable":false,"started":false,"request_id":"r1"}`
		otherID = `{"type":"urn:charmer:problem:not_found","title":"t","status":404,"detail":"d","instance":"/nowhere",` +
			`"code":"not_found","retryable":false,"started":false,"request_id":"r2"}`
	)
	plain, problems := "application/json", "application/problem+json"
	tests := []struct {
		name, method, path     string
		status                 int
		contentType, drop, add string
		body                   string
		faulty                 bool
	}{
		{"good", "GET", "/health/ready", 200, plain, "", "", ready, false},
		{"undocumented member", "GET", "/health/ready", 200, plain, "", "", `{"ready":true,"idle":1,"x":1}`, true},
		{"missing member", "GET", "/health/ready", 200, plain, "", "", `{"ready":true}`, true},
		{"wrong type", "GET", "/health/ready", 200, plain, "", "", `{"ready":1,"idle":1}`, true},
		{"not JSON", "GET", "/health/ready", 200, plain, "", "", `{`, true},
		{"missing header", "GET", "/health/ready", 200, plain, "X-Request-Id", "", ready, true},
		{"missing header of every reply", "GET", "/health/ready", 200, plain, "X-Content-Type-Options", "", ready, true},
		{"undocumented header", "GET", "/health/ready", 200, plain, "", "X-New", ready, true},
		{"header of another reply", "GET", "/health/ready", 200, plain, "", "Retry-After", ready, true},
		{"undocumented content type", "GET", "/health/ready", 503, plain, "", "Retry-After", ready, true},
		{"undocumented status", "GET", "/metrics", 201, "text/plain", "", "", "x 1\n", true},
		{"text", "GET", "/metrics", 200, "text/plain; version=0.0.4", "", "Vary", "x 1\n", false},
		{"YAML", "GET", "/openapi.yaml", 200, "application/yaml", "", "", "a: 1\n", false},
		{"YAML as text", "GET", "/openapi.yaml", 200, "text/plain", "", "", "a: 1\n", true},
		{"retryable", "GET", "/health/ready", 503, problems, "", "Retry-After", problem, false},
		{"retryable without Retry-After", "GET", "/health/ready", 503, problems, "", "", problem, true},
		{"another status", "GET", "/health/ready", 500, problems, "", "", problem, true},
		{"another request id", "GET", "/nowhere", 404, problems, "", "", otherID, true},
		{"undocumented path", "GET", "/nowhere", 404, plain, "", "", ready, true},
		{"undocumented method", "PUT", "/health/ready", 405, plain, "", "Allow", ready, true},
		{"405", "PUT", "/health/ready", 405, problems, "", "Allow", notAllowed, false},
		{"405 without Allow", "PUT", "/health/ready", 405, problems, "", "", notAllowed, true},
		{"Allow without 405", "GET", "/health/ready", 503, problems, "Retry-After", "Allow", problem, true},
		{"call", "POST", "/commands/a", 200, plain, "", "Charmer-Worker Charmer-Generation Server-Timing", "1", false},
		{"call in a session", "POST", "/commands/a", 200, plain, "", "Charmer-Worker Charmer-Generation Server-Timing Charmer-Session", "1", false},
		{"call without timing", "POST", "/commands/a", 200, plain, "", "Charmer-Worker Charmer-Generation", "1", true},
		{"call as a stream", "POST", "/commands/a", 200, "application/x-ndjson", "", "Charmer-Worker Charmer-Generation X-Accel-Buffering", "{}\n", false},
		{"stream with timing", "POST", "/commands/a", 200, "application/x-ndjson", "", "Charmer-Worker Charmer-Generation X-Accel-Buffering Server-Timing", "{}\n", true},
		{"index as a page", "GET", "/", 200, "text/html", "", "Vary Content-Security-Policy Cross-Origin-Resource-Policy Referrer-Policy", "<p>", false},
		{"page without policy", "GET", "/", 200, "text/html", "", "Vary Cross-Origin-Resource-Policy Referrer-Policy", "<p>", true},
		{"something in 204", "DELETE", "/sessions/u1", 204, plain, "", "", ready, true},
		{"nothing in 204", "DELETE", "/sessions/u1", 204, "", "", "", "", false},
		{"HEAD", "HEAD", "/health/ready", 200, plain, "", "", "", false},
		{"HEAD with a body", "HEAD", "/health/ready", 200, plain, "", "", ready, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := http.Header{"Content-Type": {tt.contentType}, "X-Request-Id": {"r1"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}}
			header.Del(tt.drop)
			for name := range strings.FieldsSeq(tt.add) {
				header.Set(name, "1")
			}
			req, err := http.NewRequest(tt.method, tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			faults := c.Faults(req, tt.status, header, []byte(tt.body))
			if (len(faults) > 0) != tt.faulty {
				t.Errorf("faults %q, want some: %v", faults, tt.faulty)
			}
		})
	}
}
