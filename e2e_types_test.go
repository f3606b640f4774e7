package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// typedApp has a command that takes and returns more than JSON has.
const typedApp = `
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from charmer import command

@dataclass
class Event:
    name: str
    at: datetime
    tags: frozenset[str] = frozenset()

@command
def postpone(event: Event, by: timedelta = timedelta(days=1)) -> Event:
    """Move an event.

    Args:
        event: What to move.
        by: How far.
    """
    assert isinstance(event, Event) and isinstance(event.at, datetime)
    event.at += by
    return event
`

func TestArgumentsAndResultsHaveTheTypesOfTheirHints(t *testing.T) {
	s := servePatiently(t, typedApp, "--workers=1")
	got := s.execute("postpone", `{"event":{"name":"launch","at":"2026-01-31T12:00:00Z","tags":["b","a"]}}`)
	if want := `{"name":"launch","at":"2026-02-01T12:00:00Z","tags":["a","b"]}`; got.status != http.StatusOK || string(got.Result) != want {
		t.Errorf("%d %s %s, want %s", got.status, got.Result, got.Problem.Detail, want)
	}
	wrong := s.execute("postpone", `{"event":{"name":1,"at":"noon","tags":["a","a"],"more":0},"by":"PT1H"}`)
	wrong.wantProblem(t, http.StatusBadRequest, "invalid_args", false)
	pointers := []string{}
	for _, e := range wrong.Problem.Errors {
		pointers = append(pointers, e.Pointer)
	}
	for _, pointer := range []string{"/args/event/name", "/args/event/at"} {
		if !slices.Contains(pointers, pointer) {
			t.Errorf("errors at %q, want one at %s", pointers, pointer)
		}
	}
}

func TestCommandsTellTheirSchemas(t *testing.T) {
	s := servePatiently(t, typedApp, "--workers=1")
	r, err := s.ListCommandsWithResponse(t.Context())
	if err != nil || r.JSON200 == nil || len(r.JSON200.Commands) != 1 {
		t.Fatalf("commands: %v", err)
	}
	c := r.JSON200.Commands[0]
	if c.Summary == nil || *c.Summary != "Move an event." {
		t.Errorf("summary = %v", c.Summary)
	}
	event := `{"type":"object","properties":{"name":{"type":"string"},"at":{"type":"string","format":"date-time"},
		"tags":{"type":"array","items":{"type":"string"},"uniqueItems":true`
	wantSame(t, c.ArgsSchema, `{"type":"object","properties":{"event":{"$ref":"#/$defs/Event","description":"What to move."},
		"by":{"type":"string","format":"duration","default":"P1D","description":"How far."}},"required":["event"],"additionalProperties":false,
		"$defs":{"Event":`+event+`,"default":[]}},"required":["name","at"],"additionalProperties":false}}}`)
	wantSame(t, c.ResultSchema, `{"$ref":"#/$defs/Event","$defs":{"Event":`+event+`}},"required":["name","at","tags"],"additionalProperties":false}}}`)
}

// wantSame compares two JSON texts by what they say.
func wantSame(t *testing.T, got json.RawMessage, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(want), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &b); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
