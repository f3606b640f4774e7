package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"charmer/api/client"
)

// The media types of streams.
const (
	eventStream = "text/event-stream"
	jsonLines   = "application/x-ndjson"
)

// stream is the reply to a call whose items come one by one. Each event is checked against the contract when it is read.
type stream struct {
	s      *instance
	format string
	reply  *http.Response
	lines  *bufio.Reader
	last   int64 // id of the last event that was read
	leave  func()
}

// streaming is a client that hands on replies as they come, and buffers little of them.
func (s *instance) streaming() *http.Client {
	dialer := net.Dialer{ControlContext: smallBuffer}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, ReadBufferSize: 4096}
	return &http.Client{Transport: transport}
}

// smallBuffer has the kernel keep little of what nobody reads.
func smallBuffer(_ context.Context, _, _ string, conn syscall.RawConn) (err error) {
	controlErr := conn.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10) })
	return errors.Join(err, controlErr)
}

// openStream makes a call and returns once the reply has begun. It may be no stream. The options are the names and values of
// headers by turns.
func (s *instance) openStream(format, body string, header ...string) *stream {
	s.t.Helper()
	out, err := s.tryStream(format, body, header...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// tryStream is openStream for use in other goroutines than the test's own.
func (s *instance) tryStream(format, body string, header ...string) (*stream, error) {
	ctx, leave := context.WithCancel(context.Background())
	s.t.Cleanup(leave)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/execute", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", format)
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	reply, err := s.streaming().Do(request)
	if err != nil {
		return nil, err
	}
	return &stream{s: s, format: reply.Header.Get("Content-Type"), reply: reply, lines: bufio.NewReader(reply.Body), leave: leave}, nil
}

// read returns the next event, or io.EOF where the stream ends in good order.
func (r *stream) read() (client.StreamEvent, error) {
	var event client.StreamEvent
	var text []byte
	var err error
	switch r.format {
	case jsonLines:
		text, err = r.readLine()
	case eventStream:
		text, err = r.readBlock()
	default:
		return event, fmt.Errorf("status %d with %q is no stream", r.reply.StatusCode, r.format)
	}
	if err != nil {
		return event, err
	}
	if err := r.s.Misfit("StreamEvent", text); err != nil {
		return event, fmt.Errorf("%.500s: %w", text, err)
	}
	if err := json.Unmarshal(text, &event); err != nil {
		return event, err
	}
	if event.ID != r.last+1 {
		return event, fmt.Errorf("event %d came after event %d", event.ID, r.last)
	}
	r.last = event.ID
	return event, nil
}

// readLine returns the next line that is not empty: empty ones keep the connection alive.
func (r *stream) readLine() ([]byte, error) {
	for {
		line, err := r.lines.ReadBytes('\n')
		switch {
		case err == io.EOF && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		if line = bytes.TrimSuffix(line, []byte("\n")); len(line) > 0 {
			return line, nil
		}
	}
}

// readBlock returns the next server-sent event as the StreamEvent that it stands for.
func (r *stream) readBlock() ([]byte, error) {
	fields := map[string]string{}
	for {
		line, err := r.lines.ReadString('\n')
		if err == io.EOF && line+fields["event"] != "" {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" && fields["event"] == "" || strings.HasPrefix(line, ":") {
			continue // keeps the connection alive
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ": ")
		if _, twice := fields[name]; !ok || twice {
			return nil, fmt.Errorf("%q is not of a server-sent event, or comes twice", line)
		}
		fields[name] = value
	}
	if fields["event"] == string(client.StreamEventEventChunk) {
		return fmt.Appendf(nil, `{"event":"chunk","id":%s,"data":%s}`, fields["id"], fields["data"]), nil
	}
	var said client.StreamEvent
	if err := json.Unmarshal([]byte(fields["data"]), &said); err != nil {
		return nil, err
	}
	if string(said.Event) != fields["event"] || strconv.FormatInt(said.ID, 10) != fields["id"] {
		return nil, fmt.Errorf("event %q with id %q has the data %s", fields["event"], fields["id"], fields["data"])
	}
	return []byte(fields["data"]), nil
}

// next returns the next event, which must be there.
func (r *stream) next() client.StreamEvent {
	r.s.t.Helper()
	event, err := r.read()
	if err != nil {
		r.s.t.Fatalf("after event %d: %v", r.last, err)
	}
	return event
}

// wantNext fails the test unless the next event is of this kind.
func (r *stream) wantNext(kind client.StreamEventEvent) client.StreamEvent {
	r.s.t.Helper()
	event := r.next()
	if event.Event != kind {
		r.s.t.Fatalf("event %d is %s, want %s", event.ID, asJSON(event), kind)
	}
	return event
}

// wantChunk fails the test unless the next event is this item.
func (r *stream) wantChunk(want string) {
	r.s.t.Helper()
	if event := r.wantNext(client.StreamEventEventChunk); string(event.Data) != want {
		r.s.t.Fatalf("event %d has the item %s, want %s", event.ID, event.Data, want)
	}
}

// finish reads on to the last event, end or error, behind which there must be nothing.
func (r *stream) finish() client.StreamEvent {
	r.s.t.Helper()
	for {
		event := r.next()
		if event.Event != client.StreamEventEventEnd && event.Event != client.StreamEventEventError {
			continue
		}
		if more, err := r.read(); err != io.EOF {
			r.s.t.Fatalf("after the last event: %v %s", err, asJSON(more))
		}
		return event
	}
}

// wantEnd fails the test unless the next event is the end.
func (r *stream) wantEnd() {
	r.s.t.Helper()
	before := r.last
	if event := r.finish(); event.ID != before+1 || event.Event != client.StreamEventEventEnd || event.Timing == nil {
		r.s.t.Fatalf("event %d after %d is %s, want the end", event.ID, before, asJSON(event))
	}
}

// failed reads on to the end of a stream whose call failed, and returns that as an answer.
func (r *stream) failed() answer {
	r.s.t.Helper()
	event := r.finish()
	if event.Event != client.StreamEventEventError || event.Problem == nil {
		r.s.t.Fatalf("event %d is %s, want an error", event.ID, asJSON(event))
	}
	return answer{status: int(event.Problem.Status), Problem: *event.Problem}
}

// refused returns the problem that came instead of a stream.
func (r *stream) refused() answer {
	r.s.t.Helper()
	body, err := io.ReadAll(r.reply.Body)
	if err != nil {
		r.s.t.Fatal(err)
	}
	for _, fault := range r.s.Faults(r.reply.Request, r.reply.StatusCode, r.reply.Header, body) {
		r.s.t.Error(fault)
	}
	a := answer{status: r.reply.StatusCode, header: r.reply.Header}
	if err := json.Unmarshal(body, &a.Problem); err != nil {
		r.s.t.Fatalf("%v in %s", err, body)
	}
	return a
}

// bothFormats runs a test with each format of streams.
func bothFormats(t *testing.T, s *instance, test func(*instance, string)) {
	t.Helper()
	for name, format := range map[string]string{"events": eventStream, "lines": jsonLines} {
		t.Run(name, func(t *testing.T) { test(s.in(t), format) })
	}
}
