package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

// written counts writes.
type written struct {
	bytes.Buffer
	writes int
}

func (w *written) Write(p []byte) (int, error) {
	w.writes++
	return w.Buffer.Write(p)
}

// logged returns what log leaves of one record in text format, without tint's colors and the time.
func logged(t *testing.T, terminal bool, log func(*slog.Logger)) string {
	t.Helper()
	var out written
	log(newLogger(settings{LogFormat: "text", LogLevel: "info"}, &out, terminal))
	if out.writes != 1 {
		t.Errorf("%d writes, want 1:\n%s", out.writes, &out)
	}
	text := regexp.MustCompile(`\x1b\[(2;)?[0-9]+m`).ReplaceAllString(out.String(), "")
	return regexp.MustCompile(`^\d\d:\d\d:\d\d `).ReplaceAllString(text, "")
}

func TestGuestTextCannotDriveTheTerminal(t *testing.T) {
	evil := "\x1b[2J\x1b]0;title\x07\r\b\x7f\u009b2J\u202e\xff ok\n00:00:00 ERR forged"
	for _, terminal := range []bool{false, true} {
		for name, log := range map[string]func(*slog.Logger){
			"message":   func(l *slog.Logger) { l.Info(evil) },
			"attribute": func(l *slog.Logger) { l.Info("x", "err", strings.ReplaceAll(evil, "\n", "\r")) },
			"spelled":   func(l *slog.Logger) { l.Info("x", "err", `see \x1b[2J`) },
			"error":     func(l *slog.Logger) { l.Info("x", "err", errors.New("\x1b[2J")) },
			"group":     func(l *slog.Logger) { l.WithGroup("g").Info("x", slog.Group("h", "err", evil)) },
			"with":      func(l *slog.Logger) { l.With("err", "\x1b[2J").Info("x") },
			"block":     func(l *slog.Logger) { l.Info("x", "traceback", evil+"\n\x1b[2J") },
			"list":      func(l *slog.Logger) { l.With("output", []string{evil}).Info("x") },
		} {
			got := logged(t, terminal, log)
			if regexp.MustCompile(`[^\n\t[:print:]\x{80}-\x{10ffff}]|\x{9b}|\x{202e}`).MatchString(got) {
				t.Errorf("terminal %v, %s: a control character reaches the terminal: %q", terminal, name, got)
			}
			if regexp.MustCompile(`(?m)^00:00:00`).MatchString(got) {
				t.Errorf("terminal %v, %s: the guest has a line of its own:\n%s", terminal, name, got)
			}
			if !strings.Contains(got, "[2J") {
				t.Errorf("terminal %v, %s: what the guest wrote is lost: %q", terminal, name, got)
			}
		}
	}
}

func TestTextLogsShowTracebacksBelowTheLine(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		got := logged(t, terminal, func(l *slog.Logger) {
			l.With("worker", 1, "traceback", "Traceback (most recent call last):\n\tFile \"app.py\", line 3\nSyntaxError: no\n", "output", []string{"stderr: \"a\"", "stdout: b"}).
				Error("worker failed to start", "empty", []string{}, "stack", "Thread 1:\n  in hold", "err", "two words")
		})
		want := `ERR worker failed to start worker=1 err="two words"
  traceback:
    Traceback (most recent call last):
    	File "app.py", line 3
    SyntaxError: no
  output:
    stderr: "a"
    stdout: b
  stack:
    Thread 1:
      in hold
`
		if got != want {
			t.Errorf("terminal %v: got\n%s\nwant\n%s", terminal, got, want)
		}
	}
}

func TestTextLogsKeepPlainRecordsOnOneLine(t *testing.T) {
	got := logged(t, false, func(l *slog.Logger) {
		l.With("command", "naïve").Warn("déjà vu\t[50%]", "path", "/a/b", "code", 3, "quoted", `a "b"`, "nothing", "", "back", `C:\dir`)
	})
	if want := `WRN déjà vu	[50%] command=naïve path=/a/b code=3 quoted="a \"b\"" nothing="" back="C:\\dir"` + "\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestTheLevelHoldsInBothFormats(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log := newLogger(settings{LogFormat: format, LogLevel: "warn"}, &out, false)
		log.Info("unseen")
		if log.Error("seen", "n", 1); strings.Contains(out.String(), "unseen") || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: %s", format, &out)
		}
	}
	if !newLogger(settings{LogFormat: "text", LogLevel: "warn", Debug: true}, io.Discard, false).Enabled(t.Context(), slog.LevelDebug) {
		t.Error("--debug does not log what debugs")
	}
}
