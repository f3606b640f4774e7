package argschema

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	maxSchema = 128 << 10 // bytes of a schema that is compiled
	maxArgs   = 256 << 10 // bytes of arguments that are checked: more would hold up other calls, and cost memory
	maxWork   = 4 << 20   // bytes of arguments, times how often a value in them is looked at: some tenths of a second at most
)

// Schema is the schema of a command's arguments. It is immutable.
type Schema struct {
	text     jsontext.Value
	compiled *jsonschema.Schema // nil if nothing is checked
	plain    *plain             // what most arguments fit, or nil
	visits   []float64          // by depth; see weigh
	why      string             // nothing is checked although the schema allows not everything, or empty
}

// Problem says what is wrong at one place of the arguments.
type Problem struct {
	Pointer string // JSON pointer into the arguments
	Detail  string // what follows the name of the place: "must be a string, not null"
}

// Compile reads a JSON Schema, of draft 2020-12 unless it says otherwise. The error says why it is none, or refers to what is not in it.
func Compile(text []byte) (*Schema, error) {
	s := &Schema{text: bytes.Clone(text)}
	if len(text) > maxSchema {
		s.why = fmt.Sprintf("it is larger than %d bytes", maxSchema)
		return s, nil
	}
	document, err := decodeSchema(text)
	if err != nil {
		return nil, err
	}
	if acceptsAnything(document) {
		return s, nil
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.UseLoader(noLoader{})
	compiler.UseRegexpEngine(func(pattern string) (jsonschema.Regexp, error) {
		expression, why := translate(pattern)
		if why != "" && s.why == "" {
			s.why = fmt.Sprintf("pattern %.64q: %s", pattern, why)
		}
		return expression, nil
	})
	for _, format := range formats() {
		compiler.RegisterFormat(format)
	}
	compiler.AssertFormat()
	if err := compiler.AddResource(location, document); err != nil {
		return nil, err
	}
	compiled, err := compiler.Compile(location)
	if err != nil {
		return nil, err
	}
	if s.why != "" {
		return s, nil
	}
	if s.visits, err = weigh(compiled); err != nil {
		s.why = err.Error()
		return s, nil
	}
	s.compiled, s.plain = compiled, makePlain(document)
	return s, nil
}

// location is where the library believes a schema to be.
const location = "charmer:///args.json"

// noLoader refuses to load what a schema refers to outside of itself, be it a file or on the network.
type noLoader struct{}

// Load implements jsonschema.URLLoader.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("refers to %.64q, outside of itself", url)
}

// acceptsAnything reports whether a schema allows every object.
func acceptsAnything(document any) bool {
	if document == true {
		return true
	}
	keywords, ok := document.(map[string]any)
	if !ok {
		return false
	}
	for keyword, value := range keywords {
		switch keyword {
		case "title", "description", "deprecated", "examples", "default", "$comment", "$defs":
		case "type":
			if value != "object" {
				return false
			}
		case "additionalProperties":
			if value != true {
				return false
			}
		case "properties":
			if members, ok := value.(map[string]any); !ok || len(members) > 0 {
				return false
			}
		case "required":
			if names, ok := value.([]any); !ok || len(names) > 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// Same reports whether two schemas are written alike, so that arguments fit both or neither. Nil allows everything.
func (s *Schema) Same(other *Schema) bool {
	if s == other {
		return true
	}
	return s != nil && other != nil && bytes.Equal(s.text, other.text)
}

// IsOf reports whether s was compiled from that text. A nil Schema was not.
func (s *Schema) IsOf(text []byte) bool { return s != nil && bytes.Equal(s.text, text) }

// Unchecked says why arguments are not checked, although the schema does not allow everything; it is empty if they are.
func (s *Schema) Unchecked() string { return s.why }

// Check says what is wrong with arguments, which must be valid JSON; empty ones mean {}. It returns nil if they fit, and
// also if that cannot be told exactly and quickly. A nil Schema allows everything.
func (s *Schema) Check(args []byte) []Problem {
	if s == nil || s.compiled == nil || len(args) > maxArgs {
		return nil
	}
	if len(args) == 0 {
		args = []byte("{}")
	}
	if s.plain != nil && s.plain.fits(args) {
		return nil
	}
	value, depth, ok := decodeArgs(args, len(s.visits)-1)
	if !ok || float64(len(args))*s.visits[depth] > maxWork {
		return nil
	}
	err := s.compiled.Validate(value)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return nil
	}
	return problems(invalid)
}
