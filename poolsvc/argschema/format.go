package argschema

import (
	"errors"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var errFormat = errors.New("format")

// formats returns what is checked of the keyword format. What Python reads as a time or a UUID is more than the standards name, and
// differs between its versions and libraries: these refuse only what none of them reads. All other formats are the business of Python.
func formats() []*jsonschema.Format {
	out := []*jsonschema.Format{
		ofStrings("date-time", isTime), ofStrings("date", isTime), ofStrings("time", isTime),
		ofStrings("duration", isDuration), ofStrings("uuid", isUUID),
	}
	for _, name := range []string{"json-pointer", "relative-json-pointer", "period", "ipv4", "ipv6", "hostname", "email", "uri", "iri", "uri-reference",
		"iri-reference", "uri-template", "semver"} { // which the library would check
		out = append(out, ofStrings(name, func(string) bool { return true }))
	}
	return out
}

func ofStrings(name string, valid func(string) bool) *jsonschema.Format {
	return &jsonschema.Format{Name: name, Validate: func(v any) error {
		if s, ok := v.(string); ok && !valid(s) {
			return errFormat
		}
		return nil
	}}
}

// isTime accepts whatever begins as a date or time of ISO 8601 in any of its forms, or as a number.
func isTime(s string) bool {
	s = strings.TrimLeft(s, "+-Tt")
	return s != "" && isDigit(s[0])
}

// isDuration accepts what begins as a duration of ISO 8601, as hours and minutes, or as a number.
func isDuration(s string) bool {
	s = strings.TrimLeft(s, "+-Pp")
	return s != "" && (isDigit(s[0]) || s[0] == 'T' || s[0] == 't' || s[0] == '.')
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isUUID accepts 32 hexadecimal digits with hyphens anywhere, in braces or as a URN, as Python's uuid.UUID.
func isUUID(s string) bool {
	s = strings.NewReplacer("urn:", "", "uuid:", "", "URN:", "", "UUID:", "", "-", "", "{", "", "}", "").Replace(s)
	return len(s) == 32 && strings.Trim(s, "0123456789abcdefABCDEF_") == ""
}
