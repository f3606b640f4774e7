package contracttest

import (
	"net/http"
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
		{"undocumented content type", "GET", "/health/ready", 503, plain, "", "Retry-After", ready, true},
		{"undocumented status", "GET", "/metrics", 201, "text/plain", "", "", "x 1\n", true},
		{"text", "GET", "/metrics", 200, "text/plain; version=0.0.4", "", "", "x 1\n", false},
		{"YAML", "GET", "/openapi.yaml", 200, "application/yaml", "", "", "a: 1\n", false},
		{"YAML as text", "GET", "/openapi.yaml", 200, "text/plain", "", "", "a: 1\n", true},
		{"retryable", "GET", "/health/ready", 503, problems, "", "Retry-After", problem, false},
		{"retryable without Retry-After", "GET", "/health/ready", 503, problems, "", "", problem, true},
		{"another status", "GET", "/health/ready", 500, problems, "", "", problem, true},
		{"another request id", "GET", "/nowhere", 404, problems, "", "", otherID, true},
		{"undocumented path", "GET", "/nowhere", 404, plain, "", "", ready, true},
		{"undocumented method", "PUT", "/health/ready", 405, plain, "", "", ready, true},
		{"something in 204", "DELETE", "/sessions/u1", 204, plain, "", "", ready, true},
		{"nothing in 204", "DELETE", "/sessions/u1", 204, "", "", "", "", false},
		{"HEAD", "HEAD", "/health/ready", 200, plain, "", "", "", false},
		{"HEAD with a body", "HEAD", "/health/ready", 200, plain, "", "", ready, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := http.Header{"Content-Type": {tt.contentType}, "X-Request-Id": {"r1"}}
			header.Del(tt.drop)
			if tt.add != "" {
				header.Set(tt.add, "1")
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
