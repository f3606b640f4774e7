package load

import (
	"bytes"
	"fmt"
)

// Request is one HTTP/1.1 request, ready to be sent, with the answer that is right.
type Request struct {
	raw   []byte
	right []byte // how the body of a right answer begins
	whole bool   // it is the whole body
}

// NewRequest makes a POST of a JSON body. Any 200 is right until Expect is called.
func NewRequest(path, accept string, body []byte) *Request {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, len(body))
	if accept != "" {
		head += "Accept: " + accept + "\r\n"
	}
	return &Request{raw: append([]byte(head+"\r\n"), body...)}
}

// Expect has only answers pass that begin with right and, if whole, end there.
func (r *Request) Expect(right []byte, whole bool) { r.right, r.whole = right, whole }

// Check returns an error that shows the answer unless it is right.
func (r *Request) Check(a Answer) error {
	if a.Status == 200 && bytes.HasPrefix(a.Body, r.right) && (!r.whole || len(a.Body) == len(r.right)) {
		return nil
	}
	return &WrongError{Status: a.Status, Body: string(a.Body[:min(len(a.Body), 300)])}
}

// WrongError is an answer that is not the right one.
type WrongError struct {
	Status int
	Body   string // how it begins
}

func (e *WrongError) Error() string { return fmt.Sprintf("wrong answer: %d %s", e.Status, e.Body) }
