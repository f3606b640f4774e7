package main

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"charmer/workerproc"
)

// Schemas come from guests: what is not as JSON Schema wants it is passed over.

// namedValue is a member of a JSON object.
type namedValue struct {
	name  string
	value jsontext.Value
}

// members returns the members of a JSON object in their order; none if it is something else.
func members(object jsontext.Value) (found []namedValue) {
	d := jsontext.NewDecoder(bytes.NewReader(object), jsontext.AllowDuplicateNames(true))
	if d.PeekKind() != '{' {
		return nil
	}
	_, _ = d.ReadToken() // it is there
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			break
		}
		text := name.String() // valid until the next read
		value, err := d.ReadValue()
		if err != nil {
			break
		}
		found = append(found, namedValue{text, value.Clone()})
	}
	return found
}

// member returns a member of a JSON object, or nil if there is none.
func member(object jsontext.Value, name string) jsontext.Value {
	for _, one := range members(object) {
		if one.name == name {
			return one.value
		}
	}
	return nil
}

// elements returns the elements of a JSON array; none if it is something else.
func elements(array jsontext.Value) (found []jsontext.Value) {
	d := jsontext.NewDecoder(bytes.NewReader(array), jsontext.AllowDuplicateNames(true))
	if d.PeekKind() != '[' {
		return nil
	}
	_, _ = d.ReadToken() // it is there
	for d.PeekKind() != ']' {
		value, err := d.ReadValue()
		if err != nil {
			break
		}
		found = append(found, value.Clone())
	}
	return found
}

// unquoted is the text of a JSON string, and what it is if it is none.
func unquoted(value jsontext.Value) string {
	if text, err := jsontext.AppendUnquote(nil, value); err == nil {
		return string(text)
	}
	return string(value)
}

// objects returns the definitions of a command's schemas that have fields. Those of its arguments go before those of its result, which can
// only differ in what is required.
func objects(c workerproc.Command) (found []namedValue) {
	for _, schema := range []jsontext.Value{c.ArgsSchema, c.ResultSchema} {
		for _, one := range members(member(schema, "$defs")) {
			known := slices.ContainsFunc(found, func(other namedValue) bool { return other.name == one.name })
			if !known && len(members(member(one.value, "properties"))) > 0 {
				found = append(found, one)
			}
		}
	}
	return found
}

// parameterSchema is what a command's schema has about a parameter: `true` may be that of one that takes any further name. It is nil if
// there is nothing.
func parameterSchema(c workerproc.Command, p workerproc.Parameter) jsontext.Value {
	if p.Variadic {
		return member(c.ArgsSchema, "additionalProperties")
	}
	return member(member(c.ArgsSchema, "properties"), p.Name)
}

// typeName says in a few words what a schema allows: `integer`, `array of string`, `Item or null`.
func typeName(schema jsontext.Value) string {
	if ref := unquoted(member(schema, "$ref")); ref != "" {
		return ref[strings.LastIndex(ref, "/")+1:]
	}
	if value := member(schema, "const"); value != nil {
		return string(value)
	}
	if values := elements(member(schema, "enum")); len(values) > 0 {
		return joined(values, func(value jsontext.Value) string { return string(value) })
	}
	for _, name := range []string{"anyOf", "oneOf"} {
		if schemas := elements(member(schema, name)); len(schemas) > 0 {
			return joined(schemas, typeName)
		}
	}
	kind := member(schema, "type")
	if kinds := elements(kind); len(kinds) > 0 {
		return joined(kinds, unquoted)
	}
	switch text := unquoted(kind); text {
	case "array":
		return arrayName(schema)
	case "object":
		if inner := member(schema, "additionalProperties"); inner.Kind() == '{' {
			return "object of " + typeName(inner)
		}
		return text
	case "string":
		for _, name := range []string{"format", "contentEncoding"} {
			if form := unquoted(member(schema, name)); form != "" {
				return "string (" + form + ")"
			}
		}
		return text
	case "":
		return "anything"
	default:
		return text
	}
}

func arrayName(schema jsontext.Value) string {
	if items := elements(member(schema, "prefixItems")); len(items) > 0 {
		var names []string
		for _, item := range items {
			names = append(names, typeName(item))
		}
		return "[" + strings.Join(names, ", ") + "]"
	}
	items := member(schema, "items")
	if items.Kind() != '{' {
		return "array"
	}
	name := typeName(items)
	if strings.Contains(name, " or ") {
		name = "(" + name + ")"
	}
	return "array of " + name
}

func joined(values []jsontext.Value, name func(jsontext.Value) string) string {
	var names []string
	for _, value := range values {
		if text := name(value); !slices.Contains(names, text) {
			names = append(names, text)
		}
	}
	return strings.Join(names, " or ")
}
