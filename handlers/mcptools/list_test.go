package mcptools

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAToolHasTheNameOfItsCommandIfItCan(t *testing.T) {
	long := strings.Repeat("long.", 30)
	commands := []Command{{Name: "a_b"}, {Name: "a.b-C9"}, {Name: "a b"}, {Name: "größe"}, {Name: long}, {Name: "日本"}, {Name: "a/b"}}
	l := New(commands)
	seen := map[string]bool{}
	for i, tool := range l.Tools {
		if !fitting.MatchString(tool.Name) || seen[tool.Name] {
			t.Errorf("command %q is tool %q: not allowed, or there twice", commands[i].Name, tool.Name)
		}
		seen[tool.Name] = true
		if got := l.Command(tool.Name); got != commands[i].Name {
			t.Errorf("tool %q is command %q, want %q", tool.Name, got, commands[i].Name)
		}
	}
	for i, want := range []string{"a_b", "a.b-C9", "a_b-", "gr__e-", strings.Repeat("long.", 11), "__-", "a_b-"} {
		if got := l.Tools[i].Name; !strings.HasPrefix(got, want) || i < 2 && got != want {
			t.Errorf("command %q is tool %q, want it to begin with %q", commands[i].Name, got, want)
		}
	}
	if tool := l.Tools[2]; tool.Title != "a b" || tool.Meta[CommandKey] != "a b" {
		t.Errorf("title %q and _meta %v, want the command's name in both", tool.Title, tool.Meta)
	}
}

func TestTheNameOfAToolDoesNotDependOnOtherCommands(t *testing.T) {
	alone := New([]Command{{Name: "a b"}}).Tools[0].Name
	together := New([]Command{{Name: "a"}, {Name: "a b"}, {Name: "a/b"}}).Tools[1].Name
	if alone != together {
		t.Errorf("%q alone and %q among others", alone, together)
	}
}

func TestACommandThatIsNamedLikeAChangedNameKeepsItsOwn(t *testing.T) {
	changed := New([]Command{{Name: "a b"}}).Tools[0].Name
	l := New([]Command{{Name: "a b"}, {Name: changed}})
	if got := l.Tools[1].Name; got != changed {
		t.Errorf("the tool of %q is called %q", changed, got)
	}
	if got := l.Tools[0].Name; got == changed || !fitting.MatchString(got) || l.Command(got) != "a b" {
		t.Errorf("the other one is called %q", got)
	}
}

func TestANameThatNoToolHasIsTakenForACommand(t *testing.T) {
	if got := New(nil).Command("old"); got != "old" {
		t.Errorf("got %q", got)
	}
}

func TestSchemasSayThatTheyAreOfObjects(t *testing.T) {
	const person = `"$defs":{"P":{"type":"object","properties":{"z":{"type":"string"},"a":{}}}}`
	for _, tt := range []struct {
		name               string
		command            Command
		input, output      string
		result, structured string
	}{
		{"unknown", Command{}, `{"type":"object"}`, ``, `[1]`, `{"result":[1]}`},
		{"unknown, but an object", Command{}, `{"type":"object"}`, ``, `{"a":1}`, `{"a":1}`},
		{"arguments as they are", Command{Args: []byte(`{"properties":{"z":{},"a":{}}, "type":"object"}`)}, `{"properties":{"z":{},"a":{}}, "type":"object"}`, ``, `1`, `{"result":1}`},
		{"arguments of another kind", Command{Args: []byte(`{"type":["object","null"]}`)}, `{"type":"object"}`, ``, `null`, `{"result":null}`},
		{"a number", Command{Result: []byte(`{"type":"integer"}`)}, `{"type":"object"}`,
			`{"properties":{"result":{"type":"integer"}},"required":["result"],"type":"object"}`, `7`, `{"result":7}`},
		{"an object", Command{Result: []byte(`{"type":"object","additionalProperties":{}}`)}, `{"type":"object"}`,
			`{"type":"object","additionalProperties":{}}`, `{"result":1}`, `{"result":1}`},
		{"an object by reference", Command{Result: []byte(`{"$ref":"#/$defs/P",` + person + `}`)}, `{"type":"object"}`,
			`{` + person + `,"$ref":"#/$defs/P","type":"object"}`, `{"a":1}`, `{"a":1}`},
		{"an object or nothing", Command{Result: []byte(`{"anyOf":[{"$ref":"#/$defs/P"},{"type":"null"}],` + person + `}`)}, `{"type":"object"}`,
			`{` + person + `,"properties":{"result":{"anyOf":[{"$ref":"#/$defs/P"},{"type":"null"}]}},"required":["result"],"type":"object"}`,
			`{"a":1}`, `{"result":{"a":1}}`},
		{"itself", Command{Result: []byte(`{"$ref":"#/$defs/A","$defs":{"A":{"$ref":"#/$defs/A"}}}`)}, `{"type":"object"}`,
			`{"$defs":{"A":{"$ref":"#/$defs/A"}},"properties":{"result":{"$ref":"#/$defs/A"}},"required":["result"],"type":"object"}`, `1`, `{"result":1}`},
		{"items", Command{Stream: true, Result: []byte(`{"$ref":"#/$defs/P",` + person + `}`)}, `{"type":"object"}`,
			`{` + person + `,"properties":{"result":{"items":{"$ref":"#/$defs/P"},"type":"array"}},"required":["result"],"type":"object"}`,
			`[{"a":1}]`, `{"result":[{"a":1}]}`},
		{"unknown items", Command{Stream: true}, `{"type":"object"}`,
			`{"properties":{"result":{"type":"array"}},"required":["result"],"type":"object"}`, `[]`, `{"result":[]}`},
		{"an object that is none", Command{Result: []byte(`{"type":"object"}`)}, `{"type":"object"}`, `{"type":"object"}`, `1`, `{"result":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.command.Name = "c"
			l := New([]Command{tt.command})
			if diff := cmp.Diff(tt.input, string(l.Tools[0].InputSchema.(json.RawMessage))); diff != "" {
				t.Errorf("input schema: %s", diff)
			}
			output, _ := l.Tools[0].OutputSchema.(json.RawMessage)
			if diff := cmp.Diff(tt.output, string(output)); diff != "" {
				t.Errorf("output schema: %s", diff)
			}
			if diff := cmp.Diff(tt.structured, string(l.Structured("c", []byte(tt.result)))); diff != "" {
				t.Errorf("structured content: %s", diff)
			}
		})
	}
}
