package mcptools

import (
	stdjson "encoding/json"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The protocol, before 2026-07-28, wants schemas whose root says "type": "object".
const (
	anyObject = `{"type":"object"}`
	anyItems  = `{"properties":{"result":{"type":"array"}},"required":["result"],"type":"object"}`
)

const defsPrefix = "#/$defs/"

// inputSchema returns the schema of a tool's arguments.
func inputSchema(args jsontext.Value) stdjson.RawMessage {
	if schema := asObject(args); schema != nil {
		return stdjson.RawMessage(schema)
	}
	return stdjson.RawMessage(anyObject)
}

// outputSchema returns the schema of a tool's structured content, nil if nothing is known of it, and whether that has the result as a member.
func outputSchema(c Command) (schema stdjson.RawMessage, wrapped bool) {
	if len(c.Result) == 0 {
		if c.Stream {
			return stdjson.RawMessage(anyItems), true
		}
		return nil, false
	}
	if !c.Stream {
		if schema := asObject(c.Result); schema != nil {
			return stdjson.RawMessage(schema), false
		}
	}
	return wrap(c.Result, c.Stream), true
}

// asObject returns the schema with "type": "object" at its root, or nil if it allows anything but objects.
func asObject(schema jsontext.Value) jsontext.Value {
	root := members(schema)
	if root == nil || !onlyObjects(root, root, 0) {
		return nil
	}
	if root["type"] != nil {
		return schema
	}
	root["type"] = jsontext.Value(`"object"`)
	return encode(root)
}

// onlyObjects reports whether a part of a schema says by its type, or that of what it refers to, that it allows objects alone.
func onlyObjects(root, part map[string]jsontext.Value, depth int) bool {
	if kind, ok := part["type"]; ok {
		return text(kind) == "object"
	}
	name, ok := strings.CutPrefix(text(part["$ref"]), defsPrefix)
	if !ok || depth > 8 { // which refers to itself
		return false
	}
	target := members(members(root["$defs"])[name])
	return target != nil && onlyObjects(root, target, depth+1)
}

// wrap returns the schema of an object with a result, or a list of results, as its member. $defs stays at the root, where references look
// for it.
func wrap(schema jsontext.Value, list bool) stdjson.RawMessage {
	inner := members(schema)
	outer := map[string]jsontext.Value{"type": jsontext.Value(`"object"`), "required": jsontext.Value(`["result"]`)}
	if defs, ok := inner["$defs"]; ok {
		outer["$defs"] = defs
		delete(inner, "$defs")
	}
	result := encode(inner)
	if list {
		result = encode(map[string]jsontext.Value{"type": jsontext.Value(`"array"`), "items": result})
	}
	outer["properties"] = encode(map[string]jsontext.Value{"result": result})
	return stdjson.RawMessage(encode(outer))
}

// members returns those of a JSON object, or nil if it is none.
func members(value jsontext.Value) map[string]jsontext.Value {
	var out map[string]jsontext.Value
	if value.Kind() != '{' || json.Unmarshal(value, &out) != nil {
		return nil
	}
	return out
}

// text returns the string that a JSON text is, or "" if it is none.
func text(value jsontext.Value) string {
	var out string
	if value.Kind() != '"' || json.Unmarshal(value, &out) != nil {
		return ""
	}
	return out
}

func encode(value map[string]jsontext.Value) jsontext.Value {
	out, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		panic("bug: what was JSON cannot be encoded: " + err.Error())
	}
	return out
}
