package workerproc

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"charmer/workerproc/longtext"
)

// protocolVersion is the version of docs/protocol.md that this package speaks.
const protocolVersion = 1

// Hello is the body of HELLO.
type Hello struct {
	Protocol     int    `json:"protocol"`
	PID          int    `json:"pid"`
	Runtime      string `json:"runtime"`       // for instance "charmer-python 0.1.0"
	Language     string `json:"language"`      // for instance "CPython 3.11.7"
	StackSignal  int    `json:"stack_signal"`  // 0 if the worker has none
	CancelSignal int    `json:"cancel_signal"` // 0 if it cannot cancel
	Packets      bool   `json:"packets"`       // it reads a whole packet at a time, and may be sent calls ahead
}

// Ready is the body of READY: what the app offers.
type Ready struct {
	Commands []Command `json:"commands"`
	Hooks    []string  `json:"hooks"` // of "session_start" and "session_end"
}

// Command describes one function of the app.
type Command struct {
	Name        string      `json:"name"`
	Summary     string      `json:"summary"` // first paragraph of Doc, in one line
	Doc         string      `json:"doc"`
	Parameters  []Parameter `json:"parameters"`
	TimeoutMs   float64     `json:"timeout_ms"` // 0 if it has none of its own
	Idempotent  bool        `json:"idempotent"`
	Isolation   string      `json:"isolation"`   // IsolationFresh, or empty or IsolationShared
	Stream      bool        `json:"stream"`      // it yields items
	Concurrency int         `json:"concurrency"` // calls that a worker may have open when one of this command is added; 0 and 1 mean that it runs alone

	// JSON Schema 2020-12 of the arguments as an object, and of the result or one item of it; nil if unknown. Nothing but
	// that they are JSON objects is checked.
	ArgsSchema   jsontext.Value `json:"args_schema"`
	ResultSchema jsontext.Value `json:"result_schema"`

	Undescribed []Undescribed `json:"undescribed"` // the type hints that the schemas tell nothing of
}

// Undescribed is a type hint that JSON Schema cannot tell, or that cannot be read: what it stands for passes as it is.
type Undescribed struct {
	Parameter string `json:"parameter"` // empty for the result
	Hint      string `json:"hint"`
	Why       string `json:"why"` // empty if it is just not known
}

// The values of Command.Isolation. Others count as IsolationFresh, which is the safe one.
const (
	IsolationShared = "shared" // its calls run in any worker
	IsolationFresh  = "fresh"  // each call has a worker of its own, which is stopped after it
)

// Fresh reports whether each call of the command has a worker of its own.
func (c Command) Fresh() bool { return c.Isolation != "" && c.Isolation != IsolationShared }

// Parameter describes one argument of a command.
type Parameter struct {
	Name       string `json:"name"`
	Required   bool   `json:"required"`
	Variadic   bool   `json:"variadic"` // accepts any further name
	Annotation string `json:"annotation"`
}

// progressBody, errorBody and logBody are the bodies of PROGRESS, ERROR and LOG.
type progressBody struct {
	Stage string `json:"stage"`
}

type errorBody struct {
	Kind      string     `json:"kind"`
	Stage     string     `json:"stage"`
	Type      string     `json:"type"`
	Message   string     `json:"message"`
	Traceback string     `json:"traceback"`
	Code      string     `json:"code"`
	Status    int        `json:"status"`
	Errors    []ArgError `json:"errors"`
	Exiting   bool       `json:"exiting"`
	Started   *bool      `json:"started"` // of a cancelled call; nil means that it had begun
}

type logBody struct {
	Level   string `json:"level"`
	Stream  string `json:"stream"`
	Logger  string `json:"logger"`
	Message string `json:"message"`
	Event   bool   `json:"event"` // for the caller, too
}

// ArgError says what is wrong at one place of the arguments. Pointer is a JSON pointer into args.
type ArgError struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// Call is one run of a command or hook.
type Call struct {
	Command      string // name of the command, or of the hook if Hook is set
	Hook         bool
	Args         []byte // JSON object; empty means {}
	RequestID    string
	SessionID    string        // empty outside sessions
	SessionState string        // "new" or "resumed" in a session
	Traceparent  string        // W3C trace context, or empty
	Deadline     time.Time     // when the call is ended if it has no answer
	Shared       bool          // other calls may run in the worker beside it
	Ahead        bool          // it may be sent while others run, and others while it does, to wait in the pipe for their turn
	Awake        time.Duration // how long its answer is awaited with a processor kept awake for it; 0 for not at all

	Events *Feed // takes what the call says before its answer; nil if nobody asks for that
	Stream bool  // its items come one by one, in Events

	Progress func(Progress) // takes each word of its progress, and must return at once; may be nil
}

// appendEnvelope appends the body of a CALL frame. Layout: docs/protocol.md, section 4.
func (c *Call) appendEnvelope(dst []byte, now time.Time) []byte {
	if c.Hook {
		dst = appendMember(append(dst, '{'), "hook", c.Command)
	} else {
		dst = appendMember(append(dst, '{'), "command", c.Command)
	}
	dst = appendMember(append(dst, ','), "request_id", c.RequestID)
	if c.SessionID != "" {
		dst = appendMember(append(dst, `,"session":{`...), "id", c.SessionID)
		dst = append(appendMember(append(dst, ','), "state", c.SessionState), '}')
	}
	left := max(0, c.Deadline.Sub(now))
	dst = append(dst, `,"timeout_ms":`...)
	dst = strconv.AppendFloat(dst, float64(left.Microseconds())/1000, 'f', -1, 64)
	if c.Traceparent != "" {
		dst = appendMember(append(dst, ','), "traceparent", c.Traceparent)
	}
	if c.Stream {
		dst = append(dst, `,"stream":{"credit":`...)
		dst = append(strconv.AppendInt(dst, streamCredit, 10), "}"...)
	}
	if c.Hook {
		return append(dst, '}')
	}
	dst = append(dst, `,"args":`...)
	if len(c.Args) == 0 {
		return append(dst, "{}}"...)
	}
	return append(append(dst, c.Args...), '}')
}

// appendMember appends "name":"value". AppendQuote fails only on invalid UTF-8, and then has written U+FFFD for it.
func appendMember(dst []byte, name, value string) []byte {
	dst = append(append(append(dst, '"'), name...), '"', ':')
	dst, _ = jsontext.AppendQuote(dst, value)
	return dst
}

// dropMisshapenSchemas takes out what cannot be the schema that it stands for: an app is served without rather than not at all.
func (r *Ready) dropMisshapenSchemas() {
	for i := range r.Commands {
		c := &r.Commands[i]
		for _, schema := range []*jsontext.Value{&c.ArgsSchema, &c.ResultSchema} {
			if schema.Kind() != '{' {
				*schema = nil
			}
		}
	}
}

// decodeBody reads the JSON body of a frame into a T. Unknown members are ignored; anything else that is off is an error.
func decodeBody[T any](f Frame) (T, error) {
	var body T
	if err := json.Unmarshal(f.Body, &body); err != nil {
		// Not wrapped: the end of input inside a body must not pass for an end inside a frame.
		return body, fmt.Errorf("body of %s: %v", f.Kind, err)
	}
	return body, nil
}

// checkJSON returns an error unless body is one JSON text in valid UTF-8. Duplicate names are the app's business.
func checkJSON(body []byte) error {
	if !jsontext.Value(longtext.Of(body).Text).IsValid(jsontext.AllowDuplicateNames(true)) {
		return fmt.Errorf("body of RESULT is not JSON: %.64q", body)
	}
	return nil
}
