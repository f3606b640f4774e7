package main

import (
	"strings"
	"testing"
)

const atM = "#/components/schemas/Thing/properties/m"

func TestUntranslatedKeywordsAreRefusedWithTheirPlace(t *testing.T) {
	tests := []struct{ name, schema, where, what string }{
		{"multipleOf", "{type: number, format: double, multipleOf: 2}", atM, "multipleOf"},
		{"const", "{type: string, const: a}", atM, "const"},
		{"const null", "{const: null}", atM, "const"},
		{"default", "{type: string, default: a}", atM, "default"},
		{"oneOf", "{oneOf: [{type: string}]}", atM, "oneOf"},
		{"anyOf", "{anyOf: [{type: string}]}", atM, "anyOf"},
		{"allOf", "{allOf: [{type: string}]}", atM, "allOf"},
		{"not", "{not: {type: string}}", atM, "not"},
		{"if", "{type: string, if: {minLength: 1}}", atM, "if"},
		{"uniqueItems", "{type: array, uniqueItems: true, items: {type: string}}", atM, "uniqueItems"},
		{"prefixItems", "{type: array, prefixItems: [{type: string}], items: {type: string}}", atM, "prefixItems"},
		{"contains", "{type: array, contains: {type: string}, items: {type: string}}", atM, "contains"},
		{"no items", "{type: array}", atM, "items"},
		{"items false", "{type: array, items: false}", atM, "items"},
		{"keyword in items", "{type: array, items: {type: string, const: a}}", atM + "/items", "const"},
		{"keyword of another type", "{type: number, format: double, minLength: 1}", atM, "minLength"},
		{"keyword without type", "{minLength: 1}", atM, "minLength"},
		{"enum without type", "{enum: [a]}", atM, "enum"},
		{"enum of numbers", "{type: string, enum: [1]}", atM, "enum value 1"},
		{"enum on a number", "{type: number, format: double, enum: [1]}", atM, "enum"},
		{"enum value with a space", "{type: string, enum: ['a b']}", atM, "enum value a b"},
		{"empty enum", "{type: string, enum: []}", atM, "enum"},
		{"empty enum value", "{type: string, enum: ['']}", atM, "enum value"},
		{"type list", "{type: [string, 'null']}", atM, "type [string null]"},
		{"type null", "{type: 'null'}", atM, "type null"},
		{"format uuid", "{type: string, format: uuid}", atM, "format uuid"},
		{"format float", "{type: number, format: float}", atM, "format float"},
		{"number without format", "{type: number}", atM, "format"},
		{"date-time with a length", "{type: string, format: date-time, maxLength: 30}", atM, "maxLength"},
		{"pattern of another dialect", "{type: string, pattern: '(?=a)'}", atM, "pattern"},
		{"fractional length", "{type: string, minLength: 1.5}", atM, "minLength"},
		{"fractional bound of an integer", "{type: integer, minimum: 1.5}", atM, "minimum"},
		{"exclusiveMinimum as a boolean", "{type: number, format: double, minimum: 0, exclusiveMinimum: true}", atM, "exclusiveMinimum"},
		{"open object", "{type: object, properties: {a: {type: string}}}", atM, "additionalProperties"},
		{"typed additionalProperties", "{type: object, additionalProperties: {type: string}}", atM, "additionalProperties"},
		{"minProperties", "{type: object, minProperties: 1}", atM, "minProperties"},
		{"patternProperties", "{type: object, patternProperties: {a: {type: string}}}", atM, "patternProperties"},
		{"required without properties", "{type: object, required: [a]}", atM, "required"},
		{"required name without property", "{type: object, additionalProperties: false, required: [b], properties: {a: {type: string}}}", atM, "required member b"},
		{"name that a path cannot hold", "{type: object, additionalProperties: false, properties: {'a.b': {type: string}}}", atM + "/properties/a.b", "plain name"},
		{"boolean schema", "true", atM, "must be an object"},
		{"extension", "{type: string, x-go-type: int}", atM, "x-go-type"},
		{"reference elsewhere", "{$ref: 'other.yaml#/a'}", atM, "$ref"},
		{"reference to nothing", "{$ref: '#/components/schemas/None'}", atM, "$ref"},
		{"keyword beside a reference", "{$ref: '#/components/schemas/Thing', maxLength: 1}", atM, "maxLength beside $ref"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantRefusal(t, withMember(tt.schema, false), tt.where, tt.what)
		})
	}
}

func TestARequiredObjectThatMayBeEmptyIsRefused(t *testing.T) {
	wantRefusal(t, withMember("{type: object, additionalProperties: false, properties: {a: {type: string}}}", true), atM, "absent")
}

func TestAnArrayOfItselfIsRefused(t *testing.T) {
	source := contract("{type: object, additionalProperties: false, properties: {m: {$ref: '#/components/schemas/List'}}}",
		"    List: {type: array, items: {$ref: '#/components/schemas/List'}}")
	wantRefusal(t, source, "#/components/schemas/List", "items")
}

func TestARequestBodyMustBeAnObjectInJSON(t *testing.T) {
	wantRefusal(t, contract("{type: string}", ""), "#/paths/~1things/post/requestBody/content/application~1json/schema", "object")
	other := strings.Replace(withMember("{type: string}", false), "application/json:", "text/plain:", 1)
	wantRefusal(t, other, "#/paths/~1things/post/requestBody/content/text~1plain", "application/json")
}

func TestUntranslatedParametersAreRefusedWithTheirPlace(t *testing.T) {
	const at = "#/paths/~1things/post/parameters/0"
	tests := []struct{ name, parameter, where, what string }{
		{"cookie", "{in: cookie, name: p, schema: {type: string}}", at, "cookie"},
		{"header", "{in: header, name: p, required: true, schema: {type: string}}", at, "header"},
		{"style", "{in: query, name: p, style: deepObject, schema: {type: string}}", at, "style"},
		{"content", "{in: query, name: p, content: {application/json: {}}}", at, "content"},
		{"no schema", "{in: query, name: p}", at, "schema"},
		{"array", "{in: query, name: p, schema: {type: array, items: {type: string}}}", at + "/schema", "must be a string"},
		{"keyword", "{in: query, name: p, schema: {type: string, const: a}}", at + "/schema", "const"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := strings.Replace(withMember("{type: string}", false), "operationId: makeThing",
				"operationId: makeThing\n      parameters: ["+tt.parameter+"]", 1)
			wantRefusal(t, source, tt.where, tt.what)
		})
	}
}

func TestAllRefusalsAreReportedTogether(t *testing.T) {
	_, err := generate([]byte(contract(`{type: object, additionalProperties: false, properties: {
      a: {type: string, const: x}, b: {type: string, format: uuid}}}`, "")))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"/properties/a: ", "/properties/b: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
}

// wantRefusal checks that generating fails with an error at the place where, and about what.
func wantRefusal(t *testing.T, source, where, what string) {
	t.Helper()
	_, err := generate([]byte(source))
	if err == nil {
		t.Fatal("accepted")
	}
	for line := range strings.Lines(err.Error()) {
		if rest, ok := strings.CutPrefix(line, where+": "); ok && strings.Contains(rest, what) {
			return
		}
	}
	t.Errorf("error %q, want one at %s about %s", err, where, what)
}
