package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// object is a JSON object of the document. The document is kept as plain maps and slices rather than as the structs
// of a library, so that a keyword which no library knows is still seen.
type object = map[string]any

// document is openapi.yaml, parsed.
type document struct {
	root object
}

// place is one object of the document and where it stands.
type place struct {
	at   string // JSON pointer as a URI fragment: #/components/schemas/SessionId
	keys object // the object itself; annotations are written into it
}

// parse reads YAML. Every mapping key must be a string and appear once.
func parse(source []byte) (*document, error) {
	var root object
	if err := yaml.Unmarshal(source, &root); err != nil {
		return nil, fmt.Errorf("parse openapi.yaml: %w", err)
	}
	if root == nil {
		return nil, errors.New("parse openapi.yaml: no document")
	}
	return &document{root: root}, nil
}

// refused is the error for the object at a place.
func (p place) refused(format string, args ...any) error {
	return fmt.Errorf("%s: %s", p.at, fmt.Sprintf(format, args...))
}

// child returns the object below p under the member name; ok is false if there is none or it is no object.
func (p place) child(name string) (_ place, ok bool) {
	keys, ok := p.keys[name].(object)
	return place{at: p.at + "/" + escape(name), keys: keys}, ok
}

// children returns the objects below the member name of p, by their own names in order. A value that is no object
// comes with nil keys, for the caller to refuse.
func (p place) children(name string) []place {
	parent, _ := p.child(name)
	var out []place
	for _, key := range slices.Sorted(maps.Keys(parent.keys)) {
		c, _ := parent.child(key)
		out = append(out, c)
	}
	return out
}

// name is the last token of the pointer.
func (p place) name() string {
	last := p.at[strings.LastIndexByte(p.at, '/')+1:]
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(last)
}

// unknown returns the members of p that are not in known, in order.
func (p place) unknown(known ...string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(p.keys)) {
		if !slices.Contains(known, key) {
			out = append(out, key)
		}
	}
	return out
}

// follow returns the object that p refers to with $ref, through several if need be, or p itself. A sibling of $ref
// other than a comment would add to the schema in OpenAPI 3.1 and is refused.
func (d *document) follow(p place) (place, error) {
	for range 16 {
		ref, ok := p.keys["$ref"]
		if !ok {
			return p, nil
		}
		if extra := p.unknown("$ref", "description", "summary", "$comment"); len(extra) > 0 {
			return place{}, p.refused("%s beside $ref is not translated", strings.Join(extra, ", "))
		}
		target, err := d.find(ref)
		if err != nil {
			return place{}, p.refused("%v", err)
		}
		p = target
	}
	return place{}, p.refused("$ref leads nowhere")
}

// find returns the object that the local reference ref names.
func (d *document) find(ref any) (place, error) {
	s, _ := ref.(string)
	path, ok := strings.CutPrefix(s, "#/")
	if !ok {
		return place{}, fmt.Errorf("$ref %v is not translated, only #/... is", ref)
	}
	p := place{at: "#", keys: d.root}
	for token := range strings.SplitSeq(path, "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		if p, ok = p.child(token); !ok {
			return place{}, fmt.Errorf("$ref %s leads nowhere", s)
		}
	}
	return p, nil
}

// escape makes one token of a JSON pointer from a member name (RFC 6901, section 3).
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
