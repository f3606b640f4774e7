package openapi

import (
	"strings"
	"testing"

	"charmer/poolsvc/argschema"
)

// examples are schemas of one argument, with what is made of each.
var examples = []struct{ schema, want string }{
	{`{"type":"string"}`, `"text"`},
	{`{"type":"integer"}`, `1`},
	{`{"type":"number"}`, `1.5`},
	{`{"type":"boolean"}`, `true`},
	{`{"type":"null"}`, `null`},
	{`{}`, `"anything"`},
	{`true`, `"anything"`},
	{`{"enum":["air","sea"]}`, `"air"`},
	{`{"const":"it's"}`, `"it's"`},
	{`{"type":"integer","default":7}`, `7`},
	{`{"type":"integer","examples":[3,4],"default":7}`, `3`},
	{`{"type":"integer","examples":["wrong"],"default":"wrong, too","minimum":2}`, `2`},
	{`{"type":"integer","minimum":3,"maximum":9}`, `3`},
	{`{"type":"integer","exclusiveMinimum":3}`, `4`},
	{`{"type":"integer","minimum":-1000,"maximum":1000}`, `1`},
	{`{"type":"integer","exclusiveMaximum":1}`, `0`},
	{`{"type":"number","maximum":1.5}`, `1.5`},
	{`{"type":"number","exclusiveMaximum":1.5}`, `0.5`},
	{`{"type":"number","minimum":2}`, `2`},
	{`{"type":"integer","exclusiveMaximum":3}`, `1`},
	{`{"type":"integer","minimum":2.5}`, `3`},
	{`{"type":"integer","minimum":1,"multipleOf":5}`, `5`},
	{`{"type":"integer","exclusiveMinimum":5,"multipleOf":5}`, `10`},
	{`{"type":"integer","maximum":-1,"multipleOf":7}`, `-7`},
	{`{"type":"integer","multipleOf":1.5}`, `3`},
	{`{"type":"integer","minimum":18446744073709551616}`, `18446744073709551616`},
	{`{"type":"number","exclusiveMinimum":0,"maximum":1}`, `0.5`},
	{`{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":0.001}`, `0.0005`},
	{`{"type":"number","minimum":0.1,"multipleOf":0.25}`, `0.25`},
	{`{"type":"number","maximum":-0.5}`, `-0.5`},
	{`{"type":"string","minLength":6}`, `"texttt"`},
	{`{"type":"string","maxLength":2}`, `"xt"`},
	{`{"type":"string","maxLength":0}`, `""`},
	{`{"type":"string","pattern":"^[A-Z]{2}-[0-9]+$"}`, `"AA-0"`},
	{`{"type":"string","pattern":"^(rock|pop)\\.\\w*$","minLength":8}`, `"rock.aaa"`},
	{`{"type":"string","pattern":"^[^\\s']+$"}`, `"a"`},
	{`{"type":"string","pattern":"(((((((((()*)*)*)*)*)*)*)*)*)*","minLength":1}`, `"text"`},
	{`{"type":"string","format":"date-time"}`, `"2026-01-02T03:04:05Z"`},
	{`{"type":"string","format":"date"}`, `"2026-01-02"`},
	{`{"type":"string","format":"time"}`, `"03:04:05Z"`},
	{`{"type":"string","format":"duration"}`, `"PT1H30M"`},
	{`{"type":"string","format":"uuid"}`, `"123e4567-e89b-12d3-a456-426614174000"`},
	{`{"type":"string","format":"email"}`, `"ada@example.org"`},
	{`{"type":"string","format":"uri"}`, `"https://example.org/"`},
	{`{"type":"string","format":"ipv6"}`, `"2001:db8::1"`},
	{`{"type":"string","contentEncoding":"base64"}`, `"aGVsbG8="`},
	{`{"type":"array","items":{"type":"integer"}}`, `[1]`},
	{`{"type":"array","items":{"type":"integer"},"minItems":3,"uniqueItems":true}`, `[1,2,3]`},
	{`{"type":"array","items":{"enum":["a","b"]},"minItems":2,"uniqueItems":true}`, `["a","b"]`},
	{`{"type":"array","items":{"type":"string"},"minItems":2,"uniqueItems":true}`, `["text","text1"]`},
	{`{"type":"array","maxItems":0}`, `[]`},
	{`{"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false,"minItems":2}`, `[1,"text"]`},
	{`{"type":"object","additionalProperties":{"type":"integer"}}`, `{}`},
	{`{"type":"object","additionalProperties":{"type":"integer"},"minProperties":2,"propertyNames":{"enum":["x","y"]}}`, `{"x":1,"y":2}`},
	{`{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"null"}},"required":["a"]}`, `{"a":"text"}`},
	{`{"anyOf":[{"type":"null"},{"type":"integer","minimum":5}]}`, `5`},
	{`{"oneOf":[{"const":"a"},{"type":"integer"}]}`, `"a"`},
	{`{"type":["integer","null"]}`, `1`},
	{`{"allOf":[{"$ref":"#/$defs/Line"}]}`, `{"title":"t'ext"}`},
	{`{"$ref":"#/$defs/Line"}`, `{"title":"t'ext"}`},
	{`{"$ref":"#/$defs/Tree"}`, `{"name":"text","below":[]}`},
	{`{"$ref":"#/$defs/Chain"}`, `{"next":null}`},
	{`{"$ref":"#/$defs/a~1b"}`, `1`},
}

const definitions = `{"Line":{"type":"object","properties":{"title":{"type":"string","examples":["t'ext"]},"copies":{"type":"integer"}},"required":["title"],"additionalProperties":false},` +
	`"Tree":{"type":"object","properties":{"name":{"type":"string"},"below":{"type":"array","items":{"$ref":"#/$defs/Tree"}}},"required":["name","below"]},` +
	`"Chain":{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#/$defs/Chain"},{"type":"null"}]}},"required":["next"]},` +
	`"a/b":{"type":"integer"},"Endless":{"type":"object","properties":{"a":{"$ref":"#/$defs/Endless"},"b":{"$ref":"#/$defs/Endless"}},"required":["a","b"]}}`

// argument is the schema of arguments of which one is required.
func argument(schema string) string {
	return `{"type":"object","properties":{"x":` + schema + `,"other":{"type":"string"}},"required":["x"],"additionalProperties":false,"$defs":` + definitions + `}`
}

func TestExamplesFitTheirSchemas(t *testing.T) {
	for _, tt := range examples {
		schema := argument(tt.schema)
		compiled, err := argschema.Compile([]byte(schema))
		if err != nil || compiled.Unchecked() != "" {
			t.Fatalf("%s: %v %s", tt.schema, err, compiled.Unchecked())
		}
		got := string(Example([]byte(schema), func(args []byte) bool { return compiled.Check(args) == nil }))
		if want := `{"x":` + tt.want + `}`; got != want {
			t.Errorf("%s: %s, want %s", tt.schema, got, want)
		}
		if problems := compiled.Check([]byte(got)); len(problems) > 0 {
			t.Errorf("%s: %s does not fit: %v", tt.schema, got, problems)
		}
	}
}

func TestWhereThereIsNoExampleThereIsNone(t *testing.T) {
	for _, schema := range []string{`{"$ref":"#/$defs/Endless"}`, `{"type":"string","pattern":"^(?!a)"}`, `{"not":{}}`, `{"$ref":"#/$defs/nowhere"}`} {
		compiled, err := argschema.Compile([]byte(argument(schema)))
		if err != nil { // nobody would be checked by it
			compiled, err = argschema.Compile([]byte(`false`))
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := Example([]byte(argument(schema)), func(args []byte) bool { return compiled.Unchecked() == "" && compiled.Check(args) == nil }); got != nil {
			t.Errorf("%s: %s", schema, got)
		}
	}
	for _, schema := range []string{``, `[]`, `{`, `true`} {
		if got := Example([]byte(schema), func([]byte) bool { return true }); got != nil {
			t.Errorf("%q: %s", schema, got)
		}
	}
}

func FuzzExample(f *testing.F) {
	for _, tt := range examples {
		f.Add(argument(tt.schema))
	}
	f.Add(strings.ReplaceAll(argument(`{"type":"number","minimum":1e400,"multipleOf":1e-400}`), "text", "\xff"))
	f.Fuzz(func(t *testing.T, schema string) {
		compiled, err := argschema.Compile([]byte(schema))
		if err != nil {
			return
		}
		fits := func(args []byte) bool { return len(compiled.Check(args)) == 0 }
		if got := Example([]byte(schema), fits); got != nil && !fits(got) {
			t.Errorf("%s does not fit", got)
		}
	})
}
