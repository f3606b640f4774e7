package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"charmer/api/client"
)

// talking is an app whose commands say who calls them, and speak in every way there is.
const talking = meeting + `
import ctypes, logging, subprocess, threading, warnings
import charmer

@command
def who() -> list:
    call = charmer.current()
    print(f"asked by {call.request_id}")
    return [call.request_id, call.command, call.session_id]

@command
def talk(dir: str, word: str) -> str:
    print(f"print {word}")
    print(f"sys.stderr {word}", file=sys.stderr)
    logging.getLogger("app.db").warning("logging %s", word)
    logging.getLogger("app.db").info("two lines %s\nsecond line %s", word, word)
    logging.error("root logger %s", word)
    logging.debug("below the level %s", word)
    warnings.warn(f"warning {word}")
    thread = threading.Thread(target=lambda: print(f"thread {word}"))
    thread.start()
    thread.join()
    os.write(1, f"descriptor 1 {word}\n".encode())
    os.write(2, f"descriptor 2 {word}\n".encode())
    ctypes.CDLL(None).puts(f"stdio {word}".encode())
    ctypes.CDLL(None).fflush(None)
    subprocess.run(["echo", f"program {word}"], check=True)
    wait_for(dir, word + ".heard")
    print(f"no newline {word}", end="")
    return word
`

// withRequestID sets the header of a request.
func withRequestID(id string) client.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("X-Request-Id", id)
		return nil
	}
}

func TestTheRequestIDIsInReplyLogAndPython(t *testing.T) {
	s := serve(t, talking)
	s.full(2)
	session := "u1"
	for _, row := range []struct {
		id      string
		taken   bool
		session *string
	}{{"r-1.a:B_2", true, nil}, {"in-a-session", true, &session}, {"", false, nil}, {"has space", false, nil}, {"ümlaut", false, nil}} {
		edit := withRequestID(row.id)
		r, err := s.ExecuteWithResponse(t.Context(), nil, client.ExecuteRequest{Command: "who", Args: json.RawMessage("{}"), SessionID: row.session,
			TimeoutMs: new(float64(minutes)), CheckoutTimeoutMs: new(float64(minutes))}, edit)
		if err != nil || r.JSON200 == nil {
			t.Fatalf("%q: %v %s", row.id, err, r.Body)
		}
		id := r.HTTPResponse.Header.Get("X-Request-Id")
		if (id == row.id) != row.taken || id == "" || r.JSON200.RequestID != id {
			t.Errorf("sent %q, got %q in the header and %q in the body", row.id, id, r.JSON200.RequestID)
		}
		if want := asJSON([]any{id, "who", row.session}); string(r.JSON200.Result) != want {
			t.Errorf("Python says %s, want %s", r.JSON200.Result, want)
		}
		said := s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == "asked by "+id })
		if said["request_id"] != id || said["command"] != "who" || said["worker"] != float64(r.JSON200.Worker.ID) || said["pid"] != float64(r.JSON200.Worker.PID) {
			t.Errorf("log of what it printed: %v", said)
		}
		s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == "request" && l["request_id"] == id && l["path"] == "/execute" })
	}

	r, err := s.ExecuteWithResponse(t.Context(), nil, client.ExecuteRequest{Command: "no_such"}, withRequestID("of-a-refusal"))
	if err != nil || r.ApplicationProblemJSON404 == nil || r.ApplicationProblemJSON404.RequestID != "of-a-refusal" {
		t.Errorf("a refusal: %v %s", err, r.Body)
	}
	s.log.await(t, s.exited, func(l logLine) bool {
		return l["msg"] == "request" && l["request_id"] == "of-a-refusal" && l["status"] == 404.0
	})
}

// TestWhatACommandSaysIsLoggedWithItsCall has two commands talk at once. Each line must name its own worker, command and
// request; what reaches the descriptors from elsewhere than Python does, too, as only one call runs on each worker.
func TestWhatACommandSaysIsLoggedWithItsCall(t *testing.T) {
	s := serve(t, talking)
	s.full(2)
	dir := t.TempDir()
	var calls sync.WaitGroup
	replies := map[string]*client.ExecuteResponse{}
	for _, word := range []string{"left", "right"} {
		reply := new(client.ExecuteResponse)
		replies[word] = reply
		calls.Go(func() {
			r, err := s.ExecuteWithResponse(t.Context(), nil, client.ExecuteRequest{Command: "talk", Args: fmt.Appendf(nil, `{"dir":%q,"word":%q}`, dir, word),
				TimeoutMs: new(float64(minutes))}, withRequestID("of-"+word))
			if err != nil {
				t.Error(err)
				return
			}
			*reply = *r
		})
	}
	heard := map[string][]logLine{}
	for _, word := range []string{"left", "right"} {
		for _, line := range []struct{ text, stream, level, logger string }{
			{"print", "stdout", "DEBUG", ""},
			{"sys.stderr", "stderr", "DEBUG", ""},
			{"logging", "log", "WARN", "app.db"},
			{"two lines", "log", "INFO", "app.db"},
			{"second line", "log", "INFO", "app.db"},
			{"root logger", "log", "ERROR", "root"},
			{"thread", "stdout", "DEBUG", ""},
			{"descriptor 1", "stdout", "DEBUG", ""},
			{"descriptor 2", "stderr", "DEBUG", ""},
			{"stdio", "stdout", "DEBUG", ""},
			{"program", "stdout", "DEBUG", ""},
		} {
			text := line.text + " " + word
			l := s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == text })
			logger, _ := l["logger"].(string)
			if l["stream"] != line.stream || l["level"] != line.level || logger != line.logger {
				t.Errorf("%q is logged as %v", text, l)
			}
			heard[word] = append(heard[word], l)
		}
		heard[word] = append(heard[word], s.log.await(t, s.exited, func(l logLine) bool {
			return l["logger"] == "py.warnings" && l["level"] == "WARN" && strings.Contains(fmt.Sprint(l["msg"]), "warning "+word)
		}))
		touch(t, dir, word+".heard")
	}
	calls.Wait()
	for word, lines := range heard {
		r := replies[word]
		if r.JSON200 == nil {
			t.Fatalf("talk %s: %s", word, r.Body)
		}
		lines = append(lines, s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == "no newline "+word }))
		for _, l := range lines {
			if l["request_id"] != "of-"+word || l["command"] != "talk" || l["worker"] != float64(r.JSON200.Worker.ID) || l["pid"] != float64(r.JSON200.Worker.PID) {
				t.Errorf("%q does not name its call: %v", l["msg"], l)
			}
		}
	}
	below := func(l logLine) bool { return strings.HasPrefix(fmt.Sprint(l["msg"]), "below the level") }
	if lines := s.log.lines(below); len(lines) > 0 {
		t.Errorf("logged: %v", lines)
	}
}
