package handlers

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"charmer/api"
)

// FuzzBind checks that bind gives a value that encoding/json reads from the same body, or a complete refusal.
func FuzzBind(f *testing.F) {
	for _, seed := range []string{
		`{"command":"greet","args":{"name":"Ada"}}`,
		`{"command":"count","session_id":"u1","timeout_ms":1000,"checkout_timeout_ms":0,"lease_id":"x"}`,
		`{"type":"anonymous","timeout_ms":200,"ttl_ms":60000}`,
		`{"ttl_ms":1e3}`,
		`{"command":"a","args":{"x":"\ud83d\ude00","y":[{"z":null}]}}`,
		`{"command":"a","command":"b"}`,
		`{"command":null,"args":[1]}`,
		`{"a/b~c":1}`, `[[[[`, `{"command":"\ud800"}`, `{"timeout_ms":1e999}`, "",
	} {
		f.Add([]byte(seed))
	}
	b := newBinder(testLimit)
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzzBind[api.CheckoutRequest](t, b, body)
		fuzzBind[api.RenewRequest](t, b, body)
		if req := fuzzBind[api.ExecuteRequest](t, b, body); req.Args != nil && req.Args.Kind() != '{' {
			t.Errorf("args are %s", req.Args)
		}
	})
}

func fuzzBind[T any](t *testing.T, b *binder, body []byte) T {
	got, err := bind[T](b, jsonRequest(string(body)))
	if err != nil {
		checkRefusal(t, err)
		return got
	}
	var want T
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatalf("bind accepts what encoding/json does not: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bind reads another value than encoding/json (-encoding/json +bind):\n%s", diff)
	}
	return got
}

// checkRefusal checks that a refusal has all its parts and none is long.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	var refused *requestError
	if !errors.As(err, &refused) {
		t.Fatalf("%T is no *requestError: %v", err, err)
	}
	if refused.Detail == "" || len(refused.Detail) > 8000 {
		t.Errorf("detail %q", refused.Detail)
	}
	if refused.Status == http.StatusRequestEntityTooLarge {
		return
	}
	if refused.Status != http.StatusBadRequest || len(refused.Errors) == 0 {
		t.Errorf("status %d with errors %v", refused.Status, refused.Errors)
	}
	for _, e := range refused.Errors {
		if e.Detail == "" || len(e.Detail) > 500 || len(e.Pointer) > 8*4*(clippedRunes+2) {
			t.Errorf("error %+v", e)
		}
	}
}
