package main

import (
	"strings"
	"testing"
)

// contract returns a document with one operation, whose request body is the given schema (YAML, flow style).
func contract(schema, components string) string {
	return `openapi: 3.1.0
info: {title: test, version: "1"}
paths:
  /things:
    post:
      operationId: makeThing
      requestBody: {required: true, content: {application/json: {schema: {$ref: '#/components/schemas/Thing'}}}}
      responses: {'204': {description: Made.}}
components:
  schemas:
    Thing: ` + schema + "\n" + components
}

// withMember returns a document whose request body has one member, m, of the given schema.
func withMember(schema string, required bool) string {
	list := ""
	if required {
		list = "required: [m], "
	}
	return contract("{type: object, additionalProperties: false, "+list+"properties: {m: "+schema+"}}", "")
}

// fieldM returns the line of the generated models that declares the field for the member m.
func fieldM(t *testing.T, source string) string {
	t.Helper()
	models, _, err := serverModels([]byte(source))
	if err != nil {
		t.Fatalf("generate: %v", err)
	}
	for line := range strings.Lines(string(models)) {
		if strings.Contains(line, `json:"m`) {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	t.Fatalf("no field for m in:\n%s", models)
	return ""
}

func TestEveryKeywordBecomesARule(t *testing.T) {
	tests := []struct {
		name, schema string
		required     bool
		want         string
	}{
		{"string", "{type: string}", false, "M *string `json:\"m,omitempty\"`"},
		{"required string may be empty", "{type: string}", true, "M *string `json:\"m\" validate:\"required\"`"},
		{"required string with minLength", "{type: string, minLength: 1}", true, "M string `json:\"m\" validate:\"required,min=1\"`"},
		{"lengths", "{type: string, minLength: 2, maxLength: 9}", false, "M *string `json:\"m,omitempty\" validate:\"omitnil,min=2,max=9\"`"},
		{"pattern", "{type: string, pattern: '^a,b$'}", false, "M *string `json:\"m,omitempty\" validate:\"omitnil,pattern=Thing.m\"`"},
		{"enum", "{type: string, enum: [one, two]}", true, "M ThingM `json:\"m\" validate:\"required,oneof=one two\"`"},
		{"optional enum", "{type: string, enum: [one]}", false, "M *ThingM `json:\"m,omitempty\" validate:\"omitnil,oneof=one\"`"},
		{"minimum", "{type: number, format: double, minimum: 0}", false, "M *float64 `json:\"m,omitempty\" validate:\"omitnil,min=0\"`"},
		{"fraction", "{type: number, format: double, minimum: 0.25}", false, "M *float64 `json:\"m,omitempty\" validate:\"omitnil,min=0.25\"`"},
		{"maximum", "{type: integer, format: int64, maximum: 9007199254740993}", false, "M *int64 `json:\"m,omitempty\" validate:\"omitnil,max=9007199254740993\"`"},
		{"exclusiveMinimum as a number", "{type: number, format: double, exclusiveMinimum: 0}", false, "M *float64 `json:\"m,omitempty\" validate:\"omitnil,gt=0\"`"},
		{"exclusiveMaximum as a number", "{type: number, format: double, exclusiveMaximum: 1}", false, "M *float64 `json:\"m,omitempty\" validate:\"omitnil,lt=1\"`"},
		{"required number may be zero", "{type: integer, format: int32, minimum: 0}", true, "M *int32 `json:\"m\" validate:\"required,min=0\"`"},
		{"boolean", "{type: boolean}", false, "M *bool `json:\"m,omitempty\"`"},
		{"required boolean may be false", "{type: boolean}", true, "M *bool `json:\"m\" validate:\"required\"`"},
		{"date-time", "{type: string, format: date-time}", true, "M *time.Time `json:\"m\" validate:\"required\"`"},
		{"any object", "{type: object, additionalProperties: true}", false, "M jsontext.Value `json:\"m,omitzero\" validate:\"omitempty,json_object\"`"},
		{"required any object", "{type: object}", true, "M jsontext.Value `json:\"m\" validate:\"required,json_object\"`"},
		{"any value", "{description: Anything.}", false, "M jsontext.Value `json:\"m,omitzero\"`"},
		{"required any value", "{}", true, "M jsontext.Value `json:\"m\" validate:\"required\"`"},
		{"array", "{type: array, items: {type: string}}", true, "M []string `json:\"m\" validate:\"required\"`"},
		{"array sizes", "{type: array, minItems: 1, maxItems: 3, items: {type: boolean}}", false, "M []bool `json:\"m,omitempty\" validate:\"omitnil,min=1,max=3\"`"},
		{"array items", "{type: array, items: {type: string, minLength: 1}}", true, "M []string `json:\"m\" validate:\"required,dive,min=1\"`"},
		{"arrays in arrays", "{type: array, items: {type: array, maxItems: 2, items: {type: number, format: double, maximum: 1}}}", true, "M [][]float64 `json:\"m\" validate:\"required,dive,max=2,dive,max=1\"`"},
		{"array of any objects", "{type: array, items: {type: object}}", true, "M []jsontext.Value `json:\"m\" validate:\"required,dive,json_object\"`"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fieldM(t, withMember(tt.schema, tt.required)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestReferencesAreFollowed(t *testing.T) {
	const thing = "{type: object, additionalProperties: false, required: [m], properties: {m: {$ref: '#/components/schemas/Other'}}}"
	tests := []struct{ name, other, want string }{
		{"text", "{type: string, minLength: 1, pattern: '^x'}", "M Other `json:\"m\" validate:\"required,min=1,pattern=Other\"`"},
		{"number that may be zero", "{type: number, format: double}", "M *float64 `json:\"m\" validate:\"required\"`"},
		{"object", "{type: object, additionalProperties: false, required: [a], properties: {a: {type: string, minLength: 1}}}", "M Other `json:\"m\" validate:\"required\"`"},
		{"list of objects", "{type: array, items: {$ref: '#/components/schemas/Inner'}}", "M Other `json:\"m\" validate:\"required,dive\"`"},
	}
	const inner = "\n    Inner: {type: object, additionalProperties: false, properties: {a: {type: boolean}}}"
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fieldM(t, contract(thing, "    Other: "+tt.other+inner)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestNestedObjectsGetTheirOwnRules(t *testing.T) {
	const schema = `{type: object, additionalProperties: false, required: [outer], properties: {outer:
      {type: object, additionalProperties: false, required: [m], properties: {m: {type: string, maxLength: 3, minLength: 1}}}}}`
	const want = "M string `json:\"m\" validate:\"required,min=1,max=3\"`"
	if got := fieldM(t, contract(schema, "")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAnObjectMayContainItself(t *testing.T) {
	const schema = "{type: object, additionalProperties: false, properties: {m: {type: array, items: {$ref: '#/components/schemas/Thing'}}}}"
	const want = "M []Thing `json:\"m,omitempty\" validate:\"omitnil,dive\"`"
	if got := fieldM(t, contract(schema, "")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPatternsAreListedByTheNameInTheTag(t *testing.T) {
	_, table, err := serverModels([]byte(withMember("{type: string, pattern: '^[a-z\"]{1,3}$'}", false)))
	if err != nil {
		t.Fatal(err)
	}
	if want := `"Thing.m": "^[a-z\"]{1,3}$",`; !strings.Contains(string(table), want) {
		t.Errorf("no %s in:\n%s", want, table)
	}
}
