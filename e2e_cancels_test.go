package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"charmer/api/client"
)

// cancelling is an app whose commands wait in all ways there are, say what was raised in them, and pass it on.
const cancelling = meeting + `
import asyncio, contextlib, contextvars, ctypes, socket, subprocess, threading
import charmer

counted = 0

@contextlib.contextmanager
def witness(dir):
    """Say what has ended the command."""
    try:
        yield
    except BaseException as exc:
        with open(os.path.join(dir, "ended.new"), "w") as f:
            f.write(f"{type(exc).__module__}.{type(exc).__qualname__}")
        os.rename(os.path.join(dir, "ended.new"), os.path.join(dir, "ended"))
        raise

def come_once_waiting(dir):
    """Say that the command is there once its task waits, outside of the call."""
    asyncio.get_running_loop().call_soon(come, dir, "there", context=contextvars.Context())

@command
def loop(dir: str) -> None:
    with witness(dir):
        come(dir, "there")
        while True:
            pass

@command
def sleep(dir: str) -> None:
    with witness(dir):
        come(dir, "there")
        time.sleep(3600)

@command
async def async_sleep(dir: str) -> None:
    with witness(dir):
        come_once_waiting(dir)
        await asyncio.sleep(3600)

@command
async def async_loop(dir: str) -> None:
    with witness(dir):
        come(dir, "there")
        while True:
            pass

@command(concurrency=2)
def loop_in_a_thread(dir: str) -> None:
    with witness(dir):
        come(dir, "there")
        while True:
            time.sleep(0.001)

@command
def generator(dir: str):
    with witness(dir):
        come(dir, "there")
        time.sleep(3600)
        yield 1

@command
async def async_generator(dir: str):
    with witness(dir):
        come_once_waiting(dir)
        await asyncio.sleep(3600)
        yield 1

@command
def read(dir: str) -> None:
    mine, other = socket.socketpair()
    with mine, other, witness(dir):
        come(dir, "there")
        mine.recv(1)

@command
def lock(dir: str) -> None:
    lock = threading.Lock()
    lock.acquire()
    with witness(dir):
        come(dir, "there")
        lock.acquire()

@command
def join(dir: str) -> None:
    never = threading.Event()
    thread = threading.Thread(target=never.wait)
    thread.start()
    try:
        with witness(dir):
            come(dir, "there")
            thread.join()
    finally:
        never.set()

@command
def program(dir: str) -> None:
    with witness(dir):
        come(dir, "there")
        subprocess.run(["sleep", "3600"])

@command
def except_exception(dir: str) -> None:
    with witness(dir):
        come(dir, "there")
        while True:
            try:
                time.sleep(0.001)
            except Exception:
                pass

@command
def swallow(dir: str) -> None:
    come(dir, "there")
    while True:
        try:
            time.sleep(0.001)
        except BaseException:
            pass

@command
async def async_swallow(dir: str) -> None:
    come(dir, "there")
    while True:
        try:
            await asyncio.sleep(0.001)
        except BaseException:
            pass

@command
def hang_in_c(dir: str) -> None:
    """Wait in C for what no signal interrupts the wait for."""
    path = os.path.join(dir, "there")  # which is there once the wait is, not before
    ctypes.CDLL(None).system(f"printf {os.getpid()} > {path}.new; mv {path}.new {path}; exec sleep 3600".encode())

@command
def answer_all_the_same(dir: str) -> str:
    come(dir, "there")
    try:
        time.sleep(3600)
    except charmer.Cancelled:
        return "all the same"

@command
def shielded(dir: str) -> None:
    with witness(dir):
        come(dir, "there")
        with charmer.shield():
            while not charmer.current().cancelled:
                time.sleep(0.001)
            come(dir, "asked")
            wait_for(dir, "go")
            come(dir, "unharmed")

@command
def report(dir: str) -> str:
    charmer.progress(0.25, "a quarter")
    come(dir, "there")
    wait_for(dir, "go")
    return "reported"

@command
def count() -> int:
    global counted
    counted += 1
    return counted

@command
def remaining() -> float:
    return charmer.current().remaining()

@command(timeout=0.3)
def short(dir: str) -> None:
    time.sleep(3600)
`

// named gives a call a request id.
func (s *instance) named(id, command, args string, options ...func(*client.ExecuteRequest)) <-chan answer {
	answers := make(chan answer, 1)
	body := client.ExecuteRequest{Command: command, Args: json.RawMessage(args)}
	patiently(&body)
	for _, option := range options {
		option(&body)
	}
	go func() { // ends with the call
		a, err := s.try(body, requestID(id))
		if err != nil {
			s.t.Errorf("%s: %v", id, err)
		}
		answers <- a
	}()
	return answers
}

// cancel asks for the end of a call, and returns how that went.
func (s *instance) cancel(id string) (client.CancelStep, error) {
	r, err := s.CancelExecutionWithResponse(s.t.Context(), id)
	switch {
	case err != nil:
		return "", err
	case r.JSON200 != nil && r.JSON200.RequestID == id:
		return r.JSON200.Step, nil
	case r.StatusCode() == http.StatusNotFound:
		return "", nil
	default:
		return "", fmt.Errorf("%s: %s", r.Status(), r.Body)
	}
}

// wantCancel fails the test unless a call is ended by this step; the empty one stands for a call that is not known.
func (s *instance) wantCancel(id string, want client.CancelStep) {
	s.t.Helper()
	if got, err := s.cancel(id); err != nil || got != want {
		s.t.Errorf("cancel of %s: %q, %v; want %q", id, got, err, want)
	}
}

// executions are the calls that have no answer yet, by request id.
func (s *instance) executions() map[string]client.Execution {
	s.t.Helper()
	r, err := s.ListExecutionsWithResponse(s.t.Context())
	if err != nil || r.JSON200 == nil {
		s.t.Fatalf("executions: %v", err)
	}
	byID := map[string]client.Execution{}
	for _, x := range r.JSON200.Executions {
		byID[x.RequestID] = x
	}
	return byID
}

// cancels are the calls that were ended by this step so far.
func (s *instance) cancels(step client.CancelStep) float64 {
	s.t.Helper()
	return s.metrics()[fmt.Sprintf("charmer_cancel_total{step=%q}", step)]
}
