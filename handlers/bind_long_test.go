package handlers

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"charmer/api"
)

func TestALongStringIsReadLikeAShortOne(t *testing.T) {
	b := newBinder(1 << 20)
	long := strings.Repeat("x", 100_000)
	for name, body := range map[string]string{
		"in the arguments":        `{"command":"c","args":{"a":"` + long + `","b":["` + long + `",1]},"timeout_ms":5}`,
		"behind the arguments":    `{"args":{"a":1},"command":"c","session_id":"` + long + `"}`,
		"before the arguments":    `{"command":"` + long + `","args":{"a":"` + long + `"}}`,
		"of an unknown member":    `{"command":"c","unknown":"` + long + `"}`,
		"a name":                  `{"command":"c","args":{"` + long + `":1,"` + long + `":2}}`,
		"beside a duplicate":      `{"command":"c","args":{"a":"` + long + `","a":2}}`,
		"that does not end":       `{"command":"c","args":{"a":"` + long,
		"with null":               `{"command":"c","args":{"a":"null` + long + `"}}`,
		"beside null":             `{"command":"c","args":{"a":"` + long + `","b":null}}`,
		"beside a null that must": `{"command":"c","args":{"a":"` + long + `"},"timeout_ms":null}`,
		"with an escape":          `{"command":"c","args":{"a":"\n` + long + `"}}`,
		"with invalid UTF-8":      `{"command":"c","args":{"a":"` + long + "\xff" + `"}}`,
		"with a control byte":     `{"command":"c","args":{"a":"` + long + "\x00" + `"}}`,
		"behind which is more":    `{"command":"c","args":{"a":"` + long + `"}} 1`,
	} {
		var want api.ExecuteRequest
		options := b.strict
		if strings.Contains(name, "must") {
			options = b.noNull
		}
		wantErr := json.Unmarshal([]byte(body), &want, options)
		var got api.ExecuteRequest
		gotErr := b.decode([]byte(body), &got)
		if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Errorf("%s: %.200v, want %.200v", name, gotErr, wantErr)
		}
		if diff := cmp.Diff(want, got); wantErr == nil && diff != "" {
			t.Errorf("%s: %.500s", name, diff)
		}
	}
}
