package longtext

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func TestLongStringsAreCut(t *testing.T) {
	x := strings.Repeat("x", 10)
	for _, tt := range []struct{ text, want string }{
		{`"` + x + `"`, `""`},
		{`{"a":"` + x + `","b":["` + x + x + `",1]}`, `{"a":"","b":["",1]}`},
		{`{"a":"short","b":"` + x + x + x + `"}`, `{"a":"short","b":""}`},
		{`{"` + x + `" : "` + x + x + x + `"}`, `{"` + x + `" : ""}`},
		{`["` + x + `é","` + x + x + x + `"]`, `["` + x + `é",""]`},
		{`["` + x + `","` + strings.Repeat("y", 8), `["` + x + `","` + strings.Repeat("y", 8)}, // less than half is left out
		{`["` + x + "\x1f" + `"]`, `["` + x + "\x1f" + `"]`},
		{`["` + x + `\n"]`, `["` + x + `\n"]`},
		{`"` + x, `"` + x},
		{x, x},
		{``, ``},
	} {
		if c := cut([]byte(tt.text), 1, 10); string(c.Text) != tt.want {
			t.Errorf("%s: %s, want %s", tt.text, c.Text, tt.want)
		}
	}
}

func TestAValueIsFoundInTheWholeText(t *testing.T) {
	x, y := strings.Repeat("x", 100), strings.Repeat("y", 200)
	text := `{"a":"` + x + `","b":{"c":"` + y + `","d":"` + x + `"},"e":1}`
	c := cut([]byte(text), 1, 10)
	for value, holes := range map[string]int{
		`"` + x + `"`: 1, `{"c":"` + y + `","d":"` + x + `"}`: 2, `1`: 0, text: 3,
	} {
		short := strings.NewReplacer(x, "", y, "").Replace(value)
		from := strings.Index(string(c.Text), short)
		begin, end, n := c.Original(from, from+len(short))
		if text[begin:end] != value || n != holes {
			t.Errorf("%s: %s with %d holes", short, text[begin:end], n)
		}
	}
	if c.Holes() != 3 {
		t.Errorf("%d holes, want 3", c.Holes())
	}
}

func TestTextWithoutLongStringsIsNotCopied(t *testing.T) {
	text := []byte("[" + strings.Repeat(`"short",`, minText) + `"` + strings.Repeat("x", minText) + `"]`)
	if c := Of(text); &c.Text[0] != &text[0] || c.Holes() != 0 {
		t.Errorf("%d holes", c.Holes())
	}
}

func FuzzCut(f *testing.F) {
	for _, seed := range []string{`["xxxxxxxx","é"]`, `{"xxxxxxxx":"xxxxxxxx","xxxxxxxy":1}`, `{"a":"xxxxxxxx"`, `"xxxxxxxx""`, `["xx\"xxxxxx"]`, "[\"xxxxxxxx\x00\"]",
		`{"a" "xxxxxxxx" :1}`, strings.Repeat("x", 40) + `"` + strings.Repeat("y", 40) + `"`, "[\"" + strings.Repeat("x", 33) + "\x7f\",\xff]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		c := cut(text, 1, 8)
		for _, duplicates := range []bool{false, true} {
			allow := jsontext.AllowDuplicateNames(duplicates)
			if whole, left := jsontext.Value(text).IsValid(allow), jsontext.Value(c.Text).IsValid(allow); whole != left {
				t.Errorf("%q is valid: %v; %q: %v", text, whole, c.Text, left)
			}
		}
		if begin, end, holes := c.Original(0, len(c.Text)); begin != 0 || end != len(text) || holes != c.Holes() {
			t.Errorf("%q is from %d to %d in %q, with %d of %d holes", c.Text, begin, end, text, holes, c.Holes())
		}
		if !bytes.Equal(before, text) {
			t.Errorf("%q was changed to %q", before, text)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	for name, text := range map[string][]byte{
		"string":  []byte(`{"value":"` + strings.Repeat("abcdefghij", 1<<20) + `"}`),
		"records": []byte("[" + strings.Repeat(`{"name":"Ada","score":1.5},`, 400_000) + "1]"),
		"escapes": []byte(`{"value":"` + strings.Repeat("abcdefghi\\n", 1<<20) + `"}`),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				Of(text)
			}
		})
	}
}
