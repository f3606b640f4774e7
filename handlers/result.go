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

// aroundResult is more than the reply to a call has beside its result, as long as its ids are not long.
const aroundResult = 400

// sendResult sends api.ExecuteReply. The result stands in it as the bytes that Python wrote; the rest is written by hand, since
// encoding it took a fifth of the time of the handler.
func sendResult(w http.ResponseWriter, rest executeRest, result []byte) {
	const head = `{"result":`
	if len(result) > writePiece { // which is not copied
		send(w, http.StatusOK, jsonMediaType, []byte(head), result, rest.append(nil))
		return
	}
	body := append(make([]byte, 0, len(result)+aroundResult), head...)
	send(w, http.StatusOK, jsonMediaType, rest.append(append(body, result...)))
}

// append appends all members, each with a comma in front of it, and the brace that ends the object.
func (x executeRest) append(dst []byte) []byte {
	dst = appendText(append(dst, `,"request_id":`...), x.RequestID)
	dst = strconv.AppendInt(append(dst, `,"worker":{"generation":`...), x.Worker.Generation, 10)
	dst = strconv.AppendInt(append(dst, `,"id":`...), x.Worker.ID, 10)
	dst = strconv.AppendInt(append(dst, `,"pid":`...), x.Worker.PID, 10)
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
