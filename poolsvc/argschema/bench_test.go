package argschema

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// row is the schema of a command with parameters of the usual kinds.
const row = `{"type":"object","additionalProperties":false,"required":["user","items"],"properties":{"user":{"type":"string"},"limit":{"type":"integer","default":10},
	"ratio":{"anyOf":[{"type":"number"},{"type":"null"}],"default":null},"mode":{"enum":["fast","exact"]},"dry_run":{"type":"boolean"},"since":{"type":"string","format":"date-time"},
	"items":{"type":"array","items":{"$ref":"#/$defs/Item"}}},
	"$defs":{"Item":{"type":"object","additionalProperties":false,"required":["id"],"properties":{"id":{"type":"integer"},"name":{"type":"string","maxLength":40},"tags":{"type":"array","items":{"type":"string"}}}}}}`

// rowArgs are arguments for it of about size bytes.
func rowArgs(size int) []byte {
	var items []string
	const head = `{"user":"ada","limit":20,"ratio":0.5,"mode":"exact","dry_run":true,"since":"2026-01-02T03:04:05Z","items":[`
	for n := len(head); n < size-30; n += len(items[len(items)-1]) + 1 {
		items = append(items, fmt.Sprintf(`{"id":%d,"name":"thing","tags":["a","b"]}`, len(items)))
	}
	return []byte(head + strings.Join(items, ",") + "]}")
}

// BenchmarkCheck has as much garbage gather before it is collected as in the service, whose heap is larger than that of a test.
func BenchmarkCheck(b *testing.B) {
	defer runtime.KeepAlive(make([]byte, 16<<20))
	for _, bb := range []struct {
		name, schema string
		args         []byte
	}{
		{"none/200B", "", rowArgs(200)},
		{"anything/200B", `{"type":"object"}`, rowArgs(200)},
		{"row/200B", row, rowArgs(200)},
		{"row/64KiB", row, rowArgs(64 << 10)},
		{"string/200B", taking(`{"type":"string"}`), []byte(`{"a":"` + strings.Repeat("x", 192) + `"}`)},
		{"refused/200B", row, append(rowArgs(200)[:len(rowArgs(200))-2], `,"x"],"y":1}`...)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var s *Schema
			if bb.schema != "" {
				s = compile(b, bb.schema)
			}
			if got := s.Check(bb.args); (got != nil) != strings.HasPrefix(bb.name, "refused") {
				b.Fatal(got)
			}
			b.SetBytes(int64(len(bb.args)))
			b.ReportAllocs()
			for b.Loop() {
				s.Check(bb.args)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		compile(b, row)
	}
}
