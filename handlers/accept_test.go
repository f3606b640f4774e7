package handlers

import (
	"net/http/httptest"
	"testing"
)

func TestTheMediaTypeIsTheOneThatTheClientLikesBest(t *testing.T) {
	const (
		j = "application/json"
		h = "text/html"
	)
	for _, tt := range []struct {
		want   string
		accept []string
	}{
		{j, nil},
		{j, []string{""}},
		{j, []string{"*/*"}}, // curl, and most libraries
		{h, []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"}},
		{h, []string{"text/html, application/xhtml+xml, */*"}}, // named goes before taken among others
		{h, []string{"text/html"}},
		{h, []string{"text/*"}},
		{h, []string{"Text/HTML; Charset=utf-8"}},
		{h, []string{"image/png", "text/html"}}, // two headers
		{j, []string{"application/json"}},
		{j, []string{"application/json, text/html"}},
		{j, []string{"text/html, application/json"}}, // equally: ours to choose
		{h, []string{"text/html, application/json;q=0.9"}},
		{j, []string{"text/html;q=0.8, application/json;q=0.9"}},
		{j, []string{"text/html;Q=0.1, */*;q=0.2"}}, // the narrowest range decides, not the largest
		{h, []string{"text/*;q=0.1, text/html, */*;q=0.2"}},
		{j, []string{"text/html;q=0, */*"}},
		{h, []string{"application/json;q=0, */*"}},
		{h, []string{"application/*;q=0, text/html;q=0.001"}},
		{j, []string{"image/png"}}, // nothing that there is
		{j, []string{"text/html;q=0"}},
		{j, []string{"*/*;q=0"}},
		{j, []string{"text/html;q=2"}}, // malformed
		{j, []string{"text/html;q=NaN"}},
		{j, []string{"text/html;q=x, */*"}},
		{j, []string{"text"}},
		{j, []string{";;;,,,\"\x00"}},
		{h, []string{",, text/html;, "}},
	} {
		if got := preferred(tt.accept, j, h); got != tt.want {
			t.Errorf("Accept %q: %s, want %s", tt.accept, got, tt.want)
		}
	}
}

func TestAStreamIsForThoseWhoTakeIt(t *testing.T) {
	for _, tt := range []struct {
		format string
		orJSON bool
		accept []string
	}{
		{"", true, nil},
		{"", true, []string{""}},
		{"", true, []string{"*/*"}},
		{"", true, []string{"application/json"}},
		{"", true, []string{"image/png"}}, // nothing that there is
		{eventStream, false, []string{"text/event-stream"}},
		{eventStream, false, []string{"text/*"}},
		{jsonLines, false, []string{"application/x-ndjson"}},
		{eventStream, true, []string{"text/event-stream, application/json"}}, // the one that is named first
		{"", true, []string{"application/json, text/event-stream"}},
		{jsonLines, true, []string{"application/json;q=0.5, application/x-ndjson"}},
		{jsonLines, true, []string{"application/x-ndjson, */*;q=0.1"}},
		{eventStream, true, []string{"text/event-stream", "application/json"}}, // two headers
		{"", true, []string{"text/event-stream;q=0"}},
		{"", true, []string{"text/event-stream;q=0, */*"}},
		{"", true, []string{"text/event-stream;q=0, application/json"}},
		{jsonLines, false, []string{"text/event-stream;q=0, application/x-ndjson"}},
		{eventStream, false, []string{"application/json;q=0, text/event-stream"}},
		{eventStream, false, []string{"application/json;q=0.0, */*"}},
	} {
		r := httptest.NewRequest("POST", "/execute", nil)
		r.Header["Accept"] = tt.accept
		if format, orJSON := streamFormat(r); format != tt.format || orJSON != tt.orJSON {
			t.Errorf("Accept %q: %q, JSON %v, want %q, %v", tt.accept, format, orJSON, tt.format, tt.orJSON)
		}
	}
}

func TestGzipIsForThoseWhoTakeIt(t *testing.T) {
	for value, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "gzip, deflate, br, zstd": true, "br;q=1.0, gzip;q=0.5": true, "gzip;q=0": false,
		"gzip;q=0, *": false, "*": true, "*;q=0": false, "identity": false, "x-gzip-not": false,
	} {
		if got := acceptsGzip([]string{value}); got != want {
			t.Errorf("Accept-Encoding %q: %v, want %v", value, got, want)
		}
	}
}
