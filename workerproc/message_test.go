package workerproc

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

var testNow = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func TestEnvelopesAreThoseOfTheGoldenFrames(t *testing.T) {
	calls := map[string]Call{
		"call.frame": {Command: "greet", RequestID: "r-1", SessionID: "u1", SessionState: "new", Args: []byte(`{"name":"Ada"}`),
			Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Deadline: testNow.Add(30 * time.Second)},
		"call-plain.frame": {Command: "greet", RequestID: "r-2", Deadline: testNow.Add(1500*time.Millisecond + 500*time.Microsecond)},
		"call-hook.frame": {Command: "session_start", Hook: true, RequestID: "r-3", SessionID: "u1", SessionState: "new",
			Deadline: testNow.Add(time.Second)},
		"call-stream.frame": {Command: "count", RequestID: "r-4", Stream: true, Args: []byte(`{"to":3}`), Deadline: testNow.Add(30 * time.Second)},
	}
	for _, g := range goldens(t) {
		if g.Kind != "CALL" {
			continue
		}
		call, ok := calls[g.File]
		if !ok {
			t.Errorf("no call makes %s", g.File)
		}
		if got := string(call.appendEnvelope(nil, testNow)); got != g.Body {
			t.Errorf("%s: envelope\n%s, want\n%s", g.File, got, g.Body)
		}
	}
}

func TestGoldenBodiesAreDecoded(t *testing.T) {
	want := map[string]any{
		"hello.frame":    Hello{Protocol: 1, PID: 4711, Runtime: "charmer-python 0.1.0", Language: "CPython 3.11.7", StackSignal: 39},
		"progress.frame": progressBody{Stage: "import app"},
		"ready.frame": Ready{Hooks: []string{"session_start", "session_end"}, Commands: []Command{{
			Name: "greet", Summary: "Greet somebody.", Doc: "Greet somebody.", TimeoutMs: 1500, Idempotent: true, Isolation: IsolationFresh, Parameters: []Parameter{
				{Name: "name", Required: true, Annotation: "str"}, {Name: "excited", Annotation: "bool"}},
			ArgsSchema: jsontext.Value(`{"type":"object","properties":{"name":{"type":"string"},"excited":{"type":"boolean","default":false}},` +
				`"required":["name"],"additionalProperties":false}`),
			ResultSchema: jsontext.Value(`{"type":"string"}`)}}},
		"error-exception.frame": errorBody{Kind: "exception", Type: "ValueError", Message: "no such row",
			Traceback: "Traceback (most recent call last):\n  File \"app.py\", line 3, in greet\nValueError: no such row\n"},
		"error-command.frame": errorBody{Kind: "command_error", Type: "charmer.CommandError", Message: "not sold here",
			Code: "not_in_catalogue", Status: 404},
		"error-args.frame": errorBody{Kind: "invalid_args", Message: "arguments do not fit greet",
			Errors: []ArgError{{Pointer: "/nmae", Detail: "unknown argument"}}},
		"error-start.frame": errorBody{Kind: "start", Stage: "import app", Type: "ModuleNotFoundError",
			Message: "No module named 'nmupy'", Traceback: "Traceback …"},
		"error-exiting.frame": errorBody{Kind: "exception", Type: "SystemExit", Message: "3", Exiting: true},
		"error-cancelled.frame": errorBody{Kind: "cancelled", Type: "charmer.Cancelled",
			Traceback: "Traceback (most recent call last):\n  File \"app.py\", line 3, in greet\ncharmer.Cancelled\n"},
		"error-not-started.frame": errorBody{Kind: "cancelled", Message: "the call was cancelled before it began", Started: new(bool)},
		"progress-call.frame":     Progress{Fraction: new(0.5), Message: "half of the rows"},
		"log-event.frame":         logBody{Level: "info", Stream: "log", Logger: "charmer", Message: "loading rows", Event: true},
		"log-stdout.frame":        logBody{Level: "info", Stream: "stdout", Message: "loading"},
		"log-logging.frame":       logBody{Level: "warning", Stream: "log", Logger: "app.db", Message: "slow query"},
	}
	for _, g := range goldens(t) {
		var got any
		var err error
		switch frame := g.frame(t); frame.Kind {
		case KindHello:
			got, err = decodeBody[Hello](frame)
		case KindProgress:
			if frame.ID == 0 {
				got, err = decodeBody[progressBody](frame)
			} else {
				got, err = decodeBody[Progress](frame)
			}
		case KindReady:
			got, err = decodeBody[Ready](frame)
		case KindError:
			got, err = decodeBody[errorBody](frame)
		case KindLog:
			got, err = decodeBody[logBody](frame)
		case KindResult:
			got, err = want[g.File], checkJSON(frame.Body)
		default:
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", g.File, err)
		}
		if diff := cmp.Diff(want[g.File], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", g.File, diff)
		}
	}
}

func TestUnknownMembersAreIgnored(t *testing.T) {
	body := []byte(`{"commands":[{"name":"a","new":{"x":[1]},"parameters":[{"name":"p","more":1}]}],"streams":true}`)
	got, err := decodeBody[Ready](Frame{Kind: KindReady, Body: body})
	want := Ready{Commands: []Command{{Name: "a", Parameters: []Parameter{{Name: "p"}}}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}

func TestSchemasThatAreNoObjectsAreLeftOut(t *testing.T) {
	body := []byte(`{"commands":[{"name":"a","args_schema":{"type":"object"},"result_schema":true},{"name":"b","args_schema":null,"result_schema":"x"}]}`)
	got, err := decodeBody[Ready](Frame{Kind: KindReady, Body: body})
	got.dropMisshapenSchemas()
	want := Ready{Commands: []Command{{Name: "a", ArgsSchema: jsontext.Value(`{"type":"object"}`)}, {Name: "b"}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}

func TestArgumentsAreSplicedInByteForByte(t *testing.T) {
	for _, args := range []string{`{}`, ` {"a" :1.0e0,` + "\n" + `"b":"\u00fc"} `, `{"a":1,"a":2}`, `{"big":12345678901234567890123}`} {
		c := Call{Command: "c", Args: []byte(args), Deadline: testNow}
		if got, want := string(c.appendEnvelope([]byte("in front"), testNow)), `,"args":`+args+`}`; !strings.HasSuffix(got, want) {
			t.Errorf("envelope %s does not end in %s", got, want)
		}
	}
}

func TestTimeoutIsWhatIsLeftInMilliseconds(t *testing.T) {
	tests := []struct {
		left time.Duration
		want string
	}{
		{30 * time.Second, "30000"},
		{1500 * time.Microsecond, "1.5"},
		{time.Microsecond, "0.001"},
		{999 * time.Nanosecond, "0"},
		{0, "0"},
		{-time.Hour, "0"},
		{24 * 365 * time.Hour, "31536000000"},
	}
	for _, tt := range tests {
		c := Call{Command: "c", Deadline: testNow.Add(tt.left)}
		if got := string(c.appendEnvelope(nil, testNow)); !strings.Contains(got, `"timeout_ms":`+tt.want+`,`) {
			t.Errorf("%s left: envelope %s, want timeout_ms %s", tt.left, got, tt.want)
		}
	}
	forever := Call{Command: "c", Deadline: time.Unix(1<<55, 0)}
	if got := forever.appendEnvelope(nil, testNow); !jsontext.Value(got).IsValid() {
		t.Errorf("a deadline beyond all durations makes %s", got)
	}
}

// FuzzEnvelope makes the envelope of any call: it is valid JSON, says what the call says, and ends in its arguments.
func FuzzEnvelope(f *testing.F) {
	f.Add("greet", "r-1", "u1", "new", "00-a-b-01", []byte(`{"name":"Ada"}`), false, int64(30e9))
	f.Add("session_end", "", "u\xff", "", "", []byte(nil), true, int64(-1))
	f.Add("\x00\"\\\u2028\U0001F40D", "\xc3\x28\xed\xa0\x80", "", "x", "y", []byte(` { } `), false, int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, command, request, session, state, trace string, args []byte, hook bool, left int64) {
		if v := jsontext.Value(args); v.Kind() != '{' || !v.IsValid(jsontext.AllowDuplicateNames(true)) {
			args = nil
		}
		c := Call{Command: command, Hook: hook, RequestID: request, SessionID: session, SessionState: state,
			Traceparent: trace, Args: args, Deadline: testNow.Add(time.Duration(left))}
		envelope := c.appendEnvelope(nil, testNow)
		if err := checkJSON(envelope); err != nil {
			t.Fatal(err)
		}
		if len(args) == 0 {
			args = []byte("{}")
		}
		if tail := `,"args":` + string(args) + `}`; !hook && !bytes.HasSuffix(envelope, []byte(tail)) {
			t.Errorf("%s does not end in %s", envelope, tail)
		}
		checkEnvelope(t, &c, envelope)
	})
}

// envelopeBody is the body of a CALL as a worker sees it.
type envelopeBody struct {
	Command   *string `json:"command"`
	Hook      *string `json:"hook"`
	RequestID string  `json:"request_id"`
	Session   *struct {
		ID    string `json:"id"`
		State string `json:"state"`
	} `json:"session"`
	TimeoutMs   *float64       `json:"timeout_ms"`
	Traceparent *string        `json:"traceparent"`
	Args        jsontext.Value `json:"args"`
}

func checkEnvelope(t *testing.T, c *Call, envelope []byte) {
	t.Helper()
	var got envelopeBody
	if err := json.Unmarshal(envelope, &got, jsontext.AllowDuplicateNames(true), json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%s: %v", envelope, err)
	}
	name, other := got.Command, got.Hook
	if c.Hook {
		name, other = other, name
	}
	if name == nil || *name != sane(c.Command) || other != nil || c.Hook == (got.Args != nil) {
		t.Errorf("%s: wrong command or hook", envelope)
	}
	if got.RequestID != sane(c.RequestID) {
		t.Errorf("%s: wrong request_id", envelope)
	}
	if (got.Session == nil) != (c.SessionID == "") {
		t.Errorf("%s: session there = %t", envelope, got.Session != nil)
	}
	if s := got.Session; s != nil && (s.ID != sane(c.SessionID) || s.State != sane(c.SessionState)) {
		t.Errorf("%s: wrong session", envelope)
	}
	if (got.Traceparent == nil) != (c.Traceparent == "") || got.Traceparent != nil && *got.Traceparent != sane(c.Traceparent) {
		t.Errorf("%s: wrong traceparent", envelope)
	}
	left := max(0, c.Deadline.Sub(testNow)).Microseconds()
	if got.TimeoutMs == nil || *got.TimeoutMs != float64(left)/1000 {
		t.Errorf("%s: wrong timeout_ms for %d µs", envelope, left)
	}
}

// sane replaces each byte that is not UTF-8 by U+FFFD.
func sane(s string) string { return string([]rune(s)) }

// FuzzDecodeBody decodes any body as each message. What was decoded survives another round.
func FuzzDecodeBody(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add([]byte(g.Body))
	}
	f.Add([]byte(`{"kind":"exception","kind":"bad_result"}`))
	f.Add([]byte("{\"kind\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		again[Hello](t, body)
		again[Ready](t, body)
		again[progressBody](t, body)
		again[logBody](t, body)
		refusal, ok := again[errorBody](t, body)
		if !ok {
			return
		}
		failed, err := refusal.commandError()
		if (failed == nil) == (err == nil) {
			t.Fatalf("error %v and failure %v from %q", failed, err, body)
		}
		if failed != nil && string(failed.Kind) != refusal.Kind {
			t.Fatalf("kind %q from %q", failed.Kind, body)
		}
	})
}

func again[T any](t *testing.T, body []byte) (T, bool) {
	t.Helper()
	first, err := decodeBody[T](Frame{Kind: KindReady, Body: body})
	if err != nil {
		if !strings.HasPrefix(err.Error(), "body of READY: ") {
			t.Fatalf("error %q does not name the frame", err)
		}
		return first, false
	}
	if !jsontext.Value(body).IsValid() {
		t.Fatalf("%q is no JSON but was decoded", body)
	}
	written, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	second, err := decodeBody[T](Frame{Kind: KindReady, Body: written})
	if err != nil {
		t.Fatal(err)
	}
	if rewritten, _ := json.Marshal(second); !bytes.Equal(written, rewritten) {
		t.Fatalf("%q was decoded to %s, that to %s", body, written, rewritten)
	}
	return first, true
}

func TestUnknownIsolationCountsAsFresh(t *testing.T) {
	for isolation, want := range map[string]bool{"": false, IsolationShared: false, IsolationFresh: true, "vm": true} {
		if got := (Command{Isolation: isolation}).Fresh(); got != want {
			t.Errorf("isolation %q: fresh = %v, want %v", isolation, got, want)
		}
	}
}
