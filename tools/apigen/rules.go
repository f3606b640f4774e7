package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kind is how Go holds a value of a schema.
type kind int

const (
	scalar    kind = iota // string, bool, number or time.Time; a pointer where it may be absent
	list                  // slice
	structure             // struct
	raw                   // the JSON text
)

// rules is a schema as the validate tag of a field that holds its values.
type rules struct {
	kind   kind
	tags   []string
	isTime bool // format date-time

	// zeroAccepted says that the zero value of the Go type satisfies the schema (for a structure: that {} does), so
	// that a required member of this schema cannot be told from an absent one by its value.
	zeroAccepted bool
}

// translator turns request schemas into validate tags and collects what it cannot translate.
type translator struct {
	doc      *document
	patterns map[string]string // by name
	structs  map[string]*rules // by pointer; objects that have been visited
	open     map[string]bool   // by pointer; arrays that are being visited
	problems []error
}

// annotations are the keywords that say nothing about which values are valid.
var annotations = []string{"type", "title", "description", "deprecated", "example", "examples", "$comment"}

// memberName is what a member may be called, so that the path that validator/v10 reports can be read back.
var memberName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (t *translator) refuse(err error) {
	t.problems = append(t.problems, err)
}

// schema translates the schema at p and annotates the objects in it. It returns nil after a refusal.
func (t *translator) schema(p place) *rules {
	if p.keys == nil {
		t.refuse(p.refused("a schema must be an object"))
		return nil
	}
	p, err := t.doc.follow(p)
	if err != nil {
		t.refuse(err)
		return nil
	}
	switch typ := p.keys["type"]; typ {
	case nil:
		return t.anything(p)
	case "string":
		return t.text(p)
	case "number", "integer":
		return t.number(p, typ == "integer")
	case "boolean":
		return t.only(p, &rules{zeroAccepted: true})
	case "array":
		return t.array(p)
	case "object":
		return t.object(p)
	default:
		t.refuse(p.refused("type %v is not translated", typ))
		return nil
	}
}

// only returns r if p has no keywords but annotations and those named.
func (t *translator) only(p place, r *rules, keywords ...string) *rules {
	known := append(slices.Clone(annotations), keywords...)
	if extra := p.unknown(known...); len(extra) > 0 {
		t.refuse(p.refused("keyword %s is not translated here", strings.Join(extra, ", ")))
		return nil
	}
	return r
}

// anything translates a schema without type: any JSON value.
func (t *translator) anything(p place) *rules {
	return t.only(p, &rules{kind: raw})
}

func (t *translator) text(p place) *rules {
	r := &rules{zeroAccepted: true}
	switch p.keys["format"] {
	case nil:
	case "date-time":
		r.isTime = true
		return t.only(p, r, "format")
	default:
		t.refuse(p.refused("format %v of a string is not translated", p.keys["format"]))
		return nil
	}
	if v, ok := p.keys["enum"]; ok {
		tag, err := oneOf(v)
		if err != nil {
			t.refuse(p.refused("%v", err))
			return nil
		}
		r.tags = append(r.tags, tag)
		r.zeroAccepted = false
	}
	if !t.sizes(p, r, "minLength", "maxLength") || !t.pattern(p, r) {
		return nil
	}
	return t.only(p, r, "enum", "minLength", "maxLength", "pattern")
}

// enumValue is what an enum value may look like, since a tag separates values by spaces and rules by commas.
var enumValue = regexp.MustCompile(`^[A-Za-z0-9._:/+-]+$`)

func oneOf(enum any) (string, error) {
	values, _ := enum.([]any)
	var names []string
	for _, v := range values {
		s, _ := v.(string)
		if !enumValue.MatchString(s) {
			return "", fmt.Errorf("enum value %v is not translated", v)
		}
		names = append(names, s)
	}
	if len(names) == 0 {
		return "", fmt.Errorf("enum without values is not translated")
	}
	return "oneof=" + strings.Join(names, " "), nil
}

// sizes translates the two keywords into min and max, which count runes of strings and items of slices.
func (t *translator) sizes(p place, r *rules, least, most string) bool {
	for _, bound := range []struct{ keyword, tag string }{{least, "min="}, {most, "max="}} {
		v, ok := p.keys[bound.keyword]
		if !ok {
			continue
		}
		n, isInt := v.(int)
		if !isInt || n < 0 {
			t.refuse(p.refused("%s must be a whole number, not %v", bound.keyword, v))
			return false
		}
		if bound.tag == "min=" && n > 0 {
			r.zeroAccepted = false
		}
		r.tags = append(r.tags, bound.tag+itoa(n))
	}
	return true
}

// pattern translates the keyword into the rule pattern=NAME. The expression itself goes into the table, since a tag
// cannot hold commas and quotes. It is read as RE2, which for what compiles in both means the same as ECMA 262.
func (t *translator) pattern(p place, r *rules) bool {
	v, ok := p.keys["pattern"]
	if !ok {
		return true
	}
	expr, _ := v.(string)
	if _, err := regexp.Compile(expr); err != nil || expr == "" {
		t.refuse(p.refused("pattern %v is not an expression of RE2", v))
		return false
	}
	name := strings.TrimPrefix(strings.TrimPrefix(p.at, "#/"), "components/schemas/")
	name = strings.ReplaceAll(name, "/properties/", ".")
	name = regexp.MustCompile(`[^A-Za-z0-9_.]+`).ReplaceAllString(name, "_")
	if old, ok := t.patterns[name]; ok && old != expr {
		t.refuse(p.refused("pattern name %s is taken by another expression", name))
		return false
	}
	t.patterns[name] = expr
	r.tags = append(r.tags, "pattern="+name)
	return true
}

var numberBounds = []struct{ keyword, tag string }{
	{"minimum", "min="}, {"exclusiveMinimum", "gt="}, {"maximum", "max="}, {"exclusiveMaximum", "lt="},
}

func (t *translator) number(p place, whole bool) *rules {
	formats := []any{"double"} // without a format it would become a float32
	if whole {
		formats = []any{"int64", "int32", nil}
	}
	if !slices.Contains(formats, p.keys["format"]) {
		t.refuse(p.refused("format %v of a number is not translated", p.keys["format"]))
		return nil
	}
	r := &rules{zeroAccepted: true} // whether it is or not, a required number is told by a pointer
	for _, bound := range numberBounds {
		v, ok := p.keys[bound.keyword]
		if !ok {
			continue
		}
		limit, err := decimal(v, whole)
		if err != nil {
			t.refuse(p.refused("%s %v", bound.keyword, err))
			return nil
		}
		r.tags = append(r.tags, bound.tag+limit)
	}
	return t.only(p, r, "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
}

// decimal writes a limit the way strconv reads it back, without an exponent.
func decimal(v any, whole bool) (string, error) {
	switch n := v.(type) {
	case int:
		return itoa(n), nil
	case float64:
		if !whole {
			return strconv.FormatFloat(n, 'f', -1, 64), nil
		}
	}
	return "", fmt.Errorf("%v is not translated here", v)
}

func (t *translator) array(p place) *rules {
	r := &rules{kind: list, zeroAccepted: false} // nil means absent, [] does not
	if !t.sizes(p, r, "minItems", "maxItems") {
		return nil
	}
	items, ok := p.child("items")
	if !ok || t.open[p.at] {
		t.refuse(p.refused("an array needs items that are not itself"))
		return nil
	}
	t.open[p.at] = true
	item := t.schema(items)
	delete(t.open, p.at)
	if item == nil {
		return nil
	}
	if len(item.tags) > 0 || item.kind == structure {
		r.tags = append(append(r.tags, "dive"), item.tags...)
	}
	return t.only(p, r, "items", "minItems", "maxItems")
}

func itoa(n int) string {
	return strconv.Itoa(n)
}
