package main

import (
	"errors"
	"slices"
	"strings"
)

const jsonMediaType = "application/json"

// annotateRequests writes the validate tags into every request body and parameter of the document, and returns the
// patterns that the tags name: name to regular expression. All refusals are returned together.
func annotateRequests(d *document) (map[string]string, error) {
	t := &translator{doc: d, patterns: map[string]string{}, structs: map[string]*rules{}, open: map[string]bool{}}
	top := place{at: "#", keys: d.root}
	for _, item := range top.children("paths") {
		t.pathItem(item)
	}
	slices.SortFunc(t.problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	t.problems = slices.CompactFunc(t.problems, func(a, b error) bool { return a.Error() == b.Error() })
	return t.patterns, errors.Join(t.problems...)
}

func (t *translator) pathItem(item place) {
	if item.keys == nil || item.keys["$ref"] != nil {
		t.refuse(item.refused("a path must be an object without $ref"))
		return
	}
	t.parameters(item)
	for _, method := range []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"} {
		op, ok := item.child(method)
		if !ok {
			continue
		}
		t.parameters(op)
		if op.keys["requestBody"] != nil {
			body, _ := op.child("requestBody")
			t.requestBody(body)
		}
	}
}

// parameters annotates the parameters of a path or an operation.
func (t *translator) parameters(owner place) {
	list, _ := owner.keys["parameters"].([]any)
	for i, entry := range list {
		keys, _ := entry.(object)
		p, err := t.doc.follow(place{at: owner.at + "/parameters/" + itoa(i), keys: keys})
		if err != nil {
			t.refuse(err)
			continue
		}
		t.parameter(p)
	}
}

// parameter writes the rules of a parameter into its member x-validate, where the template of the routes finds them.
func (t *translator) parameter(p place) {
	if extra := p.unknown("name", "in", "required", "description", "deprecated", "schema", "example", "examples", "x-validate"); len(extra) > 0 {
		t.refuse(p.refused("%s is not translated", strings.Join(extra, ", ")))
		return
	}
	if in := p.keys["in"]; in != "path" && in != "query" && in != "header" {
		t.refuse(p.refused("a parameter in %v is not translated", in))
		return
	} else if in == "header" && p.keys["required"] == true {
		t.refuse(p.refused("a header that is required is not translated"))
		return
	}
	schema, ok := p.child("schema")
	if !ok {
		t.refuse(p.refused("a parameter needs a schema"))
		return
	}
	r := t.schema(schema)
	if r == nil {
		return // refused already
	}
	if r.kind != scalar || r.isTime {
		t.refuse(schema.refused("a parameter must be a string, a number, an integer or a boolean"))
		return
	}
	p.keys["x-validate"] = strings.Join(r.tags, ",")
}

// requestBody annotates the schema of a request body, which must be JSON and an object, with declared members or with any.
func (t *translator) requestBody(body place) {
	body, err := t.doc.follow(body)
	if err != nil {
		t.refuse(err)
		return
	}
	if extra := body.unknown("description", "required", "content"); len(extra) > 0 {
		t.refuse(body.refused("%s is not translated", strings.Join(extra, ", ")))
	}
	for _, media := range body.children("content") {
		if media.name() != jsonMediaType {
			t.refuse(media.refused("a request body must be %s", jsonMediaType))
			continue
		}
		if extra := media.unknown("schema", "example", "examples"); len(extra) > 0 {
			t.refuse(media.refused("%s is not translated", strings.Join(extra, ", ")))
		}
		schema, _ := media.child("schema")
		if r := t.schema(schema); r != nil && r.kind != structure && !slices.Contains(r.tags, "json_object") {
			t.refuse(schema.refused("a request body must be an object"))
		}
	}
}
