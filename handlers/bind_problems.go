package handlers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/go-playground/validator/v10"

	"charmer/api"
)

// checkParam checks a parameter against rules of validator/v10. It is the CheckParam of api.Routes; the error is a
// *requestError.
func (b *binder) checkParam(in, name string, value any, rules string) error {
	err := b.validate.Var(value, rules)
	if broken, ok := errors.AsType[validator.ValidationErrors](err); ok {
		return invalidParam(in, name, ruleDetail(broken[0]))
	}
	return err
}

// decodeProblem says what kept a body from being decoded. The decoder stops at the first problem.
func decodeProblem(err error) api.FieldError {
	switch e := err.(type) {
	case *json.SemanticError:
		return api.FieldError{Pointer: clipPointer(e.JSONPointer), Detail: semanticDetail(e)}
	case *jsontext.SyntacticError:
		if e.Err == jsontext.ErrDuplicateName {
			return api.FieldError{Pointer: clipPointer(e.JSONPointer), Detail: "duplicate member"}
		}
		return api.FieldError{Pointer: clipPointer(e.JSONPointer), Detail: syntaxDetail(e)}
	}
	return api.FieldError{Detail: "is not valid JSON"}
}

func syntaxDetail(e *jsontext.SyntacticError) string {
	if errors.Is(e.Err, io.ErrUnexpectedEOF) {
		return fmt.Sprintf("is not valid JSON: it ends at byte %d before the value does", e.ByteOffset)
	}
	return fmt.Sprintf("is not valid JSON at byte %d: %s", e.ByteOffset, clip(e.Err.Error()))
}

func semanticDetail(e *json.SemanticError) string {
	want, got := goNoun(e.GoType), jsonNoun(e.JSONKind)
	switch {
	case e.Err == json.ErrUnknownName:
		return "unknown member"
	case errors.Is(e.Err, strconv.ErrRange):
		return "is out of range"
	case want == got || want == "an integer" && got == "a number" || want == "a date and time" && got == "a string":
		return "must be " + want
	default:
		return "must be " + want + ", not " + got
	}
}

// goNoun names the JSON values that a Go type holds.
func goNoun(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "an integer"
	case reflect.Slice, reflect.Array:
		return "an array"
	}
	if t == reflect.TypeFor[time.Time]() {
		return "a date and time"
	}
	return "an object"
}

func jsonNoun(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[', ']':
		return "an array"
	default:
		return "an object"
	}
}

// ruleProblems says which rules the members of a decoded body break. body is its text.
func ruleProblems(err error, body []byte) []api.FieldError {
	broken, ok := errors.AsType[validator.ValidationErrors](err)
	if !ok {
		panic(err) // T is no struct
	}
	out := make([]api.FieldError, 0, min(len(broken), listedErrors))
	for _, rule := range broken {
		if len(out) == listedErrors {
			break
		}
		pointer := rulePointer(rule.Namespace())
		detail := ruleDetail(rule)
		if rule.Tag() == "required" && rule.Kind() == reflect.String && present(body, pointer) {
			detail = "must not be empty"
		}
		out = append(out, api.FieldError{Pointer: string(pointer), Detail: detail})
	}
	return out
}

// rulePointer makes a JSON pointer from a path as validator/v10 gives it, Type.member.list[3].member. The names of
// members are plain: tools/apigen sees to it.
func rulePointer(namespace string) jsontext.Pointer {
	_, path, _ := strings.Cut(namespace, ".")
	var p jsontext.Pointer
	for token := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		p = p.AppendToken(token)
	}
	return p
}

// ruleDetail says what a rule asks for.
func ruleDetail(rule validator.FieldError) string {
	param := rule.Param()
	switch rule.Tag() {
	case "required":
		return "is required"
	case "min":
		return "must " + sized(rule.Kind(), "at least", param)
	case "max":
		return "must " + sized(rule.Kind(), "at most", param)
	case "gt":
		return "must be greater than " + param
	case "lt":
		return "must be less than " + param
	case "oneof":
		return "must be " + choice(strings.Fields(param))
	case "pattern":
		return "must match " + api.Patterns()[param]
	case "json_object":
		return "must be an object"
	default:
		return "breaks the rule " + rule.Tag()
	}
}

// sized words a bound of a string's length in characters, of a list's in items, or of a number.
func sized(k reflect.Kind, bound, param string) string {
	unit := ""
	switch k {
	case reflect.String:
		unit = "character"
	case reflect.Slice:
		unit = "item"
	default:
		return "be " + bound + " " + param
	}
	if param != "1" {
		unit += "s"
	}
	return "have " + bound + " " + param + " " + unit
}

// choice words an enumeration: a, b or c.
func choice(values []string) string {
	last := len(values) - 1
	if last < 1 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// present reports whether the valid JSON text has a value at the pointer.
func present(text []byte, pointer jsontext.Pointer) bool {
	dec := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))
	for token := range pointer.Tokens() {
		if !enter(dec, token) {
			return false
		}
	}
	return true
}

// enter reads from before an object or array up to before its member or item.
func enter(dec *jsontext.Decoder, token string) bool {
	open, err := dec.ReadToken()
	if err != nil {
		return false
	}
	index, _ := strconv.Atoi(token)
	for i := 0; dec.PeekKind() != '}' && dec.PeekKind() != ']'; i++ {
		if open.Kind() == '[' && i == index {
			return true
		}
		if open.Kind() == '{' {
			name, err := dec.ReadToken()
			if err != nil || name.String() == token {
				return err == nil
			}
		}
		if dec.SkipValue() != nil {
			return false
		}
	}
	return false
}
