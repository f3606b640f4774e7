package handlers

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestBeforeAWorkerIsReadyTheDocumentIsTheContract(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard))
	v31, v30 := c.answer(t, "GET", "/openapi.json", ""), c.answer(t, "GET", "/openapi-3.0.json", "")
	for _, w := range []*httptest.ResponseRecorder{v31, v30} {
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"/commands/{command}"`) || strings.Contains(w.Body.String(), `"name":"commands"`) || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%d %v %.200s", w.Code, w.Header(), w.Body)
		}
	}
	if again := c.answer(t, "GET", "/openapi.json", ""); !bytes.Equal(again.Body.Bytes(), v31.Body.Bytes()) || again.Header().Get("Etag") != v31.Header().Get("Etag") {
		t.Error("asked again it is another")
	}
}
