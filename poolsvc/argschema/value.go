package argschema

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDigits is how long a whole number may be. Python reads longer ones, but nobody compares those quickly.
const maxDigits = 400

// reader decodes JSON into the values that the library knows: whole numbers as int64, or json.Number where they do not
// fit, and those with a fraction or an exponent as the float64 that Python makes of them.
type reader struct {
	dec     *jsontext.Decoder
	limit   int  // of the depth
	deepest int  // that was met
	beyond  bool // something in it cannot be compared exactly, or it is too deep
}

// readers holds decoders that are not in use.
var readers = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// decodeArgs decodes arguments and returns how deep they are: 0 for {}. It is not ok if they are deeper than limit, or hold
// numbers that cannot be compared exactly and quickly. Names that come twice are the business of who has read the request: as
// in Python, the last one stands.
func decodeArgs(text []byte, limit int) (value any, depth int, ok bool) {
	dec := readers.Get().(*jsontext.Decoder)
	defer readers.Put(dec)
	dec.Reset(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))
	r := reader{dec: dec, limit: limit}
	value = r.value(0)
	return value, r.deepest, !r.beyond
}

// decodeSchema decodes a schema likewise, with exact numbers as the library wants them.
func decodeSchema(text []byte) (any, error) {
	if value := jsontext.Value(text); !value.IsValid() {
		return nil, strconv.ErrSyntax
	}
	var out any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	err := dec.Decode(&out)
	return out, err
}

// value reads the value that is next, at a depth. It gives up, with nil, once something is beyond.
func (r *reader) value(depth int) any {
	if depth > r.limit {
		r.beyond = true
		return nil
	}
	r.deepest = max(r.deepest, depth)
	token, err := r.dec.ReadToken()
	if err != nil {
		r.beyond = true // the caller has not read it before
		return nil
	}
	switch token.Kind() {
	case 't', 'f':
		return token.Bool()
	case '"':
		return token.String()
	case '0':
		return r.number(token.String())
	case '[':
		items := []any{}
		for !r.beyond && r.dec.PeekKind() != ']' {
			items = append(items, r.value(depth+1))
		}
		_, _ = r.dec.ReadToken()
		return items
	case '{':
		members := map[string]any{}
		for !r.beyond && r.dec.PeekKind() != '}' {
			name, err := r.dec.ReadToken()
			if err != nil {
				r.beyond = true
				return nil
			}
			key := name.String()
			members[key] = r.value(depth + 1)
		}
		_, _ = r.dec.ReadToken()
		return members
	default:
		return nil
	}
}

func (r *reader) number(text string) any {
	if strings.ContainsAny(text, ".eE") {
		number, err := strconv.ParseFloat(text, 64)
		r.beyond = r.beyond || err != nil // Python says that it is too large
		return number
	}
	if number, err := strconv.ParseInt(text, 10, 64); err == nil {
		return number
	}
	r.beyond = r.beyond || len(text) > maxDigits
	return json.Number(text)
}
