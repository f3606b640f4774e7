package openapi

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// exampleDepth is how many references deep an example is at most, exampleSize how many values it has.
const (
	exampleDepth = 6
	exampleSize  = 1000
)

// Example makes arguments from the JSON Schema of a command that pass the check of calls, or returns nil if it finds none.
func Example(schema []byte, fits func(args []byte) bool) []byte {
	parsed, err := parse(schema)
	root, ok := parsed.(*object)
	if err != nil || !ok {
		return nil
	}
	resolve := func(reference string) any {
		name, ok := definition(reference)
		switch {
		case !ok:
			return nil
		case name == "":
			return root
		}
		return root.at("$defs").get(name)
	}
	value := exampleOf(root, resolve, func(v any) bool { return fits(write(nil, v)) })
	if value == nil {
		return nil
	}
	return write(nil, value)
}

// exampleOf makes a value from a schema that fits: what the schema gives as an example, a default or a choice, else the simplest of its
// type; if those do not fit, the simplest everywhere. Of an object that is what is required. It returns nil if it finds none.
func exampleOf(s *object, resolve func(reference string) any, fits func(value any) bool) any {
	for _, plain := range []bool{false, true} {
		e := exampler{resolve: resolve, plain: plain, made: new(int)}
		if value := e.of(s, 0); fits(value) {
			return value
		}
	}
	return nil
}

type exampler struct {
	resolve func(reference string) any
	plain   bool     // pays no regard to examples and defaults, which nothing checks
	within  []string // references to schemas that the value is being made for
	made    *int     // values so far
}

// of makes the n-th value of a schema, from 0. It is another for each n where that is easy.
func (e exampler) of(v any, n int) any {
	s, ok := v.(*object)
	if *e.made++; !ok || len(e.within) > exampleDepth || *e.made > exampleSize {
		return text("anything")
	}
	if reference := s.str("$ref"); reference != "" {
		e.within = append(slices.Clip(e.within), reference)
		return e.of(e.resolve(reference), n)
	}
	if value, ok := e.given(s, n); ok {
		return value
	}
	for _, keyword := range []string{"anyOf", "oneOf", "allOf"} {
		if list, _ := s.get(keyword).([]any); len(list) > 0 {
			return e.of(e.simplest(list), n)
		}
	}
	return e.ofType(s, n)
}

// given is a value that the schema itself has.
func (e exampler) given(s *object, n int) (any, bool) {
	for _, keyword := range []string{"examples", "enum"} {
		if list, _ := s.get(keyword).([]any); len(list) > 0 && (keyword == "enum" || !e.plain) {
			return list[n%len(list)], true
		}
	}
	for _, keyword := range []string{"example", "default", "const"} {
		if s.has(keyword) && (keyword == "const" || !e.plain) {
			return s.get(keyword), true
		}
	}
	return nil, false
}

// simplest chooses among alternatives: the first that is neither null nor a schema which the value is within, else null, else the first.
func (e exampler) simplest(list []any) any {
	isNull := func(v any) bool { o, ok := v.(*object); return ok && o.str("type") == "null" }
	if i := slices.IndexFunc(list, func(v any) bool { return !isNull(v) && !e.repeats(v) }); i >= 0 {
		return list[i]
	}
	return list[max(0, slices.IndexFunc(list, isNull))]
}

// repeats reports whether a schema refers to one that the value is within.
func (e exampler) repeats(v any) bool {
	s, ok := v.(*object)
	return ok && slices.Contains(e.within, s.str("$ref"))
}

func (e exampler) ofType(s *object, n int) any {
	typ := s.str("type")
	if list, _ := s.get("type").([]any); len(list) > 0 {
		typ = str(list[0])
	}
	switch typ {
	case "object":
		return e.ofObject(s)
	case "array":
		return e.ofArray(s)
	case "string":
		return text(exampleText(s, n))
	case "integer", "number":
		return exampleNumber(s, typ == "integer", n)
	case "boolean":
		return jsontext.Value("true")
	case "null":
		return jsontext.Value("null")
	case "":
		if s.has("properties") {
			return e.ofObject(s)
		}
	}
	return text("anything")
}

// ofObject has the members that are required, and others if it needs them to be large enough.
func (e exampler) ofObject(s *object) any {
	out := &object{}
	required, _ := s.get("required").([]any)
	for _, name := range required {
		out.set(str(name), e.of(s.at("properties").get(str(name)), 0))
	}
	least, _ := s.count("minProperties")
	for i := 0; len(out.members) < min(least, exampleItems) && i < 2*exampleItems; i++ {
		name := strings.Repeat("key", 1+i)
		if names := s.at("propertyNames"); names != nil {
			name = str(e.of(names, i))
		}
		out.set(name, e.of(s.get("additionalProperties"), i))
	}
	return out
}

// exampleItems is how many items or characters an example has at most because of a bound.
const exampleItems = 100

// ofArray has one item, or as many as it needs.
func (e exampler) ofArray(s *object) any {
	out := []any{}
	prefix, _ := s.get("prefixItems").([]any)
	for _, item := range prefix {
		out = append(out, e.of(item, 0))
	}
	least, _ := s.count("minItems")
	wanted := max(least, 1)
	if most, bounded := s.count("maxItems"); bounded {
		wanted = min(wanted, most)
	}
	items, _ := s.get("items").(*object)
	if len(prefix) > 0 || e.repeats(items) {
		wanted = least
	}
	for i := 0; items != nil && len(out) < min(wanted, exampleItems); i++ {
		out = append(out, e.of(items, i))
	}
	return out
}
