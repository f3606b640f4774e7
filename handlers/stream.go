package handlers

import (
	"bytes"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"charmer/api"
	"charmer/poolsvc"
)

// Media types of streams.
const (
	eventStream = "text/event-stream"
	jsonLines   = "application/x-ndjson"
)

// streamSilence is how long a stream says nothing before it says that it is alive.
const streamSilence = 10 * time.Second

// streamFormat returns the media type in which the client wants the items of a call as they come, or "" if it does not, and
// whether it would take them in one piece.
func streamFormat(r *http.Request) (format string, orJSON bool) {
	accept := r.Header.Values("Accept")
	if len(accept) == 0 {
		return "", true
	}
	format = negotiated(accept, jsonMediaType, eventStream, jsonLines)
	if format != eventStream && format != jsonLines {
		return "", true // also to those who accept nothing that there is
	}
	return format, negotiated(accept, jsonMediaType) != ""
}

// stream writes what a call says as it comes, as server-sent events or as lines. It begins with the first word, so that what
// fails before is an ordinary problem.
type stream struct {
	format    string
	requestID string
	flush     func() error
	tells     bool // headers say where the call runs

	mu      sync.Mutex // guards the fields below, and is held while the reply is written
	w       http.ResponseWriter
	worker  poolsvc.WorkerRef
	session *poolsvc.SessionRef
	id      int64 // of the last event; 0 before the first
	silence *time.Timer
	buf     bytes.Buffer
	err     error // of the first write that failed; nothing is written after it
	over    bool
}

func newStream(w http.ResponseWriter, format, requestID string) *stream {
	return &stream{format: format, requestID: requestID, flush: http.NewResponseController(w).Flush, w: w}
}

// began notes where the call runs. From here on the stream breaks its silence.
func (s *stream) began(worker poolsvc.WorkerRef, session *poolsvc.SessionRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worker, s.session = worker, session
	if s.silence == nil {
		s.silence = time.AfterFunc(streamSilence, s.keepAlive)
	}
}

// keepAlive writes what is no event, so that whoever is on the way does not take the connection for dead.
func (s *stream) keepAlive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.startLocked()
	if s.format == eventStream {
		s.buf.WriteString(": keep-alive\n")
	}
	s.buf.WriteByte('\n')
	s.writeLocked()
}

// copy writes what a call says until that ends. A client that takes no more has left.
func (s *stream) copy(feed *poolsvc.Feed, leave func()) {
	for events := feed.Next(); len(events) > 0; events = feed.Next() {
		if s.events(events) != nil {
			leave()
		}
	}
}

// events writes some of it. The error is that of the first write that failed.
func (s *stream) events(events []poolsvc.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startLocked()
	for _, e := range events {
		switch {
		case e.Chunk != nil:
			s.chunkLocked(e.Chunk)
		case e.Progress != nil:
			s.eventLocked(api.StreamEvent{Event: api.StreamEventEventProgress, Fraction: e.Progress.Fraction, Message: some(e.Progress.Message)})
		case e.Log != nil:
			s.eventLocked(api.StreamEvent{Event: api.StreamEventEventLog, Level: some(api.StreamEventLevel(e.Log.Level)), Message: &e.Log.Message})
		}
		if s.buf.Len() > writePiece {
			s.writeLocked()
		}
	}
	s.writeLocked()
	return s.err
}

// end writes the last event.
func (s *stream) end(timing api.Timing) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startLocked()
	s.eventLocked(api.StreamEvent{Event: api.StreamEventEventEnd, Timing: &timing})
	s.writeLocked()
	return s.err
}

// fail writes the last event of a call that failed, and reports whether the stream had begun: else the problem is the reply.
func (s *stream) fail(problem func() *api.Problem) (begun bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id == 0 {
		s.over = true
		return false, nil
	}
	s.eventLocked(api.StreamEvent{Event: api.StreamEventEventError, Problem: problem()})
	s.writeLocked()
	return true, s.err
}

// close ends the keeping alive.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.silence != nil {
		s.silence.Stop()
	}
}

func (s *stream) startLocked() {
	if s.id > 0 {
		return
	}
	s.w.Header()["Content-Type"] = []string{s.format}
	s.w.Header()["X-Accel-Buffering"] = []string{"no"} // proxies are to hand on each event as it comes
	if s.tells {
		tellWorker(s.w.Header(), s.worker, s.session)
	}
	s.w.WriteHeader(http.StatusOK)
	s.eventLocked(api.StreamEvent{Event: api.StreamEventEventStarted, RequestID: &s.requestID, Worker: some(workerRef(s.worker)), Session: sessionRef(s.session)})
}

// chunkLocked writes one item, the bytes of which are Python's.
func (s *stream) chunkLocked(item []byte) {
	if bytes.ContainsAny(item, "\r\n") { // between tokens, where they mean nothing
		value := jsontext.Value(bytes.Clone(item))
		_ = value.Compact() // it is known to be JSON
		item = value
	}
	s.id++
	if s.format == eventStream {
		s.headLocked(api.StreamEventEventChunk)
		s.buf.Write(item)
		s.buf.WriteString("\n\n")
		return
	}
	s.buf.WriteString(`{"event":"chunk","id":`)
	s.buf.Write(strconv.AppendInt(s.buf.AvailableBuffer(), s.id, 10))
	s.buf.WriteString(`,"data":`)
	s.buf.Write(item)
	s.buf.WriteString("}\n")
}

// headLocked writes a server-sent event up to its data.
func (s *stream) headLocked(event api.StreamEventEvent) {
	s.buf.WriteString("event: ")
	s.buf.WriteString(string(event))
	s.buf.WriteString("\nid: ")
	s.buf.Write(strconv.AppendInt(s.buf.AvailableBuffer(), s.id, 10))
	s.buf.WriteString("\ndata: ")
}

// eventLocked writes an event that is no chunk.
func (s *stream) eventLocked(e api.StreamEvent) {
	s.id++
	e.ID = s.id
	body, err := json.Marshal(e, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic("bug: event cannot be encoded: " + err.Error())
	}
	if s.format == eventStream {
		s.headLocked(e.Event)
	}
	s.buf.Write(body)
	s.buf.WriteByte('\n')
	if s.format == eventStream {
		s.buf.WriteByte('\n')
	}
}

func (s *stream) writeLocked() {
	if s.err == nil {
		_, s.err = s.w.Write(s.buf.Bytes())
	}
	if s.err == nil {
		s.err = s.flush()
	}
	s.buf.Reset()
	if s.silence != nil {
		s.silence.Reset(streamSilence)
	}
}
