package openapi

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Command is one that the app offers.
type Command struct {
	Name, Summary, Doc string
	Args, Result       []byte // JSON Schemas, the second that of an item if Stream; nil if unknown
	Stream             bool
	Fits               func(args []byte) bool // says whether arguments pass the check of calls
}

// template is the path that all commands have in the contract.
const template = "/commands/{command}"

// Live returns the contract, which is JSON, with a path for each command. Schemas in it that refer to what they do not hold are left out.
func Live(contract []byte, commands []Command) ([]byte, error) {
	parsed, err := parse(contract)
	if err != nil {
		return nil, err
	}
	root, _ := parsed.(*object)
	paths, schemas, general := root.at("paths"), root.at("components", "schemas"), root.at("paths", template, "post")
	if paths == nil || schemas == nil || general == nil {
		return nil, errors.New("the contract has no paths, no schemas, or no " + template)
	}
	if len(commands) == 0 {
		return write(nil, root), nil
	}
	commands = slices.Clone(commands)
	slices.SortFunc(commands, func(a, b Command) int { return compareNames(a.Name, b.Name) })
	ids := operationIDs(commands, staticIDs(paths))
	l := newLifter(schemas)
	for _, c := range commands { // before all else, so that no definition takes the name of arguments
		l.reserve(pascal(ids[c.Name]) + "Args")
		l.reserve(pascal(ids[c.Name]) + "Result")
	}
	tags, _ := root.get("tags").([]any)
	root.set("tags", append(tags, obj("name", text("commands"), "description", text("The commands of the app, each by itself."))))
	for _, c := range commands {
		op := clone(general).(*object)
		describeOperation(op, c, ids[c.Name], l)
		paths.set("/commands/"+url.PathEscape(c.Name), obj("post", op))
	}
	return write(nil, root), nil
}

// describeOperation turns the general operation into that of a command.
func describeOperation(op *object, c Command, id string, l *lifter) {
	op.set("operationId", text(id))
	op.set("tags", []any{text("commands")})
	op.set("summary", text(orElse(c.Summary, "Run "+c.Name)))
	if op.take("description"); c.Doc != c.Summary { // else generators write it twice
		op.set("description", text(c.Doc))
	}
	name := pascal(id)
	content := obj("schema", ref("Arguments"))
	required := jsontext.Value("false")
	if args := l.lift(c.Args, name, "Args"); args != nil {
		l.schemas.set(name+"Args", args)
		content.set("schema", ref(name+"Args"))
		if list, _ := args.get("required").([]any); len(list) > 0 {
			required = jsontext.Value("true")
		}
		resolve := func(reference string) any { return l.schemas.get(strings.TrimPrefix(reference, schemasAt)) }
		if example := exampleOf(args, resolve, func(v any) bool { return c.Fits(write(nil, v)) }); example != nil {
			content.set("example", example)
		}
	}
	op.set("requestBody", obj("required", required, "content", obj("application/json", content)))

	result := l.result(c, name)
	replies := op.at("responses", "200", "content")
	if c.Stream {
		result = obj("type", text("array"), "items", result)
	} else {
		replies.take("text/event-stream")
		replies.take("application/x-ndjson")
	}
	replies.set("application/json", obj("schema", result))
}

// result returns the schema of the result of a command, or of one item. What has members or alternatives becomes a schema with a name.
func (l *lifter) result(c Command, name string) *object {
	s := l.lift(c.Result, name, "Result")
	if s == nil {
		return obj("description", text("What the command returned."))
	}
	for _, keyword := range []string{"properties", "anyOf", "oneOf", "allOf", "enum"} {
		if s.has(keyword) {
			l.schemas.set(name+"Result", s)
			return ref(name + "Result")
		}
	}
	return s
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
