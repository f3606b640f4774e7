package openapi

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"
)

// contract is openapi.yaml as the service hands it over.
func contract(t testing.TB) []byte {
	t.Helper()
	source, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.YAMLToJSON(source)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func anything([]byte) bool { return true }

// live makes the document for commands, and checks that it and its 3.0 form are valid.
func live(t testing.TB, commands ...Command) (v31, v30 *object) {
	t.Helper()
	for i := range commands {
		commands[i].Fits = anything
	}
	text, err := Live(contract(t), commands)
	if err != nil {
		t.Fatal(err)
	}
	down, err := Down(text)
	if err != nil {
		t.Fatal(err)
	}
	return valid(t, text), valid(t, down)
}

func valid(t testing.TB, document []byte) *object {
	t.Helper()
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(document)
	if err == nil {
		err = doc.Validate(loader.Context, openapi3.EnableExamplesValidation())
	}
	if err != nil {
		t.Errorf("not valid: %v\n%.3000s", err, document)
	}
	parsed, err := parse(document)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.(*object)
}

// shown is the part of a document below some names.
func shown(o *object, names ...string) string {
	last := len(names) - 1
	return string(write(nil, orNull(o.at(names[:last]...).get(names[last]))))
}

func orNull(v any) any {
	if v == nil {
		return text("absent")
	}
	return v
}

func TestACommandIsAPathOfItsOwn(t *testing.T) {
	v31, v30 := live(t, Command{Name: "greet", Summary: "Greet somebody.", Doc: "Greet somebody.\n\nTwice.",
		Args:   []byte(`{"type":"object","properties":{"name":{"type":"string"},"big":{"type":"integer","minimum":-9223372036854775809},"at":{"anyOf":[{"$ref":"#/$defs/At"},{"type":"null"}],"default":null}},"required":["name"],"additionalProperties":false,"$defs":{"At":{"type":"object","properties":{"of":{"$ref":"#/$defs/At"}}}}}`),
		Result: []byte(`{"type":"string"}`)})
	post := v31.at("paths", "/commands/greet", "post")
	for _, row := range [][2]string{
		{post.str("operationId"), "greet"}, {shown(post, "tags"), `["commands"]`}, {post.str("summary"), "Greet somebody."}, {post.str("description"), "Greet somebody.\n\nTwice."},
		{shown(post, "requestBody"), `{"required":true,"content":{"application/json":{"schema":{"$ref":"#/components/schemas/GreetArgs"},"example":{"name":"text"}}}}`},
		{shown(post, "responses", "200", "content"), `{"application/json":{"schema":{"type":"string"}}}`},
		{shown(v31, "components", "schemas", "GreetArgs"), `{"type":"object","properties":{"name":{"type":"string"},"big":{"type":"integer","minimum":-9223372036854775809},"at":{"anyOf":[{"$ref":"#/components/schemas/At"},{"type":"null"}],"default":null}},"required":["name"],"additionalProperties":false}`},
		{shown(v31, "components", "schemas", "At"), `{"type":"object","properties":{"of":{"$ref":"#/components/schemas/At"}}}`},
		{shown(v30, "components", "schemas", "GreetArgs", "properties", "at"), `{"default":null,"allOf":[{"$ref":"#/components/schemas/At"}],"nullable":true}`},
		{shown(v30, "openapi"), `"3.0.3"`},
	} {
		if row[0] != row[1] {
			t.Errorf("got  %s\nwant %s", row[0], row[1])
		}
	}
	for _, status := range []string{"400", "404", "422", "503", "default"} {
		if !post.at("responses").has(status) {
			t.Errorf("no reply %s", status)
		}
	}
	if got := shown(v31, "paths", template, "post", "operationId"); got != `"callCommand"` {
		t.Errorf("the general path: %s", got)
	}
}

func TestASentenceStandsInTheDocumentOnce(t *testing.T) {
	v31, _ := live(t, Command{Name: "greet", Summary: "Greet somebody.", Doc: "Greet somebody."})
	if post := v31.at("paths", "/commands/greet", "post"); post.str("summary") != "Greet somebody." || post.has("description") {
		t.Errorf("summary %q, description %q", post.str("summary"), post.str("description"))
	}
}

// TestNumbersHaveTheWidthOfPythons: without a format, generators for Go and Java take them for 32 bits.
func TestNumbersHaveTheWidthOfPythons(t *testing.T) {
	for in, want := range map[string]string{
		`{"type":"integer"}`:                                                         `{"type":"integer","format":"int64"}`,
		`{"type":"number"}`:                                                          `{"type":"number","format":"double"}`,
		`{"type":["null","integer"]}`:                                                `{"type":["null","integer"],"format":"int64"}`,
		`{"type":["number","string"]}`:                                               `{"type":["number","string"]}`,
		`{"type":"number","format":"float"}`:                                         `{"type":"number","format":"float"}`,
		`{"type":"integer","maximum":9223372036854775807}`:                           `{"type":"integer","maximum":9223372036854775807,"format":"int64"}`,
		`{"type":"integer","maximum":9223372036854775808}`:                           `{"type":"integer","maximum":9223372036854775808}`,
		`{"type":"integer","const":9223372036854775808}`:                             `{"type":"integer","const":9223372036854775808}`,
		`{"type":["integer","null"],"default":-9223372036854775809}`:                 `{"type":["integer","null"],"default":-9223372036854775809}`,
		`{"type":"array","items":{"type":"integer","enum":[1,9223372036854775808]}}`: `{"type":"array","items":{"type":"integer","enum":[1,9223372036854775808]}}`,
		`{"type":"array","items":{"type":"number"}}`:                                 `{"type":"array","items":{"type":"number","format":"double"}}`,
		`{"$ref":"#/$defs/N","$defs":{"N":{"type":"integer"}}}`:                      `{"$ref":"#/components/schemas/N"}`,
	} {
		v31, _ := live(t, Command{Name: "f", Result: []byte(in)})
		if got := shown(v31, "paths", "/commands/f", "post", "responses", "200", "content", "application/json", "schema"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", in, got, want)
		}
		if n := v31.at("components", "schemas", "N"); n != nil && n.str("format") != "int64" {
			t.Errorf("a definition has the format %q", n.str("format"))
		}
	}
}

func TestADefaultWithoutATimeZoneIsLeftOut(t *testing.T) {
	for in, want := range map[string]string{
		`{"type":"string","format":"date-time","default":"2020-01-01T00:00:00"}`:    `{"type":"string","format":"date-time"}`,
		`{"type":"string","format":"date-time","default":"2020-01-01T00:00:00.5Z"}`: `{"type":"string","format":"date-time","default":"2020-01-01T00:00:00.5Z"}`,
		`{"type":"string","default":"2020-01-01T00:00:00"}`:                         `{"type":"string","default":"2020-01-01T00:00:00"}`,
		`{"anyOf":[{"type":"string","format":"date-time"}],"default":null}`:         `{"anyOf":[{"type":"string","format":"date-time"}],"default":null}`,
	} {
		v31, _ := live(t, Command{Name: "f", Args: []byte(`{"type":"object","properties":{"at":` + in + `}}`)})
		if got := shown(v31, "components", "schemas", "FArgs", "properties", "at"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", in, got, want)
		}
	}
}

func TestAStreamIsAnArrayOrEvents(t *testing.T) {
	v31, _ := live(t, Command{Name: "chat", Stream: true, Result: []byte(`{"type":"object","properties":{"word":{"type":"string"}}}`)})
	content := v31.at("paths", "/commands/chat", "post", "responses", "200", "content")
	if got, want := shown(content, "application/json"), `{"schema":{"type":"array","items":{"$ref":"#/components/schemas/ChatResult"}}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !content.has("text/event-stream") || !content.has("application/x-ndjson") {
		t.Error("no media types of streams")
	}
}

func TestOperationIdsDoNotClash(t *testing.T) {
	commands := []Command{{Name: "execute"}, {Name: "list_commands"}, {Name: "a.b"}, {Name: "a-b"}, {Name: "a_b"}, {Name: "größe"}, {Name: "Ab"}, {Name: "é"}, {Name: "x/{y}"}}
	v31, _ := live(t, commands...)
	got := map[string]string{}
	for _, m := range v31.at("paths").members {
		if name, ok := strings.CutPrefix(m.name, "/commands/"); ok && m.name != template {
			got[name] = m.value.(*object).at("post").str("operationId")
		}
	}
	want := map[string]string{"execute": "execute_command", "list_commands": "list_commands_command", "Ab": "Ab", "a_b": "a_b_command", "a-b": "a_b_command2", "a.b": "a_b_command3",
		"gr%C3%B6%C3%9Fe": "gr__e", "%C3%A9": "command_", "x%2F%7By%7D": "x__y_"}
	for name, id := range want {
		if got[name] != id {
			t.Errorf("%s: %s, want %s", name, got[name], id)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d paths, want %d", len(got), len(want))
	}
}

func TestDefinitionsOfOneNameAreKeptApartAndEqualOnesShared(t *testing.T) {
	using := func(def string) []byte {
		return []byte(`{"type":"object","properties":{"x":{"$ref":"#/$defs/Item"}},"$defs":{"Item":` + def + `,"Worker":{"type":"object"},"Box[int]":{"type":"array","items":{"$ref":"#/$defs/Worker"}}}}`)
	}
	v31, _ := live(t,
		Command{Name: "b", Args: using(`{"type":"string"}`)},
		Command{Name: "a", Args: using(`{"type":"integer"}`), Result: using(`{"type":"integer"}`)},
		Command{Name: "c", Args: using(`{"type":"integer"}`)})
	schemas := v31.at("components", "schemas")
	for _, row := range [][2]string{
		{shown(schemas, "Item"), `{"type":"integer","format":"int64"}`}, {shown(schemas, "BItem"), `{"type":"string"}`}, {shown(schemas, "AWorker"), `{"type":"object"}`},
		{shown(schemas, "Box_int_"), `{"type":"array","items":{"$ref":"#/components/schemas/AWorker"}}`},
		{shown(schemas, "CArgs"), `{"type":"object","properties":{"x":{"$ref":"#/components/schemas/Item"}}}`},
		{shown(schemas, "BArgs"), `{"type":"object","properties":{"x":{"$ref":"#/components/schemas/BItem"}}}`},
		{shown(schemas, "AResult"), `{"type":"object","properties":{"x":{"$ref":"#/components/schemas/Item"}}}`},
		{shown(schemas, "CItem"), `"absent"`}, {shown(schemas, "CWorker"), `"absent"`},
	} {
		if row[0] != row[1] {
			t.Errorf("got %s, want %s", row[0], row[1])
		}
	}
}

func TestSchemasThatReferToWhatIsNotThereAreLeftOut(t *testing.T) {
	for _, args := range []string{`{"$ref":"#/$defs/None"}`, `{"properties":{"a":{"$ref":"other.json"}}}`, `{"properties":{"a":{"$ref":"#/properties/b"},"b":true}}`, `[]`, `{`} {
		v31, _ := live(t, Command{Name: "f", Args: []byte(args)})
		if got := v31.at("paths", "/commands/f", "post", "requestBody", "content", "application/json").at("schema").str("$ref"); got != schemasAt+"Arguments" {
			t.Errorf("%s: %s", args, got)
		}
	}
}

func TestASchemaMayReferToItself(t *testing.T) {
	v31, _ := live(t, Command{Name: "f", Args: []byte(`{"type":"object","properties":{"$ref":{"type":"string"},"again":{"$ref":"#"}},"default":{"$ref":"#/$defs/None"}}`)})
	if got, want := shown(v31, "components", "schemas", "FArgs", "properties"), `{"$ref":{"type":"string"},"again":{"$ref":"#/components/schemas/FArgs"}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheSameAppHasTheSameDocument(t *testing.T) {
	commands := []Command{{Name: "b", Fits: anything, Args: []byte(`{"properties":{"z":true,"a":true}}`)}, {Name: "a", Fits: anything}, {Name: "é", Fits: anything}}
	one, err := Live(contract(t), commands)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(commands)
	other, err := Live(contract(t), commands)
	if err != nil || !bytes.Equal(one, other) {
		t.Errorf("%v, or the order of the commands matters", err)
	}
	plain, err := Live(contract(t), nil)
	if err != nil || !bytes.Equal(plain, bytes.TrimSpace(contract(t))) && len(plain) == 0 {
		t.Errorf("without commands: %v", err)
	}
	valid(t, plain)
}

func TestThreeZeroHasOtherWords(t *testing.T) {
	for in, want := range map[string]string{
		`{"type":["string","null"],"minLength":1}`: `{"minLength":1,"nullable":true,"type":"string"}`,
		`{"type":["string","integer"]}`:            `{"anyOf":[{"type":"string"},{"type":"integer"}]}`,
		`{"const":"a"}`:                            `{"enum":["a"]}`,
		`{"anyOf":[{"type":"integer","exclusiveMinimum":0},{"type":"null"}]}`:                              `{"type":"integer","exclusiveMinimum":true,"minimum":0,"nullable":true}`,
		`{"anyOf":[{"type":"integer"},{"type":"string"},{"type":"null"}]}`:                                 `{"anyOf":[{"type":"integer"},{"type":"string"}],"nullable":true}`,
		`{"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false,"minItems":2}`: `{"type":"array","minItems":2,"maxItems":2,"items":{"anyOf":[{"type":"integer"},{"type":"string"}]}}`,
		`{"type":"array","prefixItems":[{"type":"integer"},{"type":"integer"}]}`:                           `{"type":"array","items":{"type":"integer"}}`,
		`{"type":"array"}`: `{"type":"array","items":{}}`,
		`{"type":"object","properties":{"const":{"const":1}},"patternProperties":{"^x":{"type":"integer"}},"additionalProperties":false}`: `{"type":"object","properties":{"const":{"enum":[1]}},"additionalProperties":{"type":"integer"}}`,
		`{"type":"string","contentEncoding":"base64","examples":["aGk=","eA=="]}`:                                                         `{"type":"string","example":"aGk=","format":"byte"}`,
		`{"$ref":"#/components/schemas/X","description":"beside"}`:                                                                        `{"description":"beside","allOf":[{"$ref":"#/components/schemas/X"}]}`,
		`{"type":"null"}`: `{"nullable":true,"enum":[null]}`,
		`true`:            `{}`, `false`: `{"not":{}}`,
		`{"propertyNames":{"maxLength":1},"if":{},"then":{},"$comment":"x","dependentRequired":{"a":["b"]},"default":{"const":1}}`: `{"default":{"const":1}}`,
	} {
		parsed, err := parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(write(nil, downSchema(parsed))); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", in, got, want)
		}
	}
}
