package main

import (
	"slices"
	"strings"
)

// goType is how to hold a JSON value as its text: the name of a Go type and the package to import for it, if any.
type goType struct {
	name, path string
}

// typeSetter tells oapi-codegen the Go types that it would not choose itself: values of any type and objects without
// declared members stay JSON text, and a choice between kinds of strings is a string.
type typeSetter struct {
	doc  *document
	text goType
}

// setTypes runs a typeSetter over all schemas of the document.
func setTypes(d *document, text goType) {
	s := typeSetter{doc: d, text: text}
	components, _ := d.root["components"].(object)
	schemas, _ := components["schemas"].(object)
	for _, schema := range schemas {
		s.schema(schema)
	}
	s.below(d.root)
}

// below looks for schemas in v: whatever a member named schema holds.
func (s typeSetter) below(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			s.below(e)
		}
	case object:
		for key, e := range v {
			switch key {
			case "schema":
				s.schema(e)
			case "schemas", "example", "examples":
			default:
				s.below(e)
			}
		}
	}
}

// schema sets the type of the schema v and of those inside it. It leaves references alone.
func (s typeSetter) schema(v any) {
	keys, _ := v.(object)
	if keys == nil || keys["$ref"] != nil {
		return
	}
	if s.onlyStrings(keys["anyOf"]) {
		delete(keys, "anyOf")
		keys["type"] = "string"
	}
	if isFreeObject(keys) || isAnything(keys) {
		keys["x-go-type"] = s.text.name
		keys["x-go-type-skip-optional-pointer"] = true
		if s.text.path != "" {
			keys["x-go-type-import"] = object{"path": s.text.path}
		}
		return
	}
	members, _ := keys["properties"].(object)
	required, _ := stringList(keys["required"])
	for name, m := range members {
		s.schema(m)
		if !slices.Contains(required, name) {
			s.omitZero(m)
		}
	}
	s.schema(keys["items"])
	s.schema(keys["additionalProperties"])
}

// omitZero has a member that is JSON text left out only when there is none: with omitempty {}, [], "" and null would go too.
func (s typeSetter) omitZero(member any) {
	keys, _ := member.(object)
	if keys["x-go-type"] == s.text.name {
		keys["x-omitempty"], keys["x-omitzero"] = false, true
	}
}

// onlyStrings reports whether every schema of the list anyOf is for strings.
func (s typeSetter) onlyStrings(anyOf any) bool {
	list, _ := anyOf.([]any)
	for _, m := range list {
		keys, _ := m.(object)
		target, err := s.doc.follow(place{keys: keys})
		if err != nil || target.keys["type"] != "string" {
			return false
		}
	}
	return len(list) > 0
}

// isAnything reports whether a schema says nothing about the type of its values.
func isAnything(schema object) bool {
	for key := range schema {
		switch key {
		case "title", "description", "deprecated", "example", "examples", "default":
		default:
			if !strings.HasPrefix(key, "x-") {
				return false
			}
		}
	}
	return true
}
