package argschema

import (
	"fmt"
	"strings"
	"testing"
)

// nested is the argument a, in depth objects that hold each other under the name x.
func nested(depth int, innermost string) string {
	return `{"a":` + strings.Repeat(`{"x":`, depth) + innermost + strings.Repeat("}", depth) + "}"
}

func TestWhatWouldTakeLongIsNotChecked(t *testing.T) {
	// Each alternative of the union is tried at each level: 3 to the power of the depth.
	union := `{"type":"object","properties":{"a":{"$ref":"#/$defs/E"}},"$defs":{"E":{"anyOf":[{"type":"integer"},{"$ref":"#/$defs/A"},{"$ref":"#/$defs/B"},{"$ref":"#/$defs/C"}]}`
	for _, name := range []string{"A", "B", "C"} {
		union += fmt.Sprintf(`,%q:{"type":"object","properties":{"x":{"$ref":"#/$defs/E"},%q:true}}`, name, name)
	}
	union += `}}`
	s := compile(t, union)
	if got, want := found(s, nested(4, `"wrong"`)), "/a fits none of the 4 alternatives"; got != want {
		t.Errorf("four levels: %q, want %q", got, want)
	}
	if got := found(s, nested(60, `"wrong"`)); got != "" { // 3^60
		t.Errorf("sixty levels: %q", got)
	}

	// The same without any depth, by references that fork: 2^40.
	fork := `{"type":"object","properties":{"a":{"$ref":"#/$defs/D0"}},"$defs":{`
	for i := range 40 {
		fork += fmt.Sprintf(`"D%d":{"anyOf":[{"$ref":"#/$defs/D%d"},{"$ref":"#/$defs/D%d"}]},`, i, i+1, i+1)
	}
	s = compile(t, fork+`"D40":{"type":"string"}}}`)
	if got := found(s, `{"a":1}`); got != "" {
		t.Errorf("forks: %q", got)
	}

	// A list that refers to itself once is looked at once at each level.
	list := compile(t, `{"type":"object","properties":{"a":{"$ref":"#/$defs/L"}},"$defs":{"L":{"anyOf":[{"type":"object","properties":{"x":{"$ref":"#/$defs/L"}}},{"type":"null"}]}}}`)
	if got, want := found(list, nested(50, `1`)), "/a"+strings.Repeat("/x", 50)+" must be an object or null, not a number"; got != want {
		t.Errorf("list: %q, want %q", got, want)
	}
}

func TestLargeArgumentsArePythonsBusiness(t *testing.T) {
	s := compile(t, taking(`{"type":"integer"}`))
	if got := found(s, `{"a":"`+strings.Repeat("x", maxArgs)+`"}`); got != "" {
		t.Error(got)
	}
	if got := found(s, `{"a":"`+strings.Repeat("x", maxArgs/2)+`"}`); got == "" {
		t.Error("half of that is not checked")
	}
}

func TestExpressionsThatAreLargeAreNotMatchedWithMuch(t *testing.T) {
	s := compile(t, taking(`{"type":"string","pattern":"^(([ab]{30}){30}c|d)$"}`))
	if got := found(s, `{"a":"e"}`); got == "" {
		t.Error("a short one is not checked")
	}
	if got := found(s, `{"a":"`+strings.Repeat("a", 200<<10)+`"}`); got != "" {
		t.Error(got)
	}
}
