package argschema

import (
	"reflect"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// plainly is a schema that plain understands.
const plainly = `{"type":"object","additionalProperties":false,"required":["a","b"],"properties":{"a":{"type":["integer","boolean"],"title":"A"},
	"b":{"anyOf":[{"type":"number"},{"type":"null"},{"type":"string","maxLength":1}]},"c":{"description":"anything"}}}`

// FuzzCheck: whatever a schema and arguments are, a check ends, and what it says is bounded and points into the arguments.
func FuzzCheck(f *testing.F) {
	f.Add(taking(`{"anyOf":[{"type":"integer","minimum":3},{"$ref":"#"},{"enum":[1,"a",null]}]}`), `{"a":{"a":1,"b":[2.5,1e400]}}`)
	f.Add(taking(`{"type":"array","prefixItems":[true],"items":{"$ref":"#/$defs/X"},"uniqueItems":true,"contains":{"type":"null"}}`), `{"a":[1,[],{}]}`)
	f.Add(`{"$defs":{"a":{"pattern":"^[^\\w]$"}},"not":{"$ref":"#/$defs/a"},"if":{"required":["a"]},"then":{"dependentRequired":{"a":["b"]}},"unevaluatedProperties":false}`, `{"a":"é"}`)
	f.Add(`{"patternProperties":{"^x[]a]*$":{"format":"uuid"}},"propertyNames":{"maxLength":3},"oneOf":[{"minProperties":1},{"maxProperties":2}]}`, `{"xa":"","xxxx":"2"}`)
	f.Add(`{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"const":1}],"additionalItems":false,"dependencies":{"a":["b"]}}`, `{"a":[1]}`)
	for _, args := range []string{`{"a":1,"b":null}`, `{"a":1,"a":1}`, `{"a":1.0,"c":[{}]}`, `{"a":1e2,"c":1e999}`, `{"b":"x"}`, `{"a":1,"d":2}`, `{}`, `[]`, `{"a":true,"b":1.5,"c":{"c":1}}`} {
		f.Add(plainly, args)
	}
	f.Fuzz(func(t *testing.T, schema, args string) {
		s, err := Compile([]byte(schema))
		if err != nil || !jsontext.Value(args).IsValid() {
			return
		}
		got := s.Check([]byte(args))
		all := *s
		if all.plain = nil; !reflect.DeepEqual(got, all.Check([]byte(args))) {
			t.Errorf("%+v, and without the short cut %+v", got, all.Check([]byte(args)))
		}
		if len(got) > maxProblems+1 {
			t.Errorf("%d problems", len(got))
		}
		for _, p := range got {
			if p.Detail == "" || p.Pointer != "" && p.Pointer[0] != '/' {
				t.Errorf("%+v", p)
			}
		}
	})
}

// FuzzTranslate: a pattern is read, or it is said why not.
func FuzzTranslate(f *testing.F) {
	for _, text := range []string{`^\w+$`, `[^\d\]]`, `[]a]`, `[^]a]`, `(?P<x>a)|b{2,3}`, `\`, `[`, `\b[\b]`, `$`, `a$|^b`} {
		f.Add(text, "a1\n")
	}
	f.Fuzz(func(t *testing.T, text, s string) {
		if p, why := translate(text); why == "" && p.expression != nil {
			p.MatchString(s)
		}
	})
}
