package main

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"charmer/workerproc"
)

// fraudulent is an app whose command writes what it is told to the descriptor that frames leave by.
const fraudulent = meeting + `
def id_of_this_call() -> bytes:
    frame = sys._getframe()
    while "call_id" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["call_id"].to_bytes(4, "big")

@command
def write_raw(bytes_hex: str, then: str) -> str:
    data = bytes.fromhex(bytes_hex.replace("IDOFCALL", id_of_this_call().hex()))
    os.write(4, data)
    if then == "exit":
        os._exit(0)
    if then == "sleep":
        time.sleep(600)
    return "the answer of the runtime"
`

// oddWorker is a worker of its own make, in the language at hand, with the same commands.
const oddWorker = `
import json, os, struct, sys, threading, time

def send(kind, id, body):
    os.write(4, struct.pack(">IBI", len(body) + 5, kind, id) + body)

def read(n):
    data = b""
    while len(data) < n:
        more = os.read(3, n - len(data))
        if not more:
            os._exit(0)
        data += more
    return data

def run(id, command, args):
    if command == "write_raw":
        os.write(4, bytes.fromhex(args["bytes_hex"].replace("IDOFCALL", id.to_bytes(4, "big").hex())))
        if args["then"] == "exit":
            os._exit(0)
        if args["then"] == "sleep":
            return
        return "the answer of the runtime"
    if command == "stay":
        path = os.path.join(args["dir"], args["name"])
        with open(path + ".new", "w") as f:
            f.write(str(os.getpid()))
        os.rename(path + ".new", path)
        while not os.path.exists(os.path.join(args["dir"], "go")):
            time.sleep(0.002)
        return args["name"]
    return args["n"]

send(0x81, 0, json.dumps({"protocol": 1, "pid": os.getpid(), "runtime": "odd 1", "language": "Odd 1", "from a newer side": 1}).encode())
send(0x83, 0, json.dumps({"commands": [{"name": name} for name in ("write_raw", "stay", "ping")]}).encode())
while True:
    (length,) = struct.unpack(">I", read(4))
    frame = read(length)
    kind, id = struct.unpack(">BI", frame[:5])
    if kind == 4:
        sys.exit(0)
    call = json.loads(frame[5:])
    answer = run(id, call["command"], call["args"])
    if answer is not None:
        send(0x84, id, json.dumps(answer).encode())
`

// ofTheCall stands in frames for the id of the running call, which the worker puts in.
const ofTheCall = 0x1D0FCA11

// rawFrames is hexadecimal for frames, with the place of the id marked for write_raw.
func rawFrames(frames ...workerproc.Frame) string {
	var data []byte
	for _, f := range frames {
		data = workerproc.AppendFrame(data, f)
	}
	return strings.ReplaceAll(hex.EncodeToString(data), fmt.Sprintf("%08x", ofTheCall), "IDOFCALL")
}

func oneFrame(kind workerproc.Kind, id uint32, body string) string {
	return rawFrames(workerproc.Frame{Kind: kind, ID: id, Body: []byte(body)})
}

// frauds are the ways to break docs/protocol.md in mid-call, and what the client is told.
var frauds = []struct{ name, bytes, then, detail string }{
	{"garbage", hex.EncodeToString([]byte("Traceback (most recent call last):")), "sleep", "length"},
	{"garbage whose length passes", hex.EncodeToString([]byte("\x00\x00\x00\x10garbage garbage garbage")), "sleep", "0x67 with id 1634886241"},
	{"a length of 0xFFFFFFFF", "ffffffff84", "sleep", "4294967295"},
	{"a length under five", "00000004840000", "sleep", "frame length out of bounds: 4"},
	{"half a frame and the end", "0000010084", "exit", "ended inside a frame"},
	{"half a length and the end", "0000", "exit", "ended inside a frame"},
	{"an id that no call has", oneFrame(workerproc.KindResult, 0xDEAD, "1"), "sleep", "answer to call 57005, which is not open"},
	{"the id zero", oneFrame(workerproc.KindResult, 0, "1"), "sleep", "answer to call 0"},
	{"an unknown kind", oneFrame(0x99, ofTheCall, "1"), "sleep", "0x99"},
	{"a kind of the other direction", oneFrame(workerproc.KindCall, ofTheCall, "{}"), "sleep", "CALL"},
	{"a kind that is reserved", oneFrame(workerproc.KindChunk, ofTheCall, "1"), "sleep", "CHUNK"},
	{"HELLO again", oneFrame(workerproc.KindHello, 0, `{"protocol":1}`), "sleep", "HELLO"},
	{"READY again", oneFrame(workerproc.KindReady, 0, `{"commands":[]}`), "sleep", "READY"},
	{"PONG without PING", oneFrame(workerproc.KindPong, 7, ""), "sleep", "PONG"},
	{"a result that is not JSON", oneFrame(workerproc.KindResult, ofTheCall, `{"a":`), "sleep", "body of RESULT is not JSON"},
	{"a result of two JSON texts", oneFrame(workerproc.KindResult, ofTheCall, `1 2`), "sleep", "body of RESULT is not JSON"},
	{"a result of NaN", oneFrame(workerproc.KindResult, ofTheCall, `NaN`), "sleep", "body of RESULT is not JSON"},
	{"an empty result", oneFrame(workerproc.KindResult, ofTheCall, ``), "sleep", "body of RESULT is not JSON"},
	{"a result that is not UTF-8", oneFrame(workerproc.KindResult, ofTheCall, "\"\xff\""), "sleep", "body of RESULT is not JSON"},
	{"a result that would leave its place in the reply", oneFrame(workerproc.KindResult, ofTheCall, `1,"request_id":"forged"`), "sleep", "body of RESULT is not JSON"},
	{"an error that is not JSON", oneFrame(workerproc.KindError, ofTheCall, `{`), "sleep", "body of ERROR"},
	{"an error of unknown kind", oneFrame(workerproc.KindError, ofTheCall, `{"kind":"whim"}`), "sleep", `ERROR of unknown kind "whim"`},
	{"a log that is not JSON", oneFrame(workerproc.KindLog, ofTheCall, `[]`), "sleep", "body of LOG"},
	{"a log of several megabytes and then garbage", oneFrame(workerproc.KindLog, 0, `{"message":"`+strings.Repeat("m", 20_000)+`"}`) + "ffffffff", "sleep", "4294967295"},
}

func TestAWorkerThatBreaksTheProtocolIsKilledAndReplaced(t *testing.T) {
	for _, kind := range []struct {
		name  string
		start func(t *testing.T) *instance
	}{
		{"guest code of charmer's own worker", func(t *testing.T) *instance { return serve(t, fraudulent) }},
		{"a worker of another make", func(t *testing.T) *instance {
			return serve(t, "", "--worker-command=python3 "+scriptFile(t, "worker.py", oddWorker))
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			s := kind.start(t)
			s.full(2)
			dir := t.TempDir()
			var calls sync.WaitGroup
			other := s.inBackground(&calls, "stay", fmt.Sprintf(`{"dir":%q,"name":"other"}`, dir))
			unharmed := s.arrived(dir, "other")
			for _, row := range frauds {
				t.Run(row.name, func(t *testing.T) {
					s := s.in(t)
					a := s.execute("write_raw", fmt.Sprintf(`{"bytes_hex":%q,"then":%q}`, row.bytes, row.then), patiently)
					a.wantProblem(t, http.StatusBadGateway, "protocol_error", true)
					wantPart(t, "detail", a.Problem.Detail, row.detail)
					if row.then == "sleep" {
						a.wantSignal(t, syscall.SIGKILL)
						wantPart(t, "reason", a.Problem.Exit.Reason, "after it broke the protocol")
					} else {
						a.wantExitCode(t, 0)
					}
					s.gone(a.ranOn(t).PID)
					s.full(2)
				})
			}
			touch(t, dir, "go")
			calls.Wait()
			other.wantResult(t, `"other"`)
			if other.Worker.PID != int64(unharmed) {
				t.Errorf("the other call ran on %d and was answered by %d", unharmed, other.Worker.PID)
			}
			s.whole()
			if exits, executions := s.stats().WorkerExits, s.stats().Executions; exits["protocol"] != int64(len(frauds)) || executions["protocol"] != int64(len(frauds)) {
				t.Errorf("exits %v, executions %v; want %d for breaking the protocol", exits, executions, len(frauds))
			}
		})
	}
}

// TestTheFirstOfTwoAnswersStands has a worker answer twice. The call has its answer; the second one costs the worker, since
// nobody knows what else it thinks of its calls.
func TestTheFirstOfTwoAnswersStands(t *testing.T) {
	s := serve(t, fraudulent)
	s.full(2)
	first := oneFrame(workerproc.KindResult, ofTheCall, `"first"`)
	twice := rawFrames(workerproc.Frame{Kind: workerproc.KindResult, ID: ofTheCall, Body: []byte(`"first"`)},
		workerproc.Frame{Kind: workerproc.KindError, ID: ofTheCall, Body: []byte(`{"kind":"exception","type":"E","message":"second"}`)})
	for _, row := range []struct{ bytes, then string }{{first, "return"}, {twice, "sleep"}, {twice, "return"}} {
		a := s.execute("write_raw", fmt.Sprintf(`{"bytes_hex":%q,"then":%q}`, row.bytes, row.then), patiently)
		a.wantResult(t, `"first"`)
		s.gone(a.Worker.PID)
		s.whole()
	}
	if exits := s.stats().WorkerExits; exits["protocol"] != 3 {
		t.Errorf("exits: %v, want 3 for breaking the protocol", exits)
	}
}

// TestALengthIsNotBelievedBeforeItsBytesCome allows frames of 4 GiB, and has a worker announce one and end.
func TestALengthIsNotBelievedBeforeItsBytesCome(t *testing.T) {
	s := serve(t, fraudulent, "--max-frame=4294967295B")
	s.full(2)
	s.execute("ping", `{"n":1}`, patiently).wantResult(t, "1")
	before := s.metrics()["go_memstats_sys_bytes"]
	for range 3 {
		a := s.execute("write_raw", `{"bytes_hex":"fffffff084IDOFCALL2020","then":"exit"}`, patiently)
		a.wantProblem(t, http.StatusBadGateway, "protocol_error", true)
		s.gone(a.ranOn(t).PID)
	}
	if grown := s.metrics()["go_memstats_sys_bytes"] - before; before == 0 || grown > 1<<30 {
		t.Errorf("the service took %.0f MiB more", grown/(1<<20))
	}
	s.whole()
}

// falseStart is a worker that says what a file tells it before it is ready, and is a good one if there is no such file.
const falseStart = `
import os, sys
path = os.path.join(os.path.dirname(__file__), "words")
if os.path.exists(path):
    with open(path) as f:
        bytes_hex, then = f.read().split(",")
    os.write(4, bytes.fromhex(bytes_hex))
    while then != "exit" and os.read(3, 1):
        pass
    os._exit(0)
` + oddWorker

// TestAWorkerThatStartsWithFalseWordsNeverServes lets each attempt of one service break the handshake in another way, and
// shows that it comes up once they stop.
func TestAWorkerThatStartsWithFalseWordsNeverServes(t *testing.T) {
	hello := oneFrame(workerproc.KindHello, 0, `{"protocol":1}`)
	for _, row := range []struct{ name, bytes, then, reason string }{
		{"garbage", hex.EncodeToString([]byte("Hello, I am a worker")), "wait", "frame length out of bounds"},
		{"a length of 0xFFFFFFFF", "ffffffff81", "wait", "4294967295"},
		{"another version of the protocol", oneFrame(workerproc.KindHello, 0, `{"protocol":2}`), "wait", "speaks protocol 2, not 1"},
		{"READY before HELLO", oneFrame(workerproc.KindReady, 0, `{"commands":[]}`), "wait", "READY with id 0 before READY"},
		{"a result before READY", hello + oneFrame(workerproc.KindResult, 1, `1`), "wait", "RESULT with id 1 before READY"},
		{"an unknown kind before READY", hello + oneFrame(0x99, 0, ``), "wait", "0x99 with id 0 before READY"},
		{"a READY that is not JSON", hello + oneFrame(workerproc.KindReady, 0, `{"commands":`), "wait", "body of READY"},
		{"half a frame", hello + "000000", "exit", "ended inside a frame"},
		{"nothing", "", "exit", "ended before it said HELLO"},
		{"HELLO and nothing more", hello, "exit", "ended before it said READY"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			script := scriptFile(t, "worker.py", falseStart)
			words := filepath.Join(filepath.Dir(script), "words")
			if err := os.WriteFile(words, []byte(row.bytes+","+row.then), 0o644); err != nil {
				t.Fatal(err)
			}
			s := serve(t, "", "--worker-command=python3 "+script)
			s.eventually("workers fail to start", func() bool { return s.health().State == "failed" })
			wantPart(t, "reason", value(s.health().Reason), row.reason)
			s.refused()
			if err := os.Remove(words); err != nil {
				t.Fatal(err)
			}
			s.full(2)
			s.whole()
		})
	}
}

// scriptFile writes a program into a directory of its own and returns its path.
func scriptFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
