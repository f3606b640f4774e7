package argschema

import (
	"reflect"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// shorten has members and items of all the schemas looked at directly where what they have is but a reference: following one
// takes as long as looking at a value.
func shorten(all map[*jsonschema.Schema]bool) {
	for s := range all {
		for name, member := range s.Properties {
			s.Properties[name] = target(member)
		}
		for i := range s.AnyOf {
			s.AnyOf[i] = target(s.AnyOf[i])
		}
		if s.Items2020 != nil {
			s.Items2020 = target(s.Items2020)
		}
		if extra, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
			s.AdditionalProperties = target(extra)
		}
	}
}

// target returns what s refers to, if it does nothing else, or s. There is no loop of such references: weigh would have found it.
func target(s *jsonschema.Schema) *jsonschema.Schema {
	for s.Ref != nil && onlyRefers(s) {
		s = s.Ref
	}
	return s
}

// onlyRefers reports whether s asks for nothing but what it refers to.
func onlyRefers(s *jsonschema.Schema) bool {
	v := reflect.ValueOf(*s)
	for i := range v.NumField() {
		switch field := v.Type().Field(i); field.Name {
		case "Ref", "DraftVersion", "Location", "Title", "Description", "Default", "Comment", "Examples", "Deprecated", "ReadOnly", "WriteOnly":
		default:
			if field.IsExported() && !v.Field(i).IsZero() {
				return false
			}
		}
	}
	return true
}
