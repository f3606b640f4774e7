package openapi

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// exampleDepth is how deep an example is at most.
const exampleDepth = 6

// exampleOf makes a value from a schema: what it gives as an example, a default or a choice, else the simplest of its type. Of an
// object that is what is required. It returns nil if it finds none; whether the value fits is for the caller to ask.
func exampleOf(s *object, schemas *object) any { return exampler{schemas}.of(s, 0) }

type exampler struct{ schemas *object }

func (e exampler) of(v any, depth int) any {
	s, ok := v.(*object)
	if !ok || depth > exampleDepth {
		return text("anything")
	}
	if name, ok := strings.CutPrefix(s.str("$ref"), schemasAt); ok {
		return e.of(e.schemas.get(name), depth+1)
	}
	if list, _ := s.get("examples").([]any); len(list) > 0 {
		return list[0]
	}
	if list, _ := s.get("enum").([]any); len(list) > 0 {
		return list[0]
	}
	for _, keyword := range []string{"example", "default", "const"} {
		if s.has(keyword) {
			return s.get(keyword)
		}
	}
	for _, keyword := range []string{"anyOf", "oneOf", "allOf"} {
		if list, _ := s.get(keyword).([]any); len(list) > 0 {
			first := slices.IndexFunc(list, func(v any) bool { o, ok := v.(*object); return ok && o.str("type") != "null" })
			return e.of(list[max(0, first)], depth+1)
		}
	}
	return e.ofType(s, depth)
}

func (e exampler) ofType(s *object, depth int) any {
	typ := s.str("type")
	if list, _ := s.get("type").([]any); len(list) > 0 {
		typ = str(list[0])
	}
	switch typ {
	case "object":
		out := &object{}
		required, _ := s.get("required").([]any)
		for _, name := range required {
			out.set(str(name), e.of(s.at("properties").get(str(name)), depth+1))
		}
		return out
	case "array":
		out := []any{}
		prefix, _ := s.get("prefixItems").([]any)
		for _, item := range prefix {
			out = append(out, e.of(item, depth+1))
		}
		if items, ok := s.get("items").(*object); ok && len(prefix) == 0 {
			out = append(out, e.of(items, depth+1))
		}
		return out
	case "string":
		return text(exampleText(s))
	case "integer", "number":
		for _, bound := range []string{"minimum", "maximum"} {
			if s.has(bound) {
				return s.get(bound)
			}
		}
		return jsontext.Value("1")
	case "boolean":
		return jsontext.Value("true")
	case "null":
		return jsontext.Value("null")
	default:
		return text("anything")
	}
}

// exampleText is a string of a format, or of a length.
func exampleText(s *object) string {
	switch s.str("format") {
	case "date-time":
		return "2026-01-02T03:04:05Z"
	case "date":
		return "2026-01-02"
	case "time":
		return "03:04:05Z"
	case "duration":
		return "PT1H30M"
	case "uuid":
		return "123e4567-e89b-12d3-a456-426614174000"
	}
	if s.str("contentEncoding") == "base64" {
		return "aGVsbG8="
	}
	example := "text"
	if raw, ok := s.get("minLength").(jsontext.Value); ok {
		n, _ := strconv.Atoi(string(raw))
		example += strings.Repeat("t", min(max(0, n-len(example)), 100))
	}
	return example
}
