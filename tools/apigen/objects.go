package main

import (
	"maps"
	"slices"
	"strings"
)

// extraTags is the member in which oapi-codegen finds struct tags to add to a field.
const extraTags = "x-oapi-codegen-extra-tags"

// object translates an object schema. Without properties it is held as JSON text, and the rule json_object says that
// the text must be an object; with properties it is a struct, whose members get their tags.
func (t *translator) object(p place) *rules {
	if isFreeObject(p.keys) {
		return t.only(p, &rules{kind: raw, tags: []string{"json_object"}}, "additionalProperties")
	}
	if r, seen := t.structs[p.at]; seen {
		return r
	}
	required, ok := stringList(p.keys["required"])
	if !ok {
		t.refuse(p.refused("required must be a list of names"))
		return nil
	}
	r := &rules{kind: structure, zeroAccepted: len(required) == 0}
	t.structs[p.at] = r
	if p.keys["additionalProperties"] != false {
		t.refuse(p.refused("an object with properties must say additionalProperties: false"))
		return nil
	}
	properties, _ := p.child("properties")
	for _, name := range required {
		if _, ok := properties.keys[name]; !ok {
			t.refuse(p.refused("required member %s is not among the properties", name))
		}
	}
	for _, member := range p.children("properties") {
		t.member(properties, member, slices.Contains(required, member.name()))
	}
	return t.only(p, r, "properties", "required", "additionalProperties")
}

// member writes the validate tag of one property.
func (t *translator) member(properties, m place, required bool) {
	if !memberName.MatchString(m.name()) {
		t.refuse(m.refused("a member of a request must have a plain name"))
		return
	}
	r := t.schema(m)
	if r == nil {
		return
	}
	tags := r.tags
	switch {
	case required && r.kind == structure && r.zeroAccepted:
		t.refuse(m.refused("a required object without required members cannot be told from an absent one"))
		return
	case required && r.kind == scalar && r.zeroAccepted:
		t.pointer(properties, &m)
		tags = append([]string{"required"}, tags...)
	case required:
		tags = append([]string{"required"}, tags...)
	case len(tags) == 0 || r.kind == structure:
		return
	case r.kind == raw:
		tags = append([]string{"omitempty"}, tags...)
	default:
		tags = append([]string{"omitnil"}, tags...)
	}
	m.keys[extraTags] = object{"validate": strings.Join(tags, ",")}
}

// pointer makes oapi-codegen use a pointer for a required member, by saying that it may be null. (bind refuses null.)
// A reference is replaced by a copy of what it refers to, so that nobody else sees the change.
func (t *translator) pointer(properties place, m *place) {
	target, err := t.doc.follow(*m)
	if err != nil {
		t.refuse(err)
		return
	}
	m.keys = maps.Clone(target.keys)
	m.keys["type"] = []any{target.keys["type"], "null"}
	properties.keys[m.name()] = m.keys
}

// isFreeObject reports whether an object schema declares no members and accepts any.
func isFreeObject(schema object) bool {
	_, members := schema["properties"]
	extra, said := schema["additionalProperties"]
	return schema["type"] == "object" && !members && (!said || extra == true)
}

// stringList reads a list of strings; nil is an empty one.
func stringList(v any) (list []string, ok bool) {
	if v == nil {
		return nil, true
	}
	values, ok := v.([]any)
	for _, v := range values {
		s, isString := v.(string)
		list, ok = append(list, s), ok && isString
	}
	return list, ok
}
