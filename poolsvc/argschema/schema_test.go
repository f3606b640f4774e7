package argschema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// compile compiles a schema whose arguments must then be checked.
func compile(t testing.TB, text string) *Schema {
	t.Helper()
	s, err := Compile([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// taking is the schema of a command that takes one argument a, which must be there, and no other.
func taking(schema string) string {
	return `{"type":"object","properties":{"a":` + schema + `},"required":["a"],"additionalProperties":false}`
}

// found is what Check says, a line for each problem.
func found(s *Schema, args string) string {
	var lines []string
	for _, p := range s.Check([]byte(args)) {
		lines = append(lines, p.Pointer+" "+p.Detail)
	}
	return strings.Join(lines, "\n")
}

func TestProblemsAreOneSentenceEach(t *testing.T) {
	const defs = `{"type":"object","properties":{"a":{"anyOf":[{"$ref":"#/$defs/Cat"},{"$ref":"#/$defs/Dog"},{"type":"null"}]}},"required":["a"],
		"$defs":{"Cat":{"type":"object","properties":{"kind":{"const":"cat"},"lives":{"type":"integer"}},"required":["kind","lives"],"additionalProperties":false},
		"Dog":{"type":"object","properties":{"kind":{"const":"dog"},"tail":{"type":"boolean"}},"required":["kind"],"additionalProperties":false}}}`
	for _, tt := range []struct{ schema, args, want string }{
		{taking(`{"type":"string"}`), `{}`, `/a is required`},
		{taking(`{"type":"string"}`), ``, `/a is required`},
		{taking(`{"type":"string"}`), `{"a":1}`, `/a must be a string, not a number`},
		{taking(`{"type":"string"}`), `{"a":null}`, `/a must be a string, not null`},
		{taking(`{"type":"string"}`), `{"a":"x","b/c~d":1,"é":2}`, "/b~1c~0d unknown argument\n/é unknown argument"},
		{taking(`{"type":"integer"}`), `{"a":1.5}`, `/a must be an integer`},
		{taking(`{"type":"integer"}`), `{"a":true}`, `/a must be an integer, not a boolean`},
		{taking(`{"type":["integer","null"]}`), `{"a":"1"}`, `/a must be an integer or null, not a string`},
		{taking(`{"anyOf":[{"type":"integer"},{"type":"null"}]}`), `{"a":"1"}`, `/a must be an integer or null, not a string`},
		{taking(`{"anyOf":[{"type":"integer","minimum":3},{"type":"null"}]}`), `{"a":1}`, `/a must be at least 3`},
		{taking(`{"anyOf":[{"type":"array","items":{"type":"string"}},{"type":"string"}]}`), `{"a":["x",1]}`, `/a/1 must be a string, not a number`},
		{taking(`{"anyOf":[{"const":"auto"},{"type":"integer"}]}`), `{"a":"x"}`, `/a must be "auto" or an integer`},
		{taking(`{"enum":["red","green"]}`), `{"a":"blue"}`, `/a must be "red" or "green"`},
		{taking(`{"enum":[1,2,3,4,5,6,7,8,9,10]}`), `{"a":11}`, `/a must be 1, 2, 3, 4, 5, 6, 7, 8 or one of 2 others`},
		{taking(`{"type":"number","exclusiveMinimum":0,"maximum":2.5}`), `{"a":0}`, `/a must be greater than 0`},
		{taking(`{"type":"number","exclusiveMinimum":0,"maximum":2.5}`), `{"a":2.75}`, `/a must be at most 2.5`},
		{taking(`{"multipleOf":0.1}`), `{"a":0.35}`, `/a must be a multiple of 0.1`},
		{taking(`{"type":"string","minLength":2,"maxLength":3}`), `{"a":"é"}`, `/a must have at least 2 characters`},
		{taking(`{"type":"string","pattern":"^[a-z]+$"}`), `{"a":"A"}`, `/a must match ^[a-z]+$`},
		{taking(`{"type":"string","format":"uuid"}`), `{"a":"x"}`, `/a must be a UUID, such as 123e4567-e89b-12d3-a456-426614174000`},
		{taking(`{"type":"string","format":"date-time"}`), `{"a":"tomorrow"}`, `/a must be a date and time, such as 2026-01-31T12:00:00Z`},
		{taking(`{"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false,"minItems":2}`), `{"a":[1,2,3]}`, "/a/1 must be a string, not a number\n/a/2 is not allowed"},
		{taking(`{"type":"array","uniqueItems":true}`), `{"a":[1,2,1.0]}`, `/a must not have an item twice, as 0 and 2 are`},
		{taking(`{"type":"object","additionalProperties":{"type":"integer"}}`), `{"a":{"x":"y"}}`, `/a/x must be an integer, not a string`},
		{defs, `{"a":{"kind":"cat"}}`, `/a/lives is required`},
		{defs, `{"a":{"kind":"dog","tail":1,"lives":9}}`, "/a/lives unknown member\n/a/tail must be a boolean, not a number"},
		{defs, `{"a":{"kind":"cow"}}`, `/a/kind must be "cat" or "dog"`},
		{taking(`{"anyOf":[{"properties":{"k":{"const":1},"v":{"const":1}}},{"properties":{"k":{"const":2},"v":{"const":1}}}]}`), `{"a":{"k":3,"v":2}}`, `/a fits none of the 2 alternatives`},
		{taking(`{"anyOf":[{"properties":{"k":{"const":1}}},{"properties":{"v":{"const":1}}}]}`), `{"a":{"k":3,"v":2}}`, `/a fits none of the 2 alternatives`},
		{defs, `{"a":1}`, `/a must be an object or null, not a number`},
		{defs, `{"a":null,"b":1}`, ``},
	} {
		if got := found(compile(t, tt.schema), tt.args); got != tt.want {
			t.Errorf("%s with %s:\n%s\nwant\n%s", tt.schema, tt.args, got, tt.want)
		}
	}
}

// TestWhatPythonWouldAcceptIsNotRefused has what a check by the letter, or by Go's way of reading, would refuse.
func TestWhatPythonWouldAcceptIsNotRefused(t *testing.T) {
	big := strings.Repeat("9", 300)
	for _, tt := range []struct{ schema, a string }{
		{`{"type":"integer"}`, `1.0`}, {`{"type":"integer"}`, `1e3`}, {`{"type":"integer"}`, `-0`}, {`{"type":"integer"}`, big}, {`{"type":"integer"}`, strings.Repeat("9", 4000)},
		{`{"type":"integer","maximum":` + big + `}`, big}, {`{"const":` + big + `}`, big}, {`{"enum":[1]}`, `1.0`}, {`{"enum":[9007199254740993]}`, `9007199254740993`},
		{`{"type":"number","maximum":1}`, `1.00000000000000000001`}, // for a float it is 1
		{`{"type":"number","minimum":0}`, `-1e-999`},                // for a float it is 0
		{`{"type":"number","maximum":1}`, `1e999`},                  // Python says that it is too large
		{`{"type":"number","maximum":1}`, `1e999999999999`},
		{`{"multipleOf":0.1}`, `0.3`}, {`{"multipleOf":0.01}`, `1234567.89`},
		{`{"type":"string","pattern":"^\\w+$"}`, `"naïve"`}, {`{"type":"string","pattern":"^\\d$"}`, `"٣"`}, {`{"type":"string","pattern":"^a$"}`, `"a\n"`},
		{`{"type":"string","pattern":"^[\\w-]+\\s[^\\d]$"}`, `"é-é\u00a0٣"`}, {`{"type":"string","pattern":"^\\S\\W$"}`, `"é!"`}, {`{"type":"string","pattern":"^[]a]+$"}`, `"]a"`},
		{`{"type":"string","maxLength":1}`, `"😀"`},
		{`{"type":"string","format":"date-time"}`, `"2024-02-30 25:00"`}, {`{"type":"string","format":"date-time"}`, `"20240230T1000"`}, {`{"type":"string","format":"date-time"}`, `"1700000000"`},
		{`{"type":"string","format":"time"}`, `"T10:00"`}, {`{"type":"string","format":"duration"}`, `"-PT1.5S"`}, {`{"type":"string","format":"duration"}`, `"1 day, 02:00:00"`},
		{`{"type":"string","format":"uuid"}`, `"{12345678-1234-5678-1234-567812345678}"`}, {`{"type":"string","format":"uuid"}`, `"urn:uuid:12345678123456781234567812345678"`},
		{`{"type":"string","format":"email"}`, `"x"`}, {`{"type":"string","format":"ipv4"}`, `"x"`}, {`{"type":"string","format":"nobody knows"}`, `"x"`},
		{`{"type":"string","contentEncoding":"base64","contentMediaType":"application/json"}`, `"%"`},
		{`{"type":"string","pattern":"^(?=a)b"}`, `"x"`}, {`{"type":"string","pattern":"(a)\\1"}`, `"x"`}, {`{"type":"string","pattern":"\\bx"}`, `"y"`}, {`{"type":"string","pattern":"^x{,2}$"}`, `"xx"`},
		{`{"properties":{"b":{"$ref":"#/properties/a"}}}`, strings.Repeat(`{"b":`, 9000) + "1" + strings.Repeat("}", 9000)},
	} {
		if got := found(compile(t, taking(tt.schema)), `{"a":`+tt.a+`}`); got != "" {
			t.Errorf("%s with %.80s: %s", tt.schema, tt.a, got)
		}
	}
}

func TestTheLastOfTwoMembersStands(t *testing.T) {
	s := compile(t, taking(`{"type":"integer"}`))
	if got := found(s, `{"a":"x","a":1}`); got != "" {
		t.Errorf("refused: %s", got)
	}
	if got, want := found(s, `{"a":1,"a":"x"}`), "/a must be an integer, not a string"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPlainArgumentsAreNotDecoded(t *testing.T) {
	s := compile(t, plainly)
	for args, want := range map[string]bool{
		`{"a":1,"b":null}`: true, `{"b":-0.5e3,"c":{"c":[1e999]},"a":false}`: true, `{"a":12345678901234567890,"b":1}`: true,
		`{}`: false, `{"a":1}`: false, `{"a":1,"a":1}`: false, `{"a":1,"b":1,"d":1}`: false, `{"a":"1","b":1}`: false, `{"a":1.0,"b":1}`: false, `{"a":1,"b":"x"}`: false, `[]`: false,
	} {
		if got := s.plain.fits([]byte(args)); got != want {
			t.Errorf("%s: %v, want %v", args, got, want)
		}
	}
	for _, schema := range []string{`{"type":"object"}`, `{"additionalProperties":false,"required":["a"]}`, `{"additionalProperties":false,"minProperties":1}`,
		`{"additionalProperties":{"type":"string"}}`, `{"type":"array","additionalProperties":false}`, `true`} {
		if s := compile(t, schema); s.plain != nil {
			t.Errorf("%s is not plain", schema)
		}
	}
}

func TestSchemasThatAllowEverythingAreNotLookedAt(t *testing.T) {
	for _, text := range []string{`true`, `{}`, `{"type":"object"}`, `{"type":"object","properties":{},"required":[],"additionalProperties":true,"description":"any"}`} {
		if s := compile(t, text); s.compiled != nil || s.Unchecked() != "" {
			t.Errorf("%s is compiled, or not checked because %q", text, s.Unchecked())
		}
	}
	var none *Schema
	if got := found(none, `{"a":1}`); got != "" {
		t.Errorf("no schema: %s", got)
	}
}

func TestWhatCannotBeCheckedSaysWhy(t *testing.T) {
	for schema, why := range map[string]string{
		taking(`{"pattern":"(?=a)"}`):                                      "groups with (?",
		taking(`{"pattern":"(a)\\1"}`):                                     "invalid escape sequence",
		taking(`{"pattern":"a{1001}"}`):                                    "repeat count",
		taking(`{"patternProperties":{"[[:alpha:]]":true}}`):               "sets of characters",
		taking(`{"$ref":"#/properties/a"}`):                                "without an end",
		taking(`{"$dynamicRef":"#x","$dynamicAnchor":"x"}`):                "depend on where",
		taking(`{"description":"` + strings.Repeat("x", maxSchema) + `"}`): "larger than",
	} {
		if s := compile(t, schema); !strings.Contains(s.Unchecked(), why) || s.Check([]byte(`{}`)) != nil {
			t.Errorf("%.100s: %q and %v, want one about %q and no check", schema, s.Unchecked(), s.Check([]byte(`{}`)), why)
		}
	}
}

func TestWhatIsNoSchemaIsAnError(t *testing.T) {
	for _, text := range []string{``, `1`, `null`, `{`, `{"type":"text"}`, `{"properties":[]}`, `{"$ref":"#/$defs/None"}`, `{"$ref":"file:///etc/hostname"}`,
		`{"$ref":"http://127.0.0.1:1/x"}`, `{"$ref":"other.json"}`, `{"$schema":"http://127.0.0.1:1/x"}`, `{"minimum":"1"}`} {
		if s, err := Compile([]byte(text)); err == nil {
			t.Errorf("%s: no error, but %+v", text, s)
		}
	}
}

func TestProblemsAreBounded(t *testing.T) {
	s := compile(t, taking(`{"type":"array","items":{"type":"object","additionalProperties":{"type":"integer"}}}`))
	var items []string
	for i := range 50 {
		items = append(items, fmt.Sprintf(`{"%s%d":"x"}`, strings.Repeat("n", 150+i*5), i))
	}
	got := s.Check([]byte(`{"a":[` + strings.Join(items, ",") + `]}`))
	if len(got) != maxProblems+1 {
		t.Fatalf("%d problems, want %d", len(got), maxProblems+1)
	}
	if diff := cmp.Diff(Problem{Detail: "and 34 more do not fit"}, got[maxProblems]); diff != "" {
		t.Error(diff)
	}
	for _, p := range got {
		if len(p.Pointer) > maxPointer || len(p.Detail) > 300 {
			t.Errorf("pointer of %d and detail of %d bytes", len(p.Pointer), len(p.Detail))
		}
	}
}

func TestSchemasThatAreWrittenAlikeAreTheSame(t *testing.T) {
	a, b, c := compile(t, taking(`true`)), compile(t, taking(`true`)), compile(t, taking(`{}`))
	var none *Schema
	if !a.Same(b) || a.Same(c) || a.Same(none) || none.Same(a) || !none.Same(none) {
		t.Errorf("same: %v, others: %v %v %v, none: %v", a.Same(b), a.Same(c), a.Same(none), none.Same(a), none.Same(none))
	}
}
