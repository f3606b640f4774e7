package handlers

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"pgregory.net/rapid"

	"charmer/api"
)

// binds returns, by operation id, how the body of each operation is bound.
func binds() map[string]func(*binder, *http.Request) error {
	return map[string]func(*binder, *http.Request) error{
		"checkout":    bindOnly[api.CheckoutRequest],
		"renewLease":  bindOnly[api.RenewRequest],
		"execute":     bindOnly[api.ExecuteRequest],
		"broadcast":   bindOnly[api.BroadcastRequest],
		"callCommand": func(b *binder, r *http.Request) error { _, err := bindArgs(b, r); return err },
		"mcp":         func(b *binder, r *http.Request) error { _, err := bindMessage(b, r); return err },
	}
}

func bindOnly[T any](b *binder, r *http.Request) error {
	_, err := bind[T](b, r)
	return err
}

// TestBindAndTheContractAgree makes bodies from the schemas of openapi.yaml, good ones and others, and compares bind with
// kin-openapi. Three classes of bodies are left out, in which bind is stricter on purpose: members that stand twice,
// invalid UTF-8, and whole numbers written as 1.0 or 1e3.
func TestBindAndTheContractAgree(t *testing.T) {
	c := newContract(t)
	b := newBinder(testLimit)
	bodies := c.requestBodies()
	operations := slices.Sorted(maps.Keys(bodies))
	bindings := binds()
	for _, op := range operations {
		if bindings[op] == nil {
			t.Fatalf("operation %s has a body but no bind here", op)
		}
	}
	perCheck := 200 // times rapid's 100 checks
	if testing.Short() {
		perCheck = 10
	}
	accepted, refused := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		for range perCheck {
			op := rapid.SampledFrom(operations).Draw(rt, "operation")
			text := body(rt, bodies[op].Content.Get("application/json").Schema.Value)
			ours, theirs := bindings[op](b, jsonRequest(text)), c.checkBody(bodies[op], text)
			if (ours == nil) != (theirs == nil) {
				rt.Fatalf("%s %s:\nbind says %v\nkin-openapi says %v", op, text, ours, theirs)
			}
			if ours == nil {
				accepted++
			} else {
				refused++
			}
		}
	})
	t.Logf("%d accepted by both, %d refused by both", accepted, refused)
	if total := accepted + refused; accepted < total/10 || refused < total/10 {
		t.Errorf("%d accepted and %d refused: one side is hardly tested", accepted, refused)
	}
}

// oneIn is true once in n.
func oneIn(t *rapid.T, n int, label string) bool {
	return rapid.IntRange(1, n).Draw(t, label) == n
}

// body draws the text of a body: an object with the members of the schema, rarely something else.
func body(t *rapid.T, schema *openapi3.Schema) string {
	if oneIn(t, 40, "other body") {
		return other(t)
	}
	return declaredObject(t, schema)
}

func declaredObject(t *rapid.T, schema *openapi3.Schema) string {
	var members []string
	names := rapid.Permutation(slices.Sorted(maps.Keys(schema.Properties))).Draw(t, "order")
	for _, name := range names {
		required := slices.Contains(schema.Required, name)
		if required && oneIn(t, 15, "left out") || !required && rapid.Bool().Draw(t, "left out") {
			continue
		}
		value := ""
		if oneIn(t, 15, "other type") {
			value = other(t)
		} else {
			value = declared(t, schema.Properties[name].Value)
		}
		space := rapid.SampledFrom([]string{"", " ", "\r\n\t"}).Draw(t, "space")
		members = append(members, fmt.Sprintf("%s%q:%s%s", space, name, space, value))
	}
	if oneIn(t, 15, "unknown member") {
		name := rapid.SampledFrom([]string{"bogus", "Command", "type_", "", "ttl_MS", "a/b", "é"}).Draw(t, "name")
		members = append(members, quote(name)+":"+other(t))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// declared draws a value near the limits of a schema, on both sides of them.
func declared(t *rapid.T, schema *openapi3.Schema) string {
	switch {
	case schema.Type.Is("string"):
		return quote(declaredString(t, schema))
	case schema.Type.Is("number"), schema.Type.Is("integer"):
		return declaredNumber(t, schema)
	case schema.Type.Is("array"):
		var items []string
		for range rapid.IntRange(0, 4).Draw(t, "items") {
			items = append(items, declared(t, schema.Items.Value))
		}
		return "[" + strings.Join(items, ",") + "]"
	case schema.Type.Is("object") && len(schema.Properties) > 0:
		return declaredObject(t, schema)
	case schema.Type.Is("object"):
		return rapid.SampledFrom([]string{`{}`, `{"a":1}`, `{"a":{"b":[null,1.5e3,"é"]}}`, ` { "type" : { } } `}).Draw(t, "object")
	default:
		return other(t)
	}
}

func declaredString(t *rapid.T, schema *openapi3.Schema) string {
	choices := []string{"", "a", "A-b.c:d@e_9", "a b", "é", "a\n", "\u0000", "a\u2028", "null"}
	for _, v := range schema.Enum {
		s := v.(string)
		choices = append(choices, s, s, s, strings.ToUpper(s), s+" ")
	}
	if schema.MaxLength != nil {
		n := int(*schema.MaxLength)
		for _, char := range []string{"x", "é", "😀"} {
			choices = append(choices, strings.Repeat(char, n), strings.Repeat(char, n+1))
		}
	}
	if oneIn(t, 4, "any string") {
		return rapid.String().Draw(t, "string")
	}
	return rapid.SampledFrom(choices).Draw(t, "string")
}

func declaredNumber(t *rapid.T, schema *openapi3.Schema) string {
	choices := []string{"0", "-0", "1", "-1", "7", "250"}
	if !schema.Type.Is("integer") {
		choices = append(choices, "0.0", "1e3", "1E-3", "0.5", "250.75", "1e308", "-1.5")
	}
	for _, limit := range []*float64{schema.Min, schema.Max, schema.ExclusiveMin.Value, schema.ExclusiveMax.Value} {
		if limit == nil {
			continue
		}
		steps := []float64{-1, 0, 1}
		if !schema.Type.Is("integer") {
			steps = append(steps, -0.25, 0.25)
		}
		for _, step := range steps {
			choices = append(choices, strconv.FormatFloat(*limit+step, 'f', -1, 64))
		}
	}
	return rapid.SampledFrom(choices).Draw(t, "number")
}

// other draws a value of any type.
func other(t *rapid.T) string {
	return rapid.SampledFrom([]string{"null", "true", "false", "0", "-1.5", `""`, `"text"`, "[]", "[1]", "{}", `{"a":1}`, "[[null]]"}).Draw(t, "other")
}

func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always has a JSON form
	}
	return string(text)
}
