package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"charmer/bench/load"
)

// call is a call of one function, in no contender's words.
type call struct {
	command string
	args    string // JSON object
	want    string // JSON of the result; empty if nobody compares it
	accept  string
}

// dialect is how a contender is told about a call, and what it answers.
type dialect struct {
	request func(c call) *load.Request
	// result returns the result in an answer, and how much of the answer is the same every time.
	result func(body []byte) (result []byte, fixed int, err error)
}

// executeDialect is that of charmer: POST /execute.
var executeDialect = dialect{
	request: func(c call) *load.Request {
		return load.NewRequest("/execute", c.accept, fmt.Appendf(nil, `{"command":%q,"args":%s}`, c.command, c.args))
	},
	result: func(body []byte) ([]byte, int, error) {
		var answer struct {
			Result json.RawMessage `json:"result"`
		}
		err := json.Unmarshal(body, &answer)
		return answer.Result, len(`{"result":`) + len(answer.Result) + len(`,`), err
	},
}

// routeDialect is a route for each function: arguments in, result out.
var routeDialect = dialect{
	request: func(c call) *load.Request { return load.NewRequest("/"+c.command, c.accept, []byte(c.args)) },
	result:  func(body []byte) ([]byte, int, error) { return body, len(body), nil },
}

// prepare makes the request of a call. It is sent once: the answer must have the wanted result, and is what later answers
// are compared with, byte by byte. So each contender may write its JSON as it likes, but not another time another way.
func (s *server) prepare(c call) (*load.Request, error) {
	if r := s.requests[c]; r != nil {
		return r, nil
	}
	conn := load.NewConn(s.address, time.Now().Add(time.Minute))
	defer conn.Close()
	r := s.dialect.request(c)
	answer, err := conn.Do(r)
	if err == nil {
		err = r.Check(answer)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s.title, c.command, err)
	}
	if c.want != "" {
		result, fixed, err := s.dialect.result(answer.Body)
		if err != nil || !sameJSON(string(result), c.want) {
			return nil, fmt.Errorf("%s: %s: not the result: %.300s", s.title, c.command, answer.Body)
		}
		r.Expect(bytes.Clone(answer.Body[:fixed]), fixed == len(answer.Body))
	}
	s.requests[c] = r
	return r, nil
}

func sameJSON(a, b string) bool {
	var values [2]any
	for i, text := range []string{a, b} {
		if err := json.Unmarshal([]byte(text), &values[i]); err != nil {
			return false
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}

// echo is a call whose arguments have size bytes.
func echo(size int) call {
	value := `"` + strings.Repeat("x", size-len(`{"value":""}`)) + `"`
	return call{command: "echo", args: `{"value":` + value + `}`, want: value}
}
