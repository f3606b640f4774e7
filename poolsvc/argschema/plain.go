package argschema

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// plain is what most schemas say: which members there are, and which kinds of values some of them have. Arguments that fit it fit
// the schema, and are neither decoded nor given to the library. Those that do not may fit all the same.
type plain struct {
	members  map[string]kinds
	required uint64 // their bits
}

// maxPlain is how many members have a bit.
const maxPlain = 64

// kinds are those of JSON that a member may have.
type kinds struct {
	any   bool
	of    string // of jsontext.Kind
	whole bool   // a number among them must have neither fraction nor exponent
	bit   uint64
}

// ofType are the kinds that go by the names of JSON Schema.
var ofType = map[string]string{"null": "n", "boolean": "ft", "string": `"`, "number": "0", "integer": "0", "array": "[", "object": "{"}

// makePlain returns nil if a schema says of the object itself what plain cannot.
func makePlain(document any) *plain {
	schema, _ := document.(map[string]any)
	for keyword, value := range schema {
		switch keyword {
		case "title", "description", "deprecated", "examples", "default", "$comment", "$defs", "properties", "required":
		case "type":
			if value != "object" {
				return nil
			}
		case "additionalProperties":
			if value != false {
				return nil
			}
		default:
			return nil
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	if schema["additionalProperties"] != false || len(properties) > maxPlain {
		return nil
	}
	p := &plain{members: make(map[string]kinds, len(properties))}
	for name, member := range properties {
		k := makeKinds(member)
		k.bit = 1 << len(p.members)
		p.members[name] = k
	}
	names, _ := schema["required"].([]any)
	for _, name := range names {
		text, _ := name.(string)
		k, ok := p.members[text]
		if !ok {
			return nil
		}
		p.required |= k.bit
	}
	return p
}

// makeKinds reads the schema of a member. It is without kinds, so that nothing fits, if it says more than a type or some to choose from.
func makeKinds(document any) kinds {
	schema, _ := document.(map[string]any)
	k := kinds{any: document == true || schema != nil}
	for keyword, value := range schema {
		switch keyword {
		case "title", "description", "deprecated", "examples", "default", "$comment":
		case "type":
			k.any = false
			names, several := value.([]any)
			if !several {
				names = []any{value}
			}
			for _, name := range names {
				text, _ := name.(string)
				k.of += ofType[text]
				k.whole = k.whole || text == "integer"
			}
		case "anyOf":
			if _, both := schema["type"]; both {
				return kinds{}
			}
			k.any = false
			alternatives, _ := value.([]any)
			for _, alternative := range alternatives {
				one := makeKinds(alternative)
				k.any, k.of, k.whole = k.any || one.any, k.of+one.of, k.whole || one.whole
			}
		default:
			return kinds{}
		}
	}
	return k
}

// fits reports whether arguments, which must be valid JSON, surely fit.
func (p *plain) fits(args []byte) bool {
	dec := readers.Get().(*jsontext.Decoder)
	defer readers.Put(dec)
	dec.Reset(bytes.NewBuffer(args), jsontext.AllowDuplicateNames(true))
	if token, err := dec.ReadToken(); err != nil || token.Kind() != '{' {
		return false
	}
	var seen uint64
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return false
		}
		k := p.members[name.String()]
		kind := dec.PeekKind()
		if seen&k.bit != 0 || !k.any && strings.IndexByte(k.of, byte(kind)) < 0 {
			return false
		}
		seen |= k.bit
		if kind != '0' || !k.whole {
			err = dec.SkipValue()
		} else if number, failed := dec.ReadToken(); failed != nil || strings.ContainsAny(number.String(), ".eE") {
			return false
		}
		if err != nil {
			return false
		}
	}
	return seen&p.required == p.required
}
