package handlers

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"charmer/api"
)

// benchmarkBody returns an execute request of about size bytes, with args of many small members or of one string.
func benchmarkBody(size int, oneString bool) []byte {
	const head = `{"command":"predict","session_id":"user-4711","timeout_ms":1500,"checkout_timeout_ms":200,"args":{`
	args := `"text":"` + strings.Repeat("x", size-len(head)-11) + `"`
	if !oneString {
		var rows []string
		for n := len(head); n < size; n += len(rows[len(rows)-1]) + 1 {
			rows = append(rows, fmt.Sprintf(`"row%d":{"id":%d,"score":0.5,"tags":["a","b"],"ok":true}`, len(rows), len(rows)))
		}
		args = strings.Join(rows, ",")
	}
	return []byte(head + args + "}}")
}

func BenchmarkBind(b *testing.B) {
	for _, bb := range []struct {
		name string
		body []byte
	}{
		{"200B", benchmarkBody(200, true)},
		{"64KiB-members", benchmarkBody(64<<10, false)},
		{"64KiB-string", benchmarkBody(64<<10, true)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			binder := newBinder(1 << 20)
			body := bytes.NewReader(bb.body)
			r := jsonRequest("")
			r.Body, r.ContentLength = io.NopCloser(body), int64(len(bb.body))
			b.SetBytes(int64(len(bb.body)))
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(bb.body)
				if _, err := bind[api.ExecuteRequest](binder, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBindRefusal(b *testing.B) {
	binder := newBinder(1 << 20)
	text := []byte(`{"command":"","args":[],"timeout_ms":-1}`)
	body := bytes.NewReader(text)
	r := jsonRequest("")
	r.Body, r.ContentLength = io.NopCloser(body), int64(len(text))
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(text)
		if _, err := bind[api.ExecuteRequest](binder, r); err == nil {
			b.Fatal("accepted")
		}
	}
}
