package handlers

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"charmer/api"
)

const testLimit = 1 << 16

// jsonRequest returns a request with a JSON body.
func jsonRequest(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/execute", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// refusal returns the *requestError that err must be.
func refusal(t *testing.T, err error) *requestError {
	t.Helper()
	var refused *requestError
	if !errors.As(err, &refused) {
		t.Fatalf("error is %v, want a *requestError", err)
	}
	return refused
}

// bindAs binds body as the request type that kind names.
func bindAs(b *binder, kind, body string) error {
	var err error
	switch kind {
	case "checkout":
		_, err = bind[api.CheckoutRequest](b, jsonRequest(body))
	case "renew":
		_, err = bind[api.RenewRequest](b, jsonRequest(body))
	default:
		_, err = bind[api.ExecuteRequest](b, jsonRequest(body))
	}
	return err
}

// badBody is a body with one fault, where it is, and what is said about it.
type badBody struct{ name, kind, body, pointer, detail string }

func badBodies() []badBody {
	long := strings.Repeat("é", 129)
	return []badBody{
		{"missing", "execute", `{}`, "/command", "is required"},
		{"empty string", "execute", `{"command":""}`, "/command", "must not be empty"},
		{"too long", "execute", `{"command":"` + long + `"}`, "/command", "must have at most 128 characters"},
		{"empty optional string", "execute", `{"command":"a","lease_id":""}`, "/lease_id", "must have at least 1 character"},
		{"minimum", "execute", `{"command":"a","checkout_timeout_ms":-1}`, "/checkout_timeout_ms", "must be at least 0"},
		{"maximum", "execute", `{"command":"a","checkout_timeout_ms":3600000.5}`, "/checkout_timeout_ms", "must be at most 3600000"},
		{"exclusive minimum", "execute", `{"command":"a","timeout_ms":0}`, "/timeout_ms", "must be greater than 0"},
		{"pattern", "execute", `{"command":"a","session_id":"a b"}`, "/session_id", "must match ^[A-Za-z0-9._:@-]+$"},
		{"pattern and a line feed", "execute", `{"command":"a","session_id":"a\n"}`, "/session_id", "must match ^[A-Za-z0-9._:@-]+$"},
		{"enum", "checkout", `{"type":"shared"}`, "/type", "must be anonymous or session"},
		{"empty enum", "checkout", `{"type":""}`, "/type", "must not be empty"},
		{"minimum of one", "renew", `{"ttl_ms":0.5}`, "/ttl_ms", "must be at least 1"},
		{"args array", "execute", `{"command":"a","args":[1]}`, "/args", "must be an object"},
		{"args null", "execute", `{"command":"a","args":null}`, "/args", "must be an object"},
		{"args string", "execute", `{"command":"a","args":"{}"}`, "/args", "must be an object"},

		{"unknown member", "execute", `{"command":"a","bogus":1}`, "/bogus", "unknown member"},
		{"another case", "execute", `{"command":"a","Command":"b"}`, "/Command", "unknown member"},
		{"escaped name", "execute", `{"a/b~c":1,"command":"a"}`, "/a~1b~0c", "unknown member"},
		{"duplicate", "execute", `{"command":"a","command":"b"}`, "/command", "duplicate member"},
		{"duplicate in args", "execute", `{"command":"a","args":{"x":[{"y":1,"y":2}]}}`, "/args/x/0/y", "duplicate member"},
		{"number for a string", "execute", `{"command":7}`, "/command", "must be a string, not a number"},
		{"array for a string", "execute", `{"command":["a"]}`, "/command", "must be a string, not an array"},
		{"object for a string", "execute", `{"command":{"a":1}}`, "/command", "must be a string, not an object"},
		{"string for a number", "execute", `{"command":"a","timeout_ms":"1"}`, "/timeout_ms", "must be a number, not a string"},
		{"boolean for a number", "execute", `{"command":"a","timeout_ms":true}`, "/timeout_ms", "must be a number, not a boolean"},
		{"null for a required string", "execute", `{"command":null}`, "/command", "must be a string, not null"},
		{"null for an optional number", "execute", `{"command":"a","timeout_ms":null}`, "/timeout_ms", "must be a number, not null"},
		{"null for an optional string", "execute", `{"command":"a","lease_id":null}`, "/lease_id", "must be a string, not null"},
		{"null for an enum", "checkout", `{"type":null}`, "/type", "must be a string, not null"},
		{"too large a number", "execute", `{"command":"a","timeout_ms":1e400}`, "/timeout_ms", "is out of range"},
		{"array", "execute", `[]`, "", "must be an object, not an array"},
		{"null", "execute", `null`, "", "must be an object, not null"},
		{"number", "execute", `1`, "", "must be an object, not a number"},

		{"no value", "execute", ` `, "", "is not valid JSON: it ends at byte 1 before the value does"},
		{"cut off", "execute", `{"command":"a`, "/command", "is not valid JSON: it ends at byte 13 before the value does"},
		{"cut off in args", "execute", `{"command":"a","args":{"x":`, "/args/x", "is not valid JSON: it ends at byte 27 before the value does"},
		{"trailing value", "execute", `{"command":"a"} {}`, "", "is not valid JSON at byte 16: invalid character '{' after top-level value"},
		{"NaN", "execute", `{"command":"a","timeout_ms":NaN}`, "/timeout_ms", "is not valid JSON at byte 28: invalid character 'N' at start of value"},
		{"leading zero in args", "execute", `{"command":"a","args":{"x":01}}`, "/args", "is not valid JSON at byte 28: invalid character '1' after object value (expecting ',' or '}')"},
		{"invalid UTF-8", "execute", "{\"command\":\"\xff\"}", "/command", "is not valid JSON at byte 12: invalid UTF-8"},
		{"lone surrogate in args", "execute", `{"command":"a","args":{"x":"\ud800"}}`, "/args/x", "is not valid JSON at byte 28: invalid surrogate pair `\\ud800\"}}` in string"},
		{"byte order mark", "execute", "\ufeff{}", "", `is not valid JSON at byte 0: invalid character '\ufeff' at start of value`},
	}
}

func TestBadBodiesAreRefusedWithThePlaceAndTheReason(t *testing.T) {
	b := newBinder(testLimit)
	for _, tt := range badBodies() {
		t.Run(tt.name, func(t *testing.T) {
			got := refusal(t, bindAs(b, tt.kind, tt.body))
			if got.Status != http.StatusBadRequest || got.Code != api.ProblemCodeInvalidRequest {
				t.Errorf("status %d, code %s", got.Status, got.Code)
			}
			want := []api.FieldError{{Pointer: tt.pointer, Detail: tt.detail}}
			if diff := cmp.Diff(want, got.Errors); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			if !strings.HasPrefix(got.Detail, "the request body ") || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("detail %q", got.Detail)
			}
		})
	}
}

func TestEveryBrokenRuleIsReported(t *testing.T) {
	err := bindAs(newBinder(testLimit), "execute", `{"args":1,"lease_id":"","timeout_ms":-1,"checkout_timeout_ms":-1}`)
	got := refusal(t, err)
	want := []api.FieldError{
		{Pointer: "/args", Detail: "must be an object"},
		{Pointer: "/checkout_timeout_ms", Detail: "must be at least 0"},
		{Pointer: "/command", Detail: "is required"},
		{Pointer: "/lease_id", Detail: "must have at least 1 character"},
		{Pointer: "/timeout_ms", Detail: "must be greater than 0"},
	}
	if diff := cmp.Diff(want, got.Errors); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	const detail = "the request body is not valid: /args: must be an object; /checkout_timeout_ms: must be at least 0; " +
		"/command: is required; and 2 more"
	if got.Detail != detail {
		t.Errorf("detail %q, want %q", got.Detail, detail)
	}
}

func TestLargeInputIsNotRepeated(t *testing.T) {
	b := newBinder(1 << 20)
	name := strings.Repeat("é", 1000)
	deep := strings.Repeat(`{"x":`, 1000) + `{"y":1,"y":2}` + strings.Repeat("}", 1000)
	for _, body := range []string{
		`{"` + name + `":1}`,
		`{"command":"a","args":{"` + name + `":1,"` + name + `":2}}`,
		`{"command":"a","args":` + deep + `}`,
		`{"command":"a","timeout_ms":` + strings.Repeat("9", 1000) + `}`,
		`{"command":"a","timeout_ms":"` + name + `"}`,
		`{"command":"a","session_id":"` + name + `"}`,
	} {
		got := refusal(t, bindAs(b, "execute", body))
		if n := len(got.Detail); n > 400 {
			t.Errorf("detail has %d bytes for %.60s…", n, body)
		}
		if n := len(got.Errors[0].Pointer) + len(got.Errors[0].Detail); n > 400 {
			t.Errorf("error has %d bytes for %.60s…", n, body)
		}
	}
	want := "/" + strings.Repeat("é", clippedRunes) + "…"
	if got := refusal(t, bindAs(b, "execute", `{"`+name+`":1}`)).Errors[0].Pointer; got != want {
		t.Errorf("pointer %s, want %s", got, want)
	}
}

func TestGoodBodiesAreBound(t *testing.T) {
	b := newBinder(testLimit)
	got, err := bind[api.ExecuteRequest](b, jsonRequest(` {"timeout_ms":1e-3,"command":"`+strings.Repeat("é", 128)+`","checkout_timeout_ms":0,"session_id":"a.b:c@d-e_f"} `))
	if err != nil {
		t.Fatal(err)
	}
	want := api.ExecuteRequest{
		Command: strings.Repeat("é", 128), TimeoutMs: some(0.001), CheckoutTimeoutMs: new(float64), SessionID: some("a.b:c@d-e_f"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestArgsAreTheClientsBytesAndOutliveTheBuffer(t *testing.T) {
	b := newBinder(testLimit)
	const args = "{ \"b\" : 1.0e+05,\n\t\"a\":\"\\u00e9\\/<\" , \"n\":null, \"big\":123456789012345678901234567890 }"
	got, err := bind[api.ExecuteRequest](b, jsonRequest(`{"command":"a","args": `+args+` }`))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // whoever gets the buffer next writes over it
		_ = bindAs(b, "execute", `{"command":"`+strings.Repeat("x", 100)+`","args":{"`+strings.Repeat("y", 300)+`":1}}`)
	}
	if string(got.Args) != args {
		t.Errorf("args %q, want %q", got.Args, args)
	}
}

func TestAnOptionalBodyMayBeLeftOut(t *testing.T) {
	b := newBinder(testLimit)
	chunked := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader("")))
	for name, r := range map[string]*http.Request{
		"no body":         httptest.NewRequest(http.MethodPost, "/", nil),
		"empty":           httptest.NewRequest(http.MethodPost, "/", strings.NewReader("")),
		"empty with type": jsonRequest(""),
		"empty, chunked":  chunked,
	} {
		if got, err := bindOptional[api.RenewRequest](b, r); err != nil || got.TTLMs != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := bindOptional[api.RenewRequest](b, jsonRequest(`{"ttl_ms":0}`)); err == nil {
		t.Error("a body that is there was not checked")
	}
}

func TestARequiredBodyMustBeThere(t *testing.T) {
	got := refusal(t, bindAs(newBinder(testLimit), "execute", ""))
	if got.Status != http.StatusBadRequest || got.Detail != "the request body is required" {
		t.Errorf("status %d, detail %q", got.Status, got.Detail)
	}
}

func TestTheLimitHoldsWithAndWithoutContentLength(t *testing.T) {
	const limit = 100
	body := func(n int) string {
		return `{"command":"a","args":{"x":"` + strings.Repeat("y", n-31) + `"}}`
	}
	b := newBinder(limit)
	for _, chunked := range []bool{false, true} {
		for n, accepted := range map[int]bool{limit: true, limit + 1: false, 10 * limit: false} {
			r := jsonRequest(body(n))
			if int(r.ContentLength) != n {
				t.Fatalf("test body has %d bytes", r.ContentLength)
			}
			if chunked {
				r.ContentLength = -1
			}
			_, err := bind[api.ExecuteRequest](b, r)
			if accepted && err != nil {
				t.Errorf("%d bytes, chunked %v: %v", n, chunked, err)
			}
			if accepted {
				continue
			}
			got := refusal(t, err)
			if got.Status != http.StatusRequestEntityTooLarge || got.Code != api.ProblemCodePayloadTooLarge || got.LimitBytes != limit {
				t.Errorf("%d bytes, chunked %v: %+v", n, chunked, got)
			}
		}
	}
	w := httptest.NewRecorder()
	r := jsonRequest(body(90))
	r.Body = http.MaxBytesReader(w, r.Body, 50)
	if _, err := bind[api.ExecuteRequest](b, r); refusal(t, err).LimitBytes != 50 {
		t.Errorf("a smaller limit around the body: %v", err)
	}
}

func TestTheMediaTypeMustBeJSON(t *testing.T) {
	b := newBinder(testLimit)
	tests := []struct {
		contentType, coding string
		accepted            bool
	}{
		{"application/json", "", true},
		{"Application/JSON", "", true},
		{"application/json; charset=utf-8", "", true},
		{`application/json;charset="UTF-8"; q=1`, "", true},
		{"application/json", "identity", true},
		{"application/json; charset=latin-1", "", false},
		{"application/json", "gzip", false},
		{"application/merge-patch+json", "", false},
		{"text/json", "", false},
		{"application/x-www-form-urlencoded", "", false},
		{"application/json;", "", true},
		{"application/json; =", "", false},
		{"", "", false},
		{strings.Repeat("x", 10000), "", false},
	}
	for _, tt := range tests {
		for _, length := range []int64{15, -1} {
			r := jsonRequest(`{"command":"a"}`)
			r.ContentLength = length
			r.Header.Set("Content-Type", tt.contentType)
			r.Header.Set("Content-Encoding", tt.coding)
			_, err := bind[api.ExecuteRequest](b, r)
			if tt.accepted {
				if err != nil {
					t.Errorf("%.60q %q: %v", tt.contentType, tt.coding, err)
				}
				continue
			}
			got := refusal(t, err)
			if got.Status != http.StatusUnsupportedMediaType || got.Code != api.ProblemCodeUnsupportedMediaType || len(got.Detail) > 200 {
				t.Errorf("%.60q %q: %+v", tt.contentType, tt.coding, got)
			}
		}
	}
}

func TestABodyOfAnySizeIsReadWhole(t *testing.T) {
	const limit = (eagerGrowth + 4) * eagerBody
	for _, size := range []int{1, eagerBody - 1, eagerBody, eagerBody + 1, 2 * eagerBody, eagerGrowth*eagerBody - 1, eagerGrowth * eagerBody, eagerGrowth*eagerBody + 1, limit} {
		for _, announced := range []int64{-1, int64(size)} {
			whole := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
			buffer := new(bodyBuffer)
			if err := buffer.fill(iotest.HalfReader(bytes.NewReader(whole)), announced, limit); err != nil || !bytes.Equal(buffer.Bytes(), whole) {
				t.Errorf("%d bytes, announced as %d: %d were read, %v", size, announced, buffer.Len(), err)
			}
			if announced >= 0 && buffer.Cap() > 2*size+eagerBody {
				t.Errorf("%d bytes have a buffer of %d", size, buffer.Cap())
			}
		}
	}
	buffer := new(bodyBuffer)
	if err := buffer.fill(strings.NewReader("01234"), -1, 3); err != nil || buffer.Len() != 4 {
		t.Errorf("of a body over its limit %d bytes were read, %v", buffer.Len(), err)
	}
}

func TestABodyGetsMemoryAsItComes(t *testing.T) {
	buffer := new(bodyBuffer)
	if err := buffer.fill(strings.NewReader("{"), 1<<30, 1<<30); err != nil || buffer.Cap() > 2*eagerBody {
		t.Errorf("one byte has a buffer of %d, %v", buffer.Cap(), err)
	}
}

func TestABodyThatBreaksOffIsRefusedWithTheCause(t *testing.T) {
	r := jsonRequest(`{"command":"a"}`)
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"comm`), brokenReader{}))
	_, err := bind[api.ExecuteRequest](newBinder(testLimit), r)
	if got := refusal(t, err); got.Status != http.StatusBadRequest || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%+v", got)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestLargeBuffersAreNotKept(t *testing.T) {
	b := newBinder(4 << 20)
	buffer := &bodyBuffer{Buffer: *bytes.NewBuffer(make([]byte, 0, keptBuffer+1))}
	b.putBack(buffer)
	if got := b.buffers.Get().(*bodyBuffer); got == buffer {
		t.Error("the buffer came back")
	}
}

func TestParametersAreCheckedByTheirRules(t *testing.T) {
	b := newBinder(testLimit)
	if err := b.checkParam("path", "worker_id", int64(1), "min=1"); err != nil {
		t.Error(err)
	}
	tests := []struct {
		in, name string
		value    any
		rules    string
		detail   string
	}{
		{"path", "worker_id", int64(0), "min=1", "must be at least 1"},
		{"query", "min_idle", int64(100001), "min=0,max=100000", "must be at most 100000"},
		{"path", "session_id", "ä", "min=1,max=128,pattern=SessionId", "must match ^[A-Za-z0-9._:@-]+$"},
		{"path", "lease_id", strings.Repeat("x", 65), "min=1,max=64", "must have at most 64 characters"},
	}
	for _, tt := range tests {
		got := refusal(t, b.checkParam(tt.in, tt.name, tt.value, tt.rules))
		want := []api.FieldError{{Pointer: tt.in + "/" + tt.name, Detail: tt.detail}}
		if diff := cmp.Diff(want, got.Errors); diff != "" || got.Status != http.StatusBadRequest {
			t.Errorf("status %d, (-want +got):\n%s", got.Status, diff)
		}
		if want := "the " + tt.in + " parameter " + tt.name + " " + tt.detail; got.Detail != want {
			t.Errorf("detail %q, want %q", got.Detail, want)
		}
	}
}
