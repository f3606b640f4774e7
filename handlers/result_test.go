package handlers

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"charmer/api"
)

func TestTheReplyToACallIsThatOfTheContract(t *testing.T) {
	large := `"` + strings.Repeat("x", writePiece) + `"`
	for _, want := range []api.ExecuteReply{
		{Result: jsontext.Value("null"), RequestID: "r-1", Worker: api.WorkerRef{ID: 1, PID: 2, Generation: 3}},
		{Result: jsontext.Value(`{"a": 1, "a": 2}`), RequestID: strings.Repeat("r", 128), Worker: api.WorkerRef{ID: 1 << 53, PID: 1 << 22, Generation: 1},
			Session: &api.SessionRef{ID: "\"<\u2028\n\\", State: api.SessionRefStateNew}, Timing: api.Timing{QueueMs: 0.001, RunMs: 123456.789, TotalMs: 1e7}},
		{Result: jsontext.Value(large), RequestID: "r", Session: &api.SessionRef{ID: "u1", State: api.SessionRefStateResumed}},
	} {
		w := httptest.NewRecorder()
		sendResult(w, executeRest{want.RequestID, want.Worker, want.Session, want.Timing}, want.Result)
		var got api.ExecuteReply
		if err := json.Unmarshal(w.Body.Bytes(), &got, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(true)); err != nil {
			t.Fatalf("%v in %.300s", err, w.Body)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}
