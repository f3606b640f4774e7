package openapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// lifter moves definitions of schemas into the document.
type lifter struct {
	schemas *object           // of the document
	taken   map[string]bool   // names, folded
	shared  map[string]string // names by what they stand for
}

func newLifter(schemas *object) *lifter {
	l := &lifter{schemas: schemas, taken: map[string]bool{}, shared: map[string]string{}}
	for _, m := range schemas.members {
		l.reserve(m.name)
	}
	return l
}

func (l *lifter) reserve(name string) { l.taken[folded(name)] = true }

// lift returns a schema with its definitions moved to the document, or nil if it is none, or refers to what is not there. The name
// of the schema, should it refer to itself, is owner and suffix. A definition keeps its name if that is free; the same one of
// several commands is there once.
func (l *lifter) lift(source []byte, owner, suffix string) *object {
	if len(source) == 0 {
		return nil
	}
	parsed, err := parse(source)
	s, ok := parsed.(*object)
	if err != nil || !ok {
		return nil
	}
	s.take("$schema")
	s.take("$id")
	defs, _ := s.take("$defs").(*object)
	if defs == nil {
		defs = &object{}
	}
	if !resolvable(s, defs) || !resolvable(defs, defs) {
		return nil
	}
	names := map[string]string{} // of the document, by those of the schema
	var moved []member
	for _, def := range defs.members {
		key := closure(def.name, defs)
		if strings.Contains(key, `"$ref":"#"`) { // means another schema in each that has it
			key += owner + suffix
		}
		name, known := l.shared[key]
		if !known {
			name = l.free(componentName(def.name), owner)
			l.shared[key] = name
			moved = append(moved, member{name, def.value})
		}
		names[def.name] = name
	}
	widen(s)
	dropNaive(s)
	for _, m := range moved {
		widen(m.value)
		dropNaive(m.value)
		point(m.value, names, owner+suffix)
		l.schemas.set(m.name, m.value)
	}
	point(s, names, owner+suffix)
	return s
}

// free returns a name that is not taken, and takes it.
func (l *lifter) free(name, owner string) string {
	if l.taken[folded(name)] {
		name = owner + name
	}
	for n, plain := 2, name; l.taken[folded(name)]; n++ {
		name = plain + strconv.Itoa(n)
	}
	l.reserve(name)
	return name
}

// componentName is name with what OpenAPI allows in the names of schemas.
func componentName(name string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.':
			return r
		}
		return '_'
	}, name)
	return orElse(clean, "_")
}

// definition returns which definition a reference leads to: "" for the schema itself. ok is false for any other.
func definition(reference string) (name string, ok bool) {
	if reference == "#" {
		return "", true
	}
	token, ok := strings.CutPrefix(reference, "#/$defs/")
	if !ok || strings.Contains(token, "/") {
		return "", false
	}
	token, err := url.PathUnescape(token)
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(token), err == nil
}

// resolvable reports whether all references in v lead to definitions, or to the whole.
func resolvable(v any, defs *object) bool {
	good := true
	eachObject(wrap(v, defs), func(o *object) {
		if reference := o.str("$ref"); reference != "" {
			name, ok := definition(reference)
			good = good && ok && (name == "" || defs.has(name))
		}
		good = good && !o.has("$dynamicRef") && !o.has("$defs")
	})
	return good
}

// wrap has the definitions themselves, whose names are no keywords, visited one by one.
func wrap(v any, defs *object) any {
	if v != any(defs) {
		return v
	}
	var list []any
	for _, m := range defs.members {
		list = append(list, m.value)
	}
	return list
}

// closure is the text of a definition and of all that it leads to, which is the same for the same ones only.
func closure(name string, defs *object) string {
	seen := []string{name}
	var b []byte
	for i := 0; i < len(seen); i++ {
		b = append(append(b, seen[i]...), '\n')
		b = write(b, defs.get(seen[i]))
		eachObject(defs.get(seen[i]), func(o *object) {
			if next, ok := definition(o.str("$ref")); ok && next != "" && !slices.Contains(seen, next) {
				seen = append(seen, next)
			}
		})
	}
	return string(b)
}

// point has the references in v lead to the schemas of the document.
func point(v any, names map[string]string, self string) {
	moved := func(reference string) string {
		name, ok := definition(reference)
		switch {
		case !ok:
			return reference
		case name == "":
			return schemasAt + self
		default:
			return schemasAt + names[name]
		}
	}
	eachObject(v, func(o *object) {
		if reference := o.str("$ref"); reference != "" {
			o.set("$ref", text(moved(reference)))
		}
		if mapping := o.at("discriminator", "mapping"); mapping != nil {
			for i, m := range mapping.members {
				mapping.members[i].value = text(moved(str(m.value)))
			}
		}
	})
}
