package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"charmer/bench/load"
)

// payload is S3. What the data costs at least is what one Python process takes to parse it and to write it again.
func payload() *scenario {
	sizes := []struct {
		label string
		value string
	}{
		{"1 KB", records(1_000)}, {"10 KB", records(10_000)}, {"100 KB", records(100_000)}, {"1 MB", records(1_000_000)},
		{"10 MB", records(10_000_000)}, {"10 MB, one string", `"` + strings.Repeat("x", 10_000_000) + `"`},
	}
	s := &scenario{id: "S3", plot: "times json", title: "payloads, one connection",
		about: "A list of records goes in and comes back. `times json` is the median against json.loads and json.dumps of the same text, one after the other in " +
			"one Python process, in the same round.",
		columns: []column{{"p50 ms", "%.2f", true}, {"p99 ms", "%.2f", false}, {"times json", "%.2f", true}, {"CPU s per 1,000", "%.2f", false}, {"memory MB", "%.0f", false}, {"failed", "%.0f", false}},
		entrants: []entrant{
			{contender: alone, title: "json.loads + json.dumps"},
			{contender: charmer, title: "charmer"},
			{contender: charmerOrjson, title: "charmer, orjson and msgspec installed"},
			{contender: ceiling, title: "charmer without Python"},
			{contender: fastAPI, title: "FastAPI, async def"},
			{contender: flask, title: "Flask, gunicorn sync"},
			{contender: mosec, title: "mosec", work: "same"},
			{contender: litServe, title: "LitServe", work: "same"},
			{contender: rayServe, title: "Ray Serve"},
		}}
	for _, size := range sizes {
		s.cases = append(s.cases, size.label)
	}
	s.measure = func(ctx context.Context, e *environment, s *server, index int) (measurement, error) {
		size := sizes[index]
		var m measurement
		var err error
		if s.contender == alone {
			if m, err = e.jsonAlone(ctx, size.value); err != nil {
				return nil, err
			}
			e.notes[size.label] = m["p50 ms"]
		} else {
			command := "same"
			if s.contender == ceiling {
				command = "echo"
			}
			request, err := s.prepare(call{command: command, args: `{"value":` + size.value + `}`, want: size.value})
			if err != nil {
				return nil, err
			}
			m, _, err = e.observed(s, func() (load.Result, error) { return load.Only(s.address, 1, e.length, request), nil })
			if err != nil {
				return nil, err
			}
		}
		if least := e.notes[size.label]; least > 0 {
			m["times json"] = m["p50 ms"] / least
		}
		return m, nil
	}
	return s
}

// records is a JSON list of about size bytes.
func records(size int) string {
	var text strings.Builder
	text.WriteByte('[')
	for i := 0; text.Len() < size; i++ {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"id":%d,"name":"record %d","price":%d.5,"tags":["new","small"],"seen":true,"note":null}`, i, i, i%1000)
	}
	text.WriteByte(']')
	return text.String()
}

// jsonAlone measures json.loads and json.dumps of a text.
func (e *environment) jsonAlone(ctx context.Context, text string) (measurement, error) {
	if err := e.install(ctx, alone.name); err != nil {
		return nil, err
	}
	file := filepath.Join(e.dir, "payload.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, e.python(alone.name), filepath.Join(contenderDir, alone.name, "alone.py"), "json", file, fmt.Sprint(e.length.Seconds())).Output()
	if err != nil {
		return nil, err
	}
	m := measurement{}
	return m, json.Unmarshal(out, &m)
}
