package handlers

import (
	"io"
	"testing"

	"charmer/api"
)

func TestACommandWhoseCallsAreFreshSaysWhatItDoesNotTake(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard, withVaried(nil)))
	c.answer(t, "POST", "/execute", `{"command":"any"}`) // waits for the first worker
	lease := reading[api.CheckoutReply](t, c.answer(t, "POST", "/checkout", `{"type":"anonymous"}`)).LeaseID
	for _, tt := range []struct{ path, body, pointer string }{
		{"/execute", `{"command":"alone","session_id":"u1"}`, "/session_id"},
		{"/execute", `{"command":"alone","lease_id":"` + lease + `"}`, "/lease_id"},
		{"/commands/alone?session_id=u1", `{}`, "query/session_id"},
		{"/commands/alone?lease_id=" + lease, `{}`, "query/lease_id"},
	} {
		problem := reading[api.Problem](t, c.answer(t, "POST", tt.path, tt.body))
		if problem.Status != 400 || problem.Code != string(api.ProblemCodeInvalidRequest) || len(problem.Errors) != 1 || problem.Errors[0].Pointer != tt.pointer {
			t.Errorf("%s %s: %+v", tt.path, tt.body, problem)
		}
	}
}
