package handlers

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"charmer/api"
)

// executeRest is api.ExecuteReply without the result.
type executeRest struct {
	RequestID string          `json:"request_id"`
	Worker    api.WorkerRef   `json:"worker"`
	Session   *api.SessionRef `json:"session,omitempty"`
	Timing    api.Timing      `json:"timing"`
}

// aroundResult is more than the reply to a call has beside its result, but for the two ids.
const aroundResult = 300

// sendResult sends api.ExecuteReply. The result stands in it as the bytes that Python wrote; the rest is written by hand, since
// encoding it would be a third of what the handler of a call does.
func sendResult(w http.ResponseWriter, rest executeRest, result []byte) {
	small := len(result) <= writePiece // a large one is not copied
	size := aroundResult + len(rest.RequestID)
	if small {
		size += len(result)
	}
	body := append(make([]byte, 0, size), `{"result":`...)
	if small {
		body = rest.append(append(body, result...))
		send(w, http.StatusOK, jsonMediaType, body)
		return
	}
	head := len(body)
	body = rest.append(body)
	send(w, http.StatusOK, jsonMediaType, body[:head], result, body[head:])
}

// append appends all members, each with a comma in front of it, and the brace that ends the object.
func (x executeRest) append(dst []byte) []byte {
	dst = appendText(append(dst, `,"request_id":`...), x.RequestID)
	dst = strconv.AppendInt(append(dst, `,"worker":{"id":`...), x.Worker.ID, 10)
	dst = strconv.AppendInt(append(dst, `,"pid":`...), x.Worker.PID, 10)
	dst = strconv.AppendInt(append(dst, `,"generation":`...), x.Worker.Generation, 10)
	if x.Session != nil {
		dst = appendText(append(dst, `},"session":{"id":`...), x.Session.ID)
		dst = appendText(append(dst, `,"state":`...), string(x.Session.State))
	}
	dst = appendNumber(append(dst, `},"timing":{"queue_ms":`...), x.Timing.QueueMs)
	dst = appendNumber(append(dst, `,"run_ms":`...), x.Timing.RunMs)
	dst = appendNumber(append(dst, `,"total_ms":`...), x.Timing.TotalMs)
	return append(dst, "}}"...)
}

// appendText appends a JSON string. AppendQuote fails only on invalid UTF-8, and then has written U+FFFD for it.
func appendText(dst []byte, text string) []byte {
	dst, _ = jsontext.AppendQuote(dst, text)
	return dst
}

// appendNumber appends a JSON number. It must be finite.
func appendNumber(dst []byte, number float64) []byte {
	return strconv.AppendFloat(dst, number, 'f', -1, 64)
}
