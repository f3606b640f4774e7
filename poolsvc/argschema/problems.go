package argschema

import (
	"cmp"
	"encoding/json" // which the library's numbers are of
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Bounds of what is said, the same as in workerproc/python/charmer/_args.py.
const (
	maxProblems = 16
	maxPointer  = 200
	maxText     = 64 // characters of a value or a pattern
	maxChoices  = 8
)

// problems words what the library found, in the order of the pointers. It is nil if the library itself was at its end.
func problems(invalid *jsonschema.ValidationError) []Problem {
	var w worder
	found := w.problems(invalid)
	if w.lost {
		return nil
	}
	slices.SortFunc(found, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Pointer, b.Pointer), cmp.Compare(a.Detail, b.Detail))
	})
	found = slices.Compact(found) // a value may be asked the same by several parts of a schema
	if more := len(found) - maxProblems; more > 0 {
		found = append(found[:maxProblems], Problem{Detail: fmt.Sprintf("and %d more do not fit", more)})
	}
	return found
}

// worder turns the tree of errors into sentences.
type worder struct {
	lost bool // the library could not tell
}

func (w *worder) problems(e *jsonschema.ValidationError) []Problem {
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf:
		return w.union(e)
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return []Problem{at(e, "fits several of the alternatives, of which it may fit only one")}
		}
		return w.union(e)
	case *kind.Required:
		return under(e, k.Missing, "is required")
	case *kind.AdditionalProperties:
		if len(e.InstanceLocation) == 0 {
			return under(e, k.Properties, "unknown argument")
		}
		return under(e, k.Properties, "unknown member")
	case *kind.PropertyNames:
		return under(e, []string{k.Property}, "has a name that does not fit")
	case *kind.RefCycle, *kind.InvalidJsonValue:
		w.lost = true
		return nil
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		var out []Problem
		for _, cause := range e.Causes {
			out = append(out, w.problems(cause)...)
		}
		return out
	default:
		return []Problem{at(e, sentence(e.ErrorKind))}
	}
}

// union words the failure of all alternatives. Those are left out that are for values of another type, and if others are left,
// those for another constant; of the one that remains it says what is wrong in it.
func (w *worder) union(e *jsonschema.ValidationError) []Problem {
	var types []string
	var choices []any
	var left []*jsonschema.ValidationError
	got := ""
	for _, cause := range e.Causes {
		cause = unwrap(cause)
		here := len(cause.InstanceLocation) == len(e.InstanceLocation)
		switch k := cause.ErrorKind.(type) {
		case *kind.Type:
			if here {
				types, got = append(types, k.Want...), k.Got
				continue
			}
		case *kind.Const:
			if here {
				choices = append(choices, k.Want)
				continue
			}
		case *kind.Enum:
			if here {
				choices = append(choices, k.Want...)
				continue
			}
		}
		left = append(left, cause)
	}
	if likely := slices.DeleteFunc(slices.Clone(left), saysOtherwise); len(likely) > 0 {
		left = likely
	} else if told, ok := noneNamed(left); ok {
		return []Problem{told}
	}
	switch {
	case len(left) == 1:
		return w.problems(left[0])
	case len(left) > 1:
		return []Problem{at(e, fmt.Sprintf("fits none of the %d alternatives", len(e.Causes)))}
	case len(choices) > 0:
		return []Problem{at(e, "must be "+oneOf(choices, types))}
	default:
		return []Problem{at(e, mustBe(types, got))}
	}
}

// unwrap returns what is behind references and groups of one.
func unwrap(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	for len(e.Causes) == 1 {
		switch e.ErrorKind.(type) {
		case *kind.Reference, *kind.Group, *kind.AllOf, *kind.Schema:
			e = e.Causes[0]
		default:
			return e
		}
	}
	return e
}

// saysOtherwise reports whether a member of the value says, by a constant, that it is meant for another alternative.
func saysOtherwise(e *jsonschema.ValidationError) bool { return len(constants(e)) > 0 }

// constants returns the errors in an alternative that are about a constant.
func constants(e *jsonschema.ValidationError) (found []*jsonschema.ValidationError) {
	for _, cause := range append([]*jsonschema.ValidationError{e}, e.Causes...) {
		cause = unwrap(cause)
		switch cause.ErrorKind.(type) {
		case *kind.Const, *kind.Enum:
			found = append(found, cause)
		}
	}
	return found
}

// noneNamed words that a member says, by a constant, which alternative the value is meant for, and that there is none of that name. It is
// not ok if the alternatives do not all look for it in that one member.
func noneNamed(left []*jsonschema.ValidationError) (told Problem, ok bool) {
	var choices []any
	var at []string
	for _, alternative := range left {
		found := constants(alternative)
		if len(found) != 1 || at != nil && !slices.Equal(at, found[0].InstanceLocation) {
			return Problem{}, false
		}
		at = found[0].InstanceLocation
		switch k := found[0].ErrorKind.(type) {
		case *kind.Const:
			choices = append(choices, k.Want)
		case *kind.Enum:
			choices = append(choices, k.Want...)
		}
	}
	return Problem{Pointer: pointer(at), Detail: "must be " + oneOf(choices, nil)}, len(left) > 1
}

// sentence says what one keyword asks for.
func sentence(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return mustBe(k.Want, k.Got)
	case *kind.Const:
		return "must be " + written(k.Want)
	case *kind.Enum:
		return "must be " + oneOf(k.Want, nil)
	case *kind.Format:
		return "must be " + formatNoun(k.Want)
	case *kind.Pattern:
		return "must match " + clip(k.Want)
	case *kind.MinLength:
		return "must have at least " + count(k.Want, "character")
	case *kind.MaxLength:
		return "must have at most " + count(k.Want, "character")
	case *kind.MinItems:
		return "must have at least " + count(k.Want, "item")
	case *kind.MaxItems:
		return "must have at most " + count(k.Want, "item")
	case *kind.AdditionalItems:
		return "has " + count(k.Count, "item") + " too many"
	case *kind.MinProperties:
		return "must have at least " + count(k.Want, "member")
	case *kind.MaxProperties:
		return "must have at most " + count(k.Want, "member")
	case *kind.UniqueItems:
		return fmt.Sprintf("must not have an item twice, as %d and %d are", k.Duplicates[0], k.Duplicates[1])
	case *kind.Minimum:
		return "must be at least " + number(k.Want)
	case *kind.Maximum:
		return "must be at most " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be greater than " + number(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + number(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + number(k.Want)
	case *kind.DependentRequired:
		return "must have " + clip(strings.Join(k.Missing, ", ")) + " beside " + clip(k.Prop)
	case *kind.Dependency:
		return "must have " + clip(strings.Join(k.Missing, ", ")) + " beside " + clip(k.Prop)
	case *kind.FalseSchema, *kind.Not:
		return "is not allowed"
	case *kind.Contains, *kind.MinContains:
		return "lacks items that are required"
	case *kind.MaxContains:
		return "has too many items of a kind"
	default:
		return "does not fit the schema"
	}
}

// nouns names the types of JSON Schema.
var nouns = map[string]string{"null": "null", "boolean": "a boolean", "number": "a number", "integer": "an integer", "string": "a string",
	"array": "an array", "object": "an object"}

func mustBe(want []string, got string) string {
	var names []string
	for _, t := range []string{"string", "integer", "number", "boolean", "array", "object", "null"} {
		if slices.Contains(want, t) {
			names = append(names, nouns[t])
		}
	}
	text := "must be " + choice(names)
	if got == "number" && slices.Contains(want, "integer") && !slices.Contains(want, "number") {
		return text
	}
	return text + ", not " + nouns[got]
}

// oneOf words an enumeration, or the types that are allowed beside.
func oneOf(values []any, types []string) string {
	var names []string
	for _, value := range values {
		if len(names) == maxChoices {
			return strings.Join(names, ", ") + fmt.Sprintf(" or one of %d others", len(values)-maxChoices+len(types))
		}
		names = append(names, written(value))
	}
	for _, t := range types {
		if name := nouns[t]; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return choice(names)
}

// choice words alternatives: a, b or c.
func choice(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func formatNoun(format string) string {
	switch format {
	case "date-time":
		return "a date and time, such as 2026-01-31T12:00:00Z"
	case "date":
		return "a date, such as 2026-01-31"
	case "time":
		return "a time, such as 12:00:00"
	case "duration":
		return "a duration, such as P1DT12H"
	case "uuid":
		return "a UUID, such as 123e4567-e89b-12d3-a456-426614174000"
	default:
		return "a " + format
	}
}

// written is a value as JSON.
func written(value any) string {
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return "another value"
	}
	return clip(strings.TrimSuffix(text.String(), "\n"))
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// number writes a bound as a decimal.
func number(r *big.Rat) string {
	if r.IsInt() {
		return clip(r.Num().String())
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func clip(s string) string {
	if runes := []rune(s); len(runes) > maxText {
		return string(runes[:maxText]) + "…"
	}
	return s
}

// at is a problem of the value that e is about.
func at(e *jsonschema.ValidationError, detail string) Problem {
	return Problem{Pointer: pointer(e.InstanceLocation), Detail: detail}
}

// under is a problem for each of some members of the value that e is about.
func under(e *jsonschema.ValidationError, names []string, detail string) []Problem {
	var out []Problem
	for _, name := range names {
		out = append(out, Problem{Pointer: pointer(append(slices.Clip(e.InstanceLocation), name)), Detail: detail})
	}
	return out
}

// pointer makes a JSON pointer. If that takes too much it points at the last value around which does not.
func pointer(path []string) string {
	var b strings.Builder
	for _, name := range path {
		if len(name) > maxPointer {
			name = string([]rune(name)[:min(maxPointer, utf8.RuneCountInString(name))])
		}
		token := "/" + strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
		if b.Len() > 0 && b.Len()+len(token) > maxPointer {
			break
		}
		b.WriteString(token)
	}
	return b.String()
}
