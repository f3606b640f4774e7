package main

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func TestSchemasAreToldInAFewWords(t *testing.T) {
	for schema, want := range map[string]string{
		``:                                     "anything",
		`{}`:                                   "anything",
		`true`:                                 "anything",
		`[1`:                                   "anything",
		`{"type":`:                             "anything",
		`{"description":"any"}`:                "anything",
		`{"type":"integer","minimum":1}`:       "integer",
		`{"type":["string","null"]}`:           "string or null",
		`{"type":7}`:                           "7",
		`{"$ref":"#/$defs/Item"}`:              "Item",
		`{"$ref":"Item","description":"What"}`: "Item",
		`{"const":"a"}`:                        `"a"`,
		`{"const":null}`:                       "null",
		`{"enum":["a",1]}`:                     `"a" or 1`,
		`{"anyOf":[{"type":"string"},{"type":"string"},{"type":"null"}]}`: "string or null",
		`{"type":"array"}`: "array",
		`{"type":"array","items":{"$ref":"#/$defs/Item"}}`:                        "array of Item",
		`{"type":"array","items":{}}`:                                             "array of anything",
		`{"type":"array","items":{"anyOf":[{"type":"string"},{"type":"null"}]}}`:  "array of (string or null)",
		`{"type":"array","prefixItems":[{"type":"string"},{}],"items":false}`:     "[string, anything]",
		`{"type":"object","additionalProperties":false}`:                          "object",
		`{"type":"object","additionalProperties":{"type":"number"}}`:              "object of number",
		`{"type":"string","format":"date-time"}`:                                  "string (date-time)",
		`{"type":"string","contentEncoding":"base64"}`:                            "string (base64)",
		`{"type":"object","type":"string","properties":{"a":{"type":"integer"}}}`: "object",
	} {
		if got := typeName(jsontext.Value(schema)); got != want {
			t.Errorf("%s is told as %q, want %q", schema, got, want)
		}
	}
}

func TestMembersKeepTheirOrder(t *testing.T) {
	got := members(jsontext.Value(`{"z": 1, "a\n": [2], "m": {"x": 3}, "broken": ]`))
	want := []namedValue{{"z", jsontext.Value("1")}, {"a\n", jsontext.Value("[2]")}, {"m", jsontext.Value(`{"x": 3}`)}}
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i].name != want[i].name || string(got[i].value) != string(want[i].value) {
			t.Errorf("%s %s, want %s %s", got[i].name, got[i].value, want[i].name, want[i].value)
		}
	}
}
