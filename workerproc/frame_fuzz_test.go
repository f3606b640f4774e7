package workerproc

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// FuzzReadFrame reads any stream and holds each outcome against the bytes that led to it.
func FuzzReadFrame(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.bytes(f), uint32(testLimit), false)
	}
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3}, uint32(testLimit), false)
	f.Add([]byte{0, 0x20, 0, 0, 0x84, 0, 0, 0, 1, '{'}, uint32(testLimit), true)
	f.Add(AppendFrame(AppendFrame(nil, Frame{Kind: KindPong}), Frame{Kind: 0x7f, ID: 1, Body: []byte("x")}), uint32(6), true)
	f.Fuzz(func(t *testing.T, data []byte, limit uint32, slow bool) {
		limit %= 64 << 20
		var source io.Reader = bytes.NewReader(data)
		if slow {
			source = iotest.OneByteReader(source)
		}
		r := bufio.NewReaderSize(source, 16)
		rest := data
		for {
			frame, err := ReadFrame(r, int(limit))
			if kept := cap(frame.Body); kept > max(eagerBody, eagerGrowth*len(data)) {
				t.Fatalf("%d bytes allocated for a stream of %d", kept, len(data))
			}
			if err != nil {
				checkStreamEnd(t, rest, limit, err)
				return
			}
			if len(frame.Body)+headerSize > int(limit) {
				t.Fatalf("a body of %d bytes passed the limit %d", len(frame.Body), limit)
			}
			written := AppendFrame(nil, frame)
			if !bytes.HasPrefix(rest, written) {
				t.Fatalf("read %v from %q, which is written %q", frame, rest, written)
			}
			rest = rest[len(written):]
		}
	})
}

// checkStreamEnd checks that err is what a stream must end in of which rest is left unread.
func checkStreamEnd(t *testing.T, rest []byte, limit uint32, err error) {
	t.Helper()
	want := io.ErrUnexpectedEOF
	if len(rest) == 0 {
		want = io.EOF
	}
	if len(rest) >= prefixSize {
		length := binary.BigEndian.Uint32(rest)
		if length < headerSize || length > limit {
			want = ErrFrameLength
		} else if uint64(len(rest)) >= prefixSize+uint64(length) {
			t.Fatalf("%v, but a whole frame is there: %q", err, rest)
		}
	}
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v for the rest %q", err, want, rest)
	}
}

// FuzzReadReplies lets a worker with one open call say anything: the call has at most one answer, and nothing panics.
func FuzzReadReplies(f *testing.F) {
	var start []byte
	for _, g := range goldens(f) {
		if frame := g.frame(f); frame.Kind == KindHello || frame.Kind == KindProgress || frame.Kind == KindReady {
			start = AppendFrame(start, frame)
		}
	}
	for _, g := range goldens(f) {
		frame := g.frame(f)
		f.Add(AppendFrame(bytes.Clone(start), frame))
		frame.ID = 1
		f.Add(AppendFrame(AppendFrame(bytes.Clone(start), frame), Frame{Kind: KindResult, ID: 1, Body: []byte("[1]")}))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		w := mute(stream)
		open := &openCall{request: &Call{Command: "c"}, done: make(chan struct{})}
		w.calls[1] = open
		w.readReplies(func(string) {})
		if len(w.started) != 1 {
			t.Fatal("it was not told whether the worker is ready")
		}
		select {
		case <-open.done:
			checkAnswer(t, open)
		default:
			if w.calls[1] != open {
				t.Fatal("the call is neither answered nor open")
			}
		}
	})
}

func checkAnswer(t *testing.T, open *openCall) {
	t.Helper()
	if open.err == nil {
		if err := checkJSON(open.reply.Result); err != nil {
			t.Fatal(err)
		}
		return
	}
	var failed *CommandError
	if !errors.As(open.err, &failed) || failed.Kind == "" || open.reply.Result != nil {
		t.Fatalf("answer = %+v and %v, want a result or a *CommandError", open.reply, open.err)
	}
}
