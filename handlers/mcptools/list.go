package mcptools

import (
	"encoding/json"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// CommandKey is the member of a tool's _meta that has the name of its command, where that is not the tool's.
const CommandKey = "charmer/command"

// Command is what a tool is made of.
type Command struct {
	Name, Summary, Doc string
	Args, Result       jsontext.Value // JSON Schemas, objects; nil if unknown. With Stream, Result is that of one item.
	Stream, Idempotent bool
}

// List is the tools of an app. It is immutable.
type List struct {
	Tools    []*mcp.Tool // in the order of the commands
	commands map[string]string
	wrapped  map[string]bool // by command
}

// New makes the tools of commands, which are sorted by name and have different ones.
func New(commands []Command) *List {
	l := &List{Tools: []*mcp.Tool{}, commands: map[string]string{}, wrapped: map[string]bool{}}
	names := toolNames(commands)
	for i, c := range commands {
		output, wrapped := outputSchema(c)
		tool := &mcp.Tool{
			Name: names[i], Title: strings.TrimSuffix(c.Summary, "."), Description: c.Doc, InputSchema: inputSchema(c.Args),
			Annotations: &mcp.ToolAnnotations{IdempotentHint: c.Idempotent},
		}
		if output != nil {
			tool.OutputSchema = output
		}
		if names[i] != c.Name {
			tool.Meta = mcp.Meta{CommandKey: c.Name}
			if tool.Title == "" {
				tool.Title = c.Name
			}
		}
		l.Tools = append(l.Tools, tool)
		l.commands[names[i]] = c.Name
		l.wrapped[c.Name] = wrapped
	}
	return l
}

// Command returns the name of the command behind a tool. A name that no tool has is taken for a command's own: a session may run
// an older generation of the app, which has others.
func (l *List) Command(tool string) string {
	if command, ok := l.commands[tool]; ok {
		return command
	}
	return tool
}

// Structured returns a result of a command as the structured content of its tool, which is an object: the result itself if its schema, or
// without one the result, is an object, else {"result":…}.
func (l *List) Structured(command string, result []byte) json.RawMessage {
	if !l.wrapped[command] && jsontext.Value(result).Kind() == '{' {
		return result
	}
	const open = `{"result":`
	out := make([]byte, 0, len(open)+len(result)+1)
	return append(append(append(out, open...), result...), '}')
}
