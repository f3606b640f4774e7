package openapi

import (
	"bytes"
	"errors"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Down returns a document of OpenAPI 3.1 as one of 3.0. Its schemas allow what those of the original do, or more.
func Down(document []byte) ([]byte, error) {
	parsed, err := parse(document)
	if err != nil {
		return nil, err
	}
	root, ok := parsed.(*object)
	if !ok {
		return nil, errors.New("the document is no object")
	}
	root.set("openapi", text("3.0.3"))
	root.take("jsonSchemaDialect")
	root.take("webhooks")
	root.at("info").take("summary")
	root.at("info", "license").take("identifier")
	if schemas := root.at("components", "schemas"); schemas != nil {
		for i := range schemas.members {
			schemas.members[i].value = downSchema(schemas.members[i].value)
		}
	}
	downBelow(root)
	return write(nil, root), nil
}

// downBelow looks for schemas: whatever a member named schema holds.
func downBelow(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			downBelow(e)
		}
	case *object:
		for i, m := range v.members {
			switch m.name {
			case "schema":
				v.members[i].value = downSchema(m.value)
			case "schemas", "example", "examples":
			default:
				downBelow(m.value)
			}
		}
	}
}

// dropped are the keywords that 3.0 has no words for. Without them a schema allows more.
var dropped = []string{"$schema", "$id", "$comment", "$anchor", "$dynamicAnchor", "$dynamicRef", "$vocabulary", "propertyNames", "if", "then", "else", "dependentRequired",
	"dependentSchemas", "dependencies", "contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties", "additionalItems", "contentMediaType", "contentSchema"}

// downSchema returns a schema, with all in it, in the words of 3.0.
func downSchema(v any) any {
	s, ok := v.(*object)
	if !ok {
		if raw, isText := v.(jsontext.Value); isText && raw.Kind() == 'f' {
			return obj("not", obj())
		}
		return obj()
	}
	for _, keyword := range dropped {
		s.take(keyword)
	}
	if s.has("$ref") {
		return downRef(s)
	}
	downInner(s)
	downType(s)
	downConst(s)
	downNumbers(s)
	downArray(s)
	downMembers(s)
	if list, ok := s.take("examples").([]any); ok && len(list) > 0 && !s.has("example") {
		s.set("example", list[0])
	}
	if encoding := s.take("contentEncoding"); str(encoding) == "base64" && !s.has("format") {
		s.set("format", text("byte"))
	}
	return s
}

// downRef keeps what stands beside a reference, which 3.0 would ignore.
func downRef(s *object) any {
	reference := obj("$ref", s.take("$ref"))
	if len(s.members) == 0 {
		return reference
	}
	rest, _ := downSchema(s).(*object)
	all, _ := rest.get("allOf").([]any)
	rest.set("allOf", append([]any{reference}, all...))
	return rest
}

// downInner goes through the schemas in s.
func downInner(s *object) {
	for i, m := range s.members {
		switch m.name {
		case "properties", "patternProperties":
			if named, ok := m.value.(*object); ok {
				for j := range named.members {
					named.members[j].value = downSchema(named.members[j].value)
				}
			}
		case "allOf", "anyOf", "oneOf", "prefixItems":
			if list, ok := m.value.([]any); ok {
				for j := range list {
					list[j] = downAlternative(list[j])
				}
			}
		case "not":
			s.members[i].value = downSchema(m.value)
		case "items", "additionalProperties":
			if _, isObject := m.value.(*object); isObject {
				s.members[i].value = downSchema(m.value)
			}
		}
	}
	for _, keyword := range []string{"anyOf", "oneOf"} {
		list, _ := s.get(keyword).([]any)
		others := slices.DeleteFunc(slices.Clone(list), func(v any) bool { return v == null })
		if len(others) == len(list) {
			continue
		}
		s.take(keyword)
		switch only, _ := first(others).(*object); {
		case len(others) == 0: // nothing but null
			s.set("enum", []any{jsontext.Value("null")})
		case len(others) > 1:
			s.set(keyword, others)
		case only.has("$ref"):
			all, _ := s.get("allOf").([]any)
			s.set("allOf", append(all, only))
		default:
			for _, m := range only.members {
				if !s.has(m.name) {
					s.set(m.name, m.value)
				}
			}
		}
		s.set("nullable", jsontext.Value("true"))
	}
}

// null stands for an alternative that allows null and nothing else.
var null = &object{}

func downAlternative(v any) any {
	if s, ok := v.(*object); ok && s.str("type") == "null" {
		return null
	}
	return downSchema(v)
}

func first(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// downType words a list of types, and null.
func downType(s *object) {
	if s.str("type") == "null" {
		s.take("type")
		s.set("nullable", jsontext.Value("true"))
		s.set("enum", []any{jsontext.Value("null")})
		return
	}
	list, ok := s.get("type").([]any)
	if !ok {
		return
	}
	s.take("type")
	types := slices.DeleteFunc(slices.Clone(list), func(v any) bool { return str(v) == "null" })
	if len(types) < len(list) {
		s.set("nullable", jsontext.Value("true"))
	}
	switch {
	case len(types) == 1:
		s.set("type", types[0])
	case len(types) > 1 && !s.has("anyOf"):
		var each []any
		for _, t := range types {
			one := obj("type", t)
			if str(t) == "array" {
				one.set("items", obj())
			}
			each = append(each, one)
		}
		s.set("anyOf", each)
	}
}

// downConst words a constant as a choice of one.
func downConst(s *object) {
	value := s.take("const")
	if value == nil {
		return
	}
	s.set("enum", []any{value})
	if bytes.Equal(write(nil, value), []byte("null")) {
		s.set("nullable", jsontext.Value("true"))
	}
}

// downNumbers words bounds that are excluded.
func downNumbers(s *object) {
	for _, bound := range []struct{ exclusive, inclusive string }{{"exclusiveMinimum", "minimum"}, {"exclusiveMaximum", "maximum"}} {
		if raw, ok := s.get(bound.exclusive).(jsontext.Value); ok && raw.Kind() == '0' {
			s.set(bound.inclusive, raw) // a second bound, if there is one, is given up
			s.set(bound.exclusive, jsontext.Value("true"))
		}
	}
}

// downArray words the items of tuples, whose places 3.0 cannot tell apart.
func downArray(s *object) {
	prefix, _ := s.take("prefixItems").([]any)
	items, more := s.get("items").(*object)
	if _, isBool := s.get("items").(jsontext.Value); isBool {
		if raw := s.take("items").(jsontext.Value); raw.Kind() == 'f' {
			s.set("maxItems", jsontext.Value(strconv.Itoa(len(prefix))))
		}
	}
	if len(prefix) > 0 {
		var each []any
		for _, item := range prefix {
			if item == null {
				item = obj("nullable", jsontext.Value("true"), "enum", []any{jsontext.Value("null")})
			}
			if !slices.ContainsFunc(each, func(v any) bool { return bytes.Equal(write(nil, v), write(nil, item)) }) {
				each = append(each, item)
			}
		}
		if more {
			each = append(each, items)
		}
		if len(each) == 1 {
			s.set("items", each[0])
		} else {
			s.set("items", obj("anyOf", each))
		}
	}
	if s.str("type") == "array" && !s.has("items") {
		s.set("items", obj()) // which 3.0 asks for
	}
}

// downMembers words members whose names match a pattern as any further ones.
func downMembers(s *object) {
	patterns, ok := s.take("patternProperties").(*object)
	if !ok || len(patterns.members) == 0 {
		return
	}
	var each []any
	for _, m := range patterns.members {
		each = append(each, m.value)
	}
	if further, ok := s.get("additionalProperties").(*object); ok {
		each = append(each, further)
	} else if raw, ok := s.get("additionalProperties").(jsontext.Value); !ok || raw.Kind() == 't' {
		s.take("additionalProperties")
		return // any will do
	}
	if len(each) == 1 {
		s.set("additionalProperties", each[0])
	} else {
		s.set("additionalProperties", obj("anyOf", each))
	}
}
