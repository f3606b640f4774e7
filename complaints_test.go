package main

import (
	"slices"
	"strings"
	"testing"

	"charmer/workerproc"
)

// command describes a command as a worker does that knows the types of all there is.
func command(name string) workerproc.Command {
	return workerproc.Command{Name: name, ArgsSchema: []byte(`{"type":"object","properties":{}}`), ResultSchema: []byte(`{"type":"null"}`)}
}

func TestNamesThatCannotBeThoseOfMethodsAreComplainedAbout(t *testing.T) {
	for _, tt := range []struct {
		names string
		words []string // in the complaint about the last of the names; none if there is none
	}{
		{"greet", nil},
		{"get_user2", nil},
		{"getUser", nil},
		{"shop.price", []string{"warning", "letters a to z"}},
		{"shop:price", []string{"letters a to z"}},
		{"grüße", []string{"letters a to z"}},
		{"class", []string{"Java or Python"}},
		{"default", []string{"Java or Python"}},
		{"lambda", []string{"Java or Python"}},
		{"get_user getUser", []string{"cannot tell it from get_user", "getuser"}},
		{"echo echo", []string{"two commands of this name"}},
		{"echo eco", nil},
	} {
		var commands []workerproc.Command
		for name := range strings.FieldsSeq(tt.names) {
			commands = append(commands, command(name))
		}
		found := complaints(commands)
		if len(tt.words) == 0 {
			if len(found) > 0 {
				t.Errorf("%s: %+v", tt.names, found)
			}
			continue
		}
		if len(found) != 1 || found[0].Command != commands[len(commands)-1].Name {
			t.Errorf("%s: %+v, want one about the last", tt.names, found)
			continue
		}
		for _, word := range tt.words {
			if !strings.Contains(found[0].Level+": "+found[0].Detail, word) {
				t.Errorf("%s: %+v does not say %q", tt.names, found[0], word)
			}
		}
	}
}

func TestTypesThatTellNothingAreComplainedAbout(t *testing.T) {
	hinted, bare := workerproc.Parameter{Name: "x", Annotation: "int"}, workerproc.Parameter{Name: "x"}
	schema := []byte(`{"type":"object","properties":{"x":{}}}`)
	for _, tt := range []struct {
		about  string
		change func(*workerproc.Command)
		want   []string // level, parameter, and a part of the detail
	}{
		{"nothing", func(c *workerproc.Command) { c.Parameters, c.ArgsSchema = []workerproc.Parameter{hinted}, schema }, nil},
		{"a bare parameter", func(c *workerproc.Command) { c.Parameters, c.ArgsSchema = []workerproc.Parameter{bare}, schema }, []string{"note x no type hint"}},
		{"further names", func(c *workerproc.Command) {
			c.Parameters, c.ArgsSchema = []workerproc.Parameter{{Name: "more", Variadic: true}}, []byte(`{"type":"object","additionalProperties":true}`)
		}, []string{"note more no type hint"}},
		{"a batch", func(c *workerproc.Command) {
			c.Parameters, c.ArgsSchema = []workerproc.Parameter{{Name: "calls", Variadic: true}}, []byte(`{"type":"object"}`)
		}, nil},
		{"a result", func(c *workerproc.Command) { c.ResultSchema = nil }, []string{"note  no type hint tells what it returns"}},
		{"no schema", func(c *workerproc.Command) { c.Parameters, c.ArgsSchema = []workerproc.Parameter{hinted}, nil }, []string{"warning  nothing is told of its types"}},
		{"no schema of nothing", func(c *workerproc.Command) { c.ArgsSchema = nil }, nil},
		{"an unknown class", func(c *workerproc.Command) {
			c.Undescribed = []workerproc.Undescribed{{Parameter: "x", Hint: "app.Engine"}}
		}, []string{"warning x the type app.Engine has no form in JSON: it takes anything"}},
		{"an unknown class as result", func(c *workerproc.Command) {
			c.Undescribed, c.ResultSchema = []workerproc.Undescribed{{Hint: "app.Engine"}}, nil
		}, []string{"warning  the type app.Engine of the result has no form"}},
		{"a hint that cannot be read", func(c *workerproc.Command) {
			c.Undescribed = []workerproc.Undescribed{{Parameter: "x", Hint: "Missing", Why: "NameError: Missing"}}
		}, []string{"warning x the type Missing cannot be described: NameError: Missing"}},
	} {
		c := command("work")
		tt.change(&c)
		var got []string
		for _, one := range complaints([]workerproc.Command{c}) {
			got = append(got, one.Level+" "+one.Parameter+" "+one.Detail)
		}
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", tt.about, got, tt.want)
		}
	}
}
