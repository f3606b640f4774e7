package handlers

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"charmer/api"
)

const (
	clippedRunes  = 64 // of a name that a client sent
	clippedTokens = 8  // of a JSON pointer into what a client sent
	listedErrors  = 32 // problems of one body
	detailErrors  = 3  // of those, repeated in the detail
)

// requestError is a request that openapi.yaml does not allow. Nothing has been done for it.
type requestError struct {
	Status     int
	Code       api.ProblemCode
	Detail     string           // a sentence without full stop
	Errors     []api.FieldError // what is wrong where, with invalid_request
	LimitBytes int64            // with payload_too_large
	Err        error            // the cause, if the body could not be read
}

// Error returns the detail.
func (e *requestError) Error() string {
	return e.Detail
}

// Unwrap returns the cause.
func (e *requestError) Unwrap() error {
	return e.Err
}

// invalidBody reports what is wrong with a body.
func invalidBody(problems ...api.FieldError) *requestError {
	problems = problems[:min(len(problems), listedErrors)]
	var parts []string
	for _, p := range problems[:min(len(problems), detailErrors)] {
		if p.Pointer == "" { // the only one then
			return &requestError{
				Status: http.StatusBadRequest, Code: api.ProblemCodeInvalidRequest,
				Detail: "the request body " + p.Detail, Errors: problems,
			}
		}
		parts = append(parts, p.Pointer+": "+p.Detail)
	}
	detail := "the request body is not valid: " + strings.Join(parts, "; ")
	if more := len(problems) - len(parts); more > 0 {
		detail += fmt.Sprintf("; and %d more", more)
	}
	return &requestError{
		Status: http.StatusBadRequest, Code: api.ProblemCodeInvalidRequest, Detail: detail, Errors: problems,
	}
}

// invalidParam reports what is wrong with a parameter; in is path or query.
func invalidParam(in, name, detail string) *requestError {
	return &requestError{
		Status: http.StatusBadRequest,
		Code:   api.ProblemCodeInvalidRequest,
		Detail: fmt.Sprintf("the %s parameter %s %s", in, name, detail),
		Errors: []api.FieldError{{Pointer: in + "/" + name, Detail: detail}},
	}
}

func tooLarge(limit int64) *requestError {
	return &requestError{
		Status:     http.StatusRequestEntityTooLarge,
		Code:       api.ProblemCodePayloadTooLarge,
		Detail:     fmt.Sprintf("the request body is larger than %d bytes", limit),
		LimitBytes: limit,
	}
}

func wrongMediaType(detail string) *requestError {
	return &requestError{
		Status: http.StatusUnsupportedMediaType, Code: api.ProblemCodeUnsupportedMediaType, Detail: detail,
	}
}

// unreadable reports a body that ended early or was cut off.
func unreadable(err error) *requestError {
	e := invalidBody(api.FieldError{Detail: "could not be read to its end"})
	e.Err = err
	return e
}

// clip shortens text that a client sent.
func clip(s string) string {
	if utf8.RuneCountInString(s) <= clippedRunes {
		return s
	}
	end := 0
	for range clippedRunes {
		_, n := utf8.DecodeRuneInString(s[end:])
		end += n
	}
	return s[:end] + "…"
}

// clipPointer shortens a pointer into what a client sent: its names and their number.
func clipPointer(p jsontext.Pointer) string {
	var out jsontext.Pointer
	n := 0
	for token := range p.Tokens() {
		if n++; n > clippedTokens {
			return string(out.AppendToken("…"))
		}
		out = out.AppendToken(clip(token))
	}
	return string(out)
}
