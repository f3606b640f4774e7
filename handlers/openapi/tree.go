package openapi

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// A document is kept as a tree of *object, []any, and jsontext.Value for what is neither, so that members keep their order, which
// generated code follows, and numbers their digits.

// object is a JSON object.
type object struct{ members []member }

type member struct {
	name  string
	value any
}

// obj makes an object of names and values, in turn.
func obj(pairs ...any) *object {
	o := &object{}
	for i := 0; i < len(pairs); i += 2 {
		o.set(pairs[i].(string), pairs[i+1])
	}
	return o
}

// text makes a JSON string.
func text(s string) jsontext.Value {
	quoted, _ := jsontext.AppendQuote(nil, s) // fails on invalid UTF-8 only, and then has written U+FFFD for it
	return quoted
}

// ref makes a reference to a schema of the document.
func ref(name string) *object { return obj("$ref", text(schemasAt+name)) }

const schemasAt = "#/components/schemas/"

func (o *object) index(name string) int {
	if o == nil {
		return -1
	}
	return slices.IndexFunc(o.members, func(m member) bool { return m.name == name })
}

// get returns a member, or nil.
func (o *object) get(name string) any {
	if i := o.index(name); i >= 0 {
		return o.members[i].value
	}
	return nil
}

func (o *object) has(name string) bool { return o.index(name) >= 0 }

// at returns the object below those names, or nil.
func (o *object) at(names ...string) *object {
	for _, name := range names {
		o, _ = o.get(name).(*object)
	}
	return o
}

// str returns a member that is a string, or "".
func (o *object) str(name string) string { return str(o.get(name)) }

// str returns the string that v is, or "".
func str(v any) string {
	raw, _ := v.(jsontext.Value)
	if raw.Kind() != '"' {
		return ""
	}
	s, _ := jsontext.AppendUnquote(nil, raw) // it is valid
	return string(s)
}

// set changes a member, or adds it at the end.
func (o *object) set(name string, value any) {
	if i := o.index(name); i >= 0 {
		o.members[i].value = value
	} else {
		o.members = append(o.members, member{name, value})
	}
}

// take removes a member and returns it, or nil.
func (o *object) take(name string) any {
	i := o.index(name)
	if i < 0 {
		return nil
	}
	value := o.members[i].value
	o.members = slices.Delete(o.members, i, i+1)
	return value
}

// parse reads JSON.
func parse(source []byte) (any, error) {
	return parseNext(jsontext.NewDecoder(bytes.NewReader(source)))
}

func parseNext(dec *jsontext.Decoder) (any, error) {
	switch dec.PeekKind() {
	case '{':
		o := &object{}
		if _, err := dec.ReadToken(); err != nil {
			return nil, err
		}
		for dec.PeekKind() != '}' {
			name, err := dec.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String()
			value, err := parseNext(dec)
			if err != nil {
				return nil, err
			}
			o.members = append(o.members, member{key, value})
		}
		_, err := dec.ReadToken()
		return o, err
	case '[':
		list := []any{}
		if _, err := dec.ReadToken(); err != nil {
			return nil, err
		}
		for dec.PeekKind() != ']' {
			value, err := parseNext(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := dec.ReadToken()
		return list, err
	default:
		raw, err := dec.ReadValue()
		return raw.Clone(), err
	}
}

// write appends v as JSON.
func write(dst []byte, v any) []byte {
	switch v := v.(type) {
	case *object:
		dst = append(dst, '{')
		for i, m := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(append(dst, text(m.name)...), ':')
			dst = write(dst, m.value)
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = write(dst, e)
		}
		return append(dst, ']')
	default:
		return append(dst, v.(jsontext.Value)...)
	}
}

// clone copies v, but for what is text.
func clone(v any) any {
	switch v := v.(type) {
	case *object:
		out := &object{members: slices.Clone(v.members)}
		for i := range out.members {
			out.members[i].value = clone(out.members[i].value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = clone(v[i])
		}
		return out
	default:
		return v
	}
}

// isData reports whether the value of a keyword of a schema is no schema, whatever it looks like.
func isData(keyword string) bool {
	switch keyword {
	case "const", "enum", "default", "example", "examples", "required":
		return true
	}
	return false
}

// isNamed reports whether the value of a keyword holds schemas by names that are not keywords.
func isNamed(keyword string) bool {
	switch keyword {
	case "properties", "patternProperties", "dependentSchemas", "$defs":
		return true
	}
	return false
}

// eachObject calls visit for v and every schema in it.
func eachObject(v any, visit func(*object)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			eachObject(e, visit)
		}
	case *object:
		visit(v)
		for _, m := range v.members {
			below, isObject := m.value.(*object)
			switch {
			case isData(m.name):
			case isNamed(m.name) && isObject:
				for _, named := range below.members {
					eachObject(named.value, visit)
				}
			default:
				eachObject(m.value, visit)
			}
		}
	}
}
