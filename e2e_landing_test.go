package main

import (
	"html"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

const quotesApp = `
from typing import Annotated, Literal, TypedDict
from charmer import Bounds, command

@command
def quoted(how: Literal["it's <b>'$(id)'</b> & \\ so"]) -> str:
    return how

@command(name="größe.v1:x-y")
def named(text: Annotated[str, Bounds(pattern="^'+$", min_length=2)]) -> str:
    return text

Parcel = TypedDict("Parcel", {"o'clock": int})

@command
def member(parcel: Parcel) -> int:
    return parcel["o'clock"]
`

// shownLines are the lines on the page at / with which to call each command.
func (s *instance) shownLines() []string {
	s.t.Helper()
	page := string(s.raw(http.MethodGet, "/", "", "Accept", "text/html").body)
	var lines []string
	for _, match := range regexp.MustCompile(`(?s)<div class="line"><code[^>]*>(.*?)</code>`).FindAllStringSubmatch(page, -1) {
		lines = append(lines, html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(match[1], "")))
	}
	return lines
}

// TestTheLinesOfTheLandingPageWork has a shell run each of them, as somebody would who copies it.
func TestTheLinesOfTheLandingPageWork(t *testing.T) {
	inOneRun(t)
	mustLook(t, "curl")
	for app, commands := range map[string]int{conformance + "/app.py": 14, quotesApp: 3} {
		s := serve(t, app).ready()
		lines := s.shownLines()
		if len(lines) != commands {
			t.Fatalf("%d lines, want %d: %q", len(lines), commands, lines)
		}
		for _, line := range lines {
			out, err := exec.CommandContext(t.Context(), "sh", "-c", line+` -sS -w '\n%{http_code}'`).CombinedOutput()
			status := string(out[strings.LastIndexByte(string(out), '\n')+1:])
			want := "200"
			if strings.Contains(line, "/commands/sold_out'") { // which it always is
				want = "409"
			}
			if err != nil || status != want {
				t.Errorf("%s\n%v\n%s", line, err, out)
			}
		}
	}
}
