package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"charmer/api/client"
	"charmer/workerproc"
)

// checkCmd is `charmer check`.
type checkCmd struct {
	JSON     bool `name:"json" help:"Print JSON: the commands as GET /commands has them, and the complaints."`
	Strict   bool `help:"End with exit code 1 if there is anything to complain about."`
	settings `embed:""`
	appArg   `embed:""`
}

// Run starts one worker, prints what it offers, and complains about what callers will stumble over.
func (c *checkCmd) Run(sys system, file *fileSettings) error {
	if err := c.finish(file); err != nil {
		return err
	}
	app, err := c.resolve(c.settings)
	if err != nil {
		return err
	}
	commands, err := c.commands(app, sys.environ)
	if err != nil {
		return err
	}
	found := complaints(commands)
	if c.JSON {
		err = printChecked(sys.stdout, c.called(app), commands, found)
	} else {
		out := &report{out: sys.stdout}
		describeCommands(out, commands)
		describeComplaints(out, len(commands), found)
		err = out.err
	}
	if err == nil && c.Strict && len(found) > 0 {
		return &exitError{code: exitFailed}
	}
	return err
}

// commands starts a worker as the service would, and returns what it offers.
func (c *checkCmd) commands(app string, environ []string) ([]workerproc.Command, error) {
	spawner, err := newSpawner(c.settings, app, environ, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	worker, err := spawner.Spawn(context.Background(), 1, 1, nil)
	if err != nil {
		return nil, errors.Join(&exitError{code: exitApp, err: c.explainStart(c.called(app), err)}, spawner.Close())
	}
	worker.Stop(c.StopGrace)
	return worker.Commands(), spawner.Close()
}

// printChecked is --json.
func printChecked(out io.Writer, app string, commands []workerproc.Command, found []complaint) error {
	document := struct {
		App        string           `json:"app"`
		Commands   []client.Command `json:"commands"`
		Complaints []complaint      `json:"complaints"`
	}{App: app, Commands: []client.Command{}, Complaints: found}
	for _, c := range commands {
		row := client.Command{Name: c.Name, Summary: some(c.Summary), Doc: c.Doc, Parameters: []client.Parameter{}, TimeoutMs: some(c.TimeoutMs),
			Idempotent: c.Idempotent, Isolation: client.CommandIsolationShared, Stream: c.Stream, Concurrency: int64(max(1, c.Concurrency)),
			ArgsSchema: []byte(c.ArgsSchema), ResultSchema: []byte(c.ResultSchema)}
		if c.Fresh() {
			row.Isolation = client.CommandIsolationFresh
		}
		for _, p := range c.Parameters {
			row.Parameters = append(row.Parameters, client.Parameter{Name: p.Name, Required: p.Required, Variadic: p.Variadic, Annotation: some(p.Annotation)})
		}
		document.Commands = append(document.Commands, row)
	}
	text, err := json.Marshal(document, jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, visibleJSON(string(text))+"\n")
	return err
}

// some is a pointer to v, or nil if v is the zero value.
func some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// visibleJSON is visible for JSON text: in its strings, where alone they can stand, it escapes what a terminal would not show.
func visibleJSON(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || unicode.IsGraphic(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// describeCommands prints a table for each command, and one for each object that stands in its arguments or its result.
func describeCommands(out io.Writer, commands []workerproc.Command) {
	for _, c := range commands {
		fmt.Fprintln(out, strings.TrimRight(c.Name+"  "+cell(c.Summary), " "))
		var table strings.Builder
		rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
		if len(c.Parameters) > 0 {
			fmt.Fprint(rows, "    parameter\ttype\trequired\tdefault\n")
		}
		for _, p := range c.Parameters {
			describeParameter(rows, c, p)
		}
		for _, object := range objects(c) {
			fmt.Fprintf(rows, "  %s\t\t\t\n", cell(object.name))
			describeFields(rows, object.value)
		}
		_ = rows.Flush() // a Builder takes all
		for line := range strings.Lines(table.String()) {
			fmt.Fprintln(out, strings.TrimRight(line, " \n"))
		}
		verb := map[bool]string{false: "returns", true: "yields"}[c.Stream]
		fmt.Fprintf(out, "  %s %s\n\n", verb, cell(typeName(c.ResultSchema)))
	}
}

func describeParameter(out io.Writer, c workerproc.Command, p workerproc.Parameter) {
	name, schema, known := p.Name, parameterSchema(c, p), "anything"
	if p.Variadic {
		name = "**" + p.Name
	}
	if c.ArgsSchema == nil {
		known = cmp.Or(p.Annotation, "unknown")
	}
	if schema != nil {
		known = typeName(schema)
	}
	describeRow(out, name, known, p.Required, member(schema, "default"))
}

// describeFields prints the rows of an object's properties.
func describeFields(out io.Writer, object []byte) {
	required := map[string]bool{}
	for _, name := range elements(member(object, "required")) {
		required[unquoted(name)] = true
	}
	for _, field := range members(member(object, "properties")) {
		describeRow(out, field.name, typeName(field.value), required[field.name], member(field.value, "default"))
	}
}

func describeRow(out io.Writer, name, kind string, required bool, value []byte) {
	fmt.Fprintf(out, "    %s\t%s\t%s\t%s\n", cell(name), cell(kind), map[bool]string{false: "no", true: "yes"}[required], cell(string(value)))
}

// maxCell is the most characters in a cell of a table.
const maxCell = 72

// cell makes text fit for a table.
func cell(text string) string {
	text = strings.ReplaceAll(visible(text), "\t", `\t`)
	if runes := []rune(text); len(runes) > maxCell {
		text = string(runes[:maxCell-1]) + "…"
	}
	return text
}

func describeComplaints(out io.Writer, commands int, found []complaint) {
	count := map[string]int{}
	for _, one := range found {
		count[one.Level]++
		place := one.Command
		if one.Parameter != "" {
			place += ", parameter " + one.Parameter
		}
		fmt.Fprintf(out, "%s: %s: %s\n", one.Level, place, one.Detail)
	}
	fmt.Fprintf(out, "%s, %s, %s\n", counted(commands, "command"), counted(count[levelWarning], "warning"), counted(count[levelNote], "note"))
}

// counted is `1 command`, `2 commands`.
func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
