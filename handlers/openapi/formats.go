package openapi

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// widen says of numbers in v how large they are, which JSON Schema leaves open and generators then take for 32 bits: what Python's float
// is, and 64 bits for its int, unless a number that stands there is beyond that.
func widen(v any) {
	eachObject(v, func(s *object) {
		typ := s.str("type")
		if list, _ := s.get("type").([]any); len(list) > 0 {
			others := slices.DeleteFunc(slices.Clone(list), func(v any) bool { return str(v) == "null" })
			if len(others) == 1 {
				typ = str(others[0])
			}
		}
		switch {
		case s.has("format"):
		case typ == "number":
			s.set("format", text("double"))
		case typ == "integer" && !s.beyond():
			s.set("format", text("int64"))
		}
	})
}

// beyond reports whether a schema names a whole number that 64 bits cannot hold: as a bound, a choice or a default.
func (o *object) beyond() bool {
	named, _ := o.get("enum").([]any)
	named = slices.Clone(named)
	for _, name := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "const", "default"} {
		named = append(named, o.get(name))
	}
	return slices.ContainsFunc(named, func(v any) bool {
		raw, _ := v.(jsontext.Value)
		_, err := strconv.ParseInt(string(raw), 10, 64)
		return errors.Is(err, strconv.ErrRange)
	})
}

// dropNaive takes away the defaults in v that are no date-time as their format says: pydantic tells those without a time zone, and
// validators refuse a document with one.
func dropNaive(v any) {
	eachObject(v, func(s *object) {
		if moment := s.str("default"); moment != "" && s.str("format") == "date-time" {
			if _, err := time.Parse(time.RFC3339, moment); err != nil {
				s.take("default")
			}
		}
	})
}
