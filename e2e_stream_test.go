package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"charmer/api/client"
)

// flowing is an app whose commands yield items.
const flowing = meeting + `
import asyncio
import charmer

@command
def numbers(n: int):
    yield from range(n)

@command
async def async_numbers(n: int):
    for i in range(n):
        yield i

@command(concurrency=4)
def numbers_in_a_thread(n: int):
    yield from range(n)

@command
def steps(dir: str, n: int):
    """Yield a number only when the test has said that it has the one before."""
    come(dir, "steps")
    for i in range(n):
        yield i
        wait_for(dir, str(i))

@command
async def together(dir: str, name: int):
    yield name
    while not os.path.exists(os.path.join(dir, "go")):
        await asyncio.sleep(0.02)
    for i in range(100):
        yield [name, i]

@command
def fails(after: int):
    yield from range(after)
    raise ValueError("as told")

@command
def odd():
    """Yield what is easily garbled."""
    yield "a\nb\r\n\n: c\u2028\u0000 \\n"
    yield None
    yield {"event": "end", "id": 7}
    yield [[], {}, "", 1e300, -0.5]
    yield "\U0001f40d" * 10000

@command
def unfit():
    yield 1
    yield object()

@command
def tells() -> str:
    charmer.progress(0.5, "half")
    charmer.log("careful", "warning")
    return "told"

@command
def tells_and_yields():
    charmer.log("one\ntwo")
    yield 1
    charmer.progress(0.5)
    yield 2
    charmer.progress(message="nearly")
    charmer.log("last words", "error")
`

func TestTenThousandItemsComeInOrder(t *testing.T) {
	s := serve(t, flowing, "--checkout-timeout=60s", "--execute-timeout=5m").ready()
	for _, command := range []string{"numbers", "async_numbers", "numbers_in_a_thread"} {
		t.Run(command, func(t *testing.T) {
			bothFormats(t, s.in(t), func(s *instance, format string) {
				const n = 10_000
				r := s.openStream(format, fmt.Sprintf(`{"command":%q,"args":{"n":%d}}`, command, n), "X-Request-Id", "r-"+command)
				if r.reply.StatusCode != http.StatusOK || r.format != format {
					s.t.Fatalf("got %d %s, want 200 %s", r.reply.StatusCode, r.format, format)
				}
				started := r.wantNext(client.StreamEventEventStarted)
				if *started.RequestID != "r-"+command || started.Worker == nil || started.Session != nil {
					s.t.Errorf("started: %s", asJSON(started))
				}
				for i := range n {
					r.wantChunk(strconv.Itoa(i))
				}
				r.wantEnd()
			})
		})
	}
}

func TestEachItemComesWhenItIsThere(t *testing.T) {
	s := servePatiently(t, flowing)
	bothFormats(t, s, func(s *instance, format string) {
		dir := s.t.TempDir()
		r := s.openStream(format, fmt.Sprintf(`{"command":"steps","args":{"dir":%q,"n":3},"session_id":"u-%s"}`, dir, format[:4]))
		if started := r.wantNext(client.StreamEventEventStarted); started.Session == nil || started.Session.State != "new" {
			s.t.Errorf("started: %s", asJSON(started))
		}
		for i := range 3 {
			r.wantChunk(strconv.Itoa(i)) // the next one is not made before
			touch(s.t, dir, strconv.Itoa(i))
		}
		r.wantEnd()
	})
}

func TestItemsComeAsTheyWere(t *testing.T) {
	s := servePatiently(t, flowing)
	whole := s.execute("odd", `{}`)
	bothFormats(t, s, func(s *instance, format string) {
		r := s.openStream(format, `{"command":"odd"}`)
		r.wantNext(client.StreamEventEventStarted)
		all := "["
		for i := range 5 {
			if i > 0 {
				all += ","
			}
			all += string(r.wantNext(client.StreamEventEventChunk).Data)
		}
		whole.wantResult(s.t, all+"]")
		r.wantEnd()
	})
}

// Each stream waits in its middle until all have begun.
func TestManyStreamsGoOnAtOnce(t *testing.T) {
	s := servePatiently(t, flowing)
	dir := t.TempDir()
	streams := make([]*stream, 64)
	each := func(phase func(c int) error) {
		var clients sync.WaitGroup
		defer clients.Wait()
		for c := range streams {
			clients.Go(func() {
				if err := phase(c); err != nil {
					t.Errorf("stream %d: %v", c, err)
				}
			})
		}
	}
	want := func(c int, kind client.StreamEventEvent, data string) error {
		if e, err := streams[c].read(); err != nil || e.Event != kind || string(e.Data) != data {
			return fmt.Errorf("%s, want %s %s: %v", asJSON(e), kind, data, err)
		}
		return nil
	}
	each(func(c int) (err error) {
		format := []string{eventStream, jsonLines}[c%2]
		if streams[c], err = s.tryStream(format, fmt.Sprintf(`{"command":"together","args":{"dir":%q,"name":%d}}`, dir, c)); err != nil {
			return err
		}
		if _, err := streams[c].read(); err != nil {
			return err
		}
		return want(c, client.StreamEventEventChunk, strconv.Itoa(c))
	})
	if t.Failed() {
		return
	}
	touch(t, dir, "go")
	each(func(c int) error {
		for i := range 100 {
			if err := want(c, client.StreamEventEventChunk, fmt.Sprintf("[%d,%d]", c, i)); err != nil {
				return err
			}
		}
		return want(c, client.StreamEventEventEnd, "")
	})
}

func TestAStreamTellsWhatTheCommandSays(t *testing.T) {
	s := servePatiently(t, flowing)
	bothFormats(t, s, func(s *instance, format string) {
		r := s.openStream(format, `{"command":"tells_and_yields"}`, "X-Request-Id", "tells")
		r.wantNext(client.StreamEventEventStarted)
		for _, line := range []string{"one", "two"} {
			if e := r.wantNext(client.StreamEventEventLog); *e.Message != line || *e.Level != client.StreamEventLevelInfo {
				s.t.Errorf("log: %s", asJSON(e))
			}
		}
		r.wantChunk("1")
		if e := r.wantNext(client.StreamEventEventProgress); *e.Fraction != 0.5 || e.Message != nil {
			s.t.Errorf("progress: %s", asJSON(e))
		}
		r.wantChunk("2")
		if e := r.wantNext(client.StreamEventEventProgress); e.Fraction != nil || *e.Message != "nearly" {
			s.t.Errorf("progress: %s", asJSON(e))
		}
		if e := r.wantNext(client.StreamEventEventLog); *e.Message != "last words" || *e.Level != client.StreamEventLevelError {
			s.t.Errorf("log: %s", asJSON(e))
		}
		r.wantEnd()
		s.log.await(s.t, s.exited, func(l logLine) bool { return l["msg"] == "last words" && l["request_id"] == "tells" })
	})
	s.execute("tells", `{}`).wantResult(t, `"told"`) // to whom it does not stream
}

func TestACommandThatFailsBeforeItsFirstItemIsAnOrdinaryProblem(t *testing.T) {
	s := servePatiently(t, flowing)
	bothFormats(t, s, func(s *instance, format string) {
		for body, want := range map[string]struct {
			status  int
			code    string
			started bool
		}{
			`{"command":"fails","args":{"after":0}}`:                   {http.StatusUnprocessableEntity, "command_failed", true},
			`{"command":"fails","args":{"before":0}}`:                  {http.StatusBadRequest, "invalid_args", false},
			`{"command":"nothing"}`:                                    {http.StatusNotFound, "unknown_command", false},
			`{"command":"numbers","args":{"n":1},"lease_id":"nobody"}`: {http.StatusNotFound, "lease_not_found", false},
		} {
			s.openStream(format, body).refused().wantProblem(s.t, want.status, want.code, want.started)
		}
	})
}

func TestACommandThatFailsAfterSomeItemsEndsItsStreamWithTheProblem(t *testing.T) {
	s := servePatiently(t, flowing)
	bothFormats(t, s, func(s *instance, format string) {
		r := s.openStream(format, `{"command":"fails","args":{"after":3}}`, "X-Request-Id", "fails")
		r.wantNext(client.StreamEventEventStarted)
		for i := range 3 {
			r.wantChunk(strconv.Itoa(i))
		}
		a := r.failed()
		raised("ValueError", "as told")(s.t, a)
		if a.Problem.RequestID != "fails" || a.Problem.Instance != "/execute" {
			s.t.Errorf("problem %+v", a.Problem)
		}

		r = s.openStream(format, `{"command":"unfit"}`)
		r.wantNext(client.StreamEventEventStarted)
		r.wantChunk("1")
		refusedResult("TypeError", "result[1] is an object")(s.t, r.failed())
	})
}

func TestAWorkerThatDiesInTheMidstOfAStreamEndsItWithTheEvidence(t *testing.T) {
	s := servePatiently(t, flowing)
	bothFormats(t, s, func(s *instance, format string) {
		s.full(2)
		r := s.openStream(format, fmt.Sprintf(`{"command":"steps","args":{"dir":%q,"n":3}}`, s.t.TempDir()))
		worker := r.wantNext(client.StreamEventEventStarted).Worker
		r.wantChunk("0")
		s.kill(int(worker.PID), syscall.SIGKILL)
		a := r.failed()
		a.wantProblem(s.t, http.StatusBadGateway, "worker_crashed", true)
		a.wantSignal(s.t, syscall.SIGKILL)
		if a.ranOn(s.t) != *worker {
			s.t.Errorf("the stream ran on %+v and ended on %+v", worker, a.ranOn(s.t))
		}
		s.gone(worker.PID)
	})
}

func TestTheAcceptHeaderChoosesBetweenStreamAndArray(t *testing.T) {
	s := servePatiently(t, flowing)
	const stream, whole = `{"command":"numbers","args":{"n":3}}`, `{"command":"ping","args":{"n":3}}`
	for _, row := range []struct {
		accept, body string
		format       string // of the reply; a problem if it is empty
		result       string // if it is JSON
	}{
		{"", stream, "application/json", "[0,1,2]"},
		{"*/*", stream, "application/json", "[0,1,2]"},
		{"application/json", stream, "application/json", "[0,1,2]"},
		{"image/png", stream, "application/json", "[0,1,2]"},
		{eventStream, stream, eventStream, ""},
		{jsonLines, stream, jsonLines, ""},
		{"application/json;q=0.5, " + jsonLines, stream, jsonLines, ""},
		{"application/json, " + jsonLines + ";q=0.5", stream, "application/json", "[0,1,2]"},
		{eventStream + ";q=0.4, " + jsonLines + ";q=0.5", stream, jsonLines, ""},
		{eventStream + ", application/json;q=0.1", whole, "application/json", "3"},
		{eventStream + ", */*;q=0.1", whole, "application/json", "3"},
		{eventStream, whole, "", ""},
		{jsonLines, whole, "", ""},
	} {
		t.Run(row.accept, func(t *testing.T) {
			s := s.in(t)
			r := s.openStream(row.accept, row.body)
			switch row.format {
			case "":
				r.refused().wantProblem(t, http.StatusNotAcceptable, "not_streamable", false)
			case "application/json":
				var got client.ExecuteReply
				if err := json.NewDecoder(r.reply.Body).Decode(&got); err != nil || r.format != row.format || string(got.Result) != row.result {
					t.Errorf("%s %s: %v", r.format, got.Result, err)
				}
			default:
				if r.format != row.format {
					t.Fatalf("got %s, want %s", r.format, row.format)
				}
				if r.finish(); r.last != 5 {
					t.Errorf("%d events, want 5", r.last)
				}
			}
		})
	}
}
