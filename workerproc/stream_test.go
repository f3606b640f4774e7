package workerproc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// streamApp is an app whose calls say more than their answers, and run side by side.
const streamApp = `import asyncio, os, time
import charmer
from charmer import command

@command
def numbers(n: int):
    for i in range(n):
        yield i

@command
def endless(size: int):
    n = 0
    try:
        while True:
            n += 1
            yield "x" * size
    finally:
        globals()["MADE"] = n

@command
def made() -> int:
    return MADE

@command
def report():
    charmer.progress(0.25, "begun")
    charmer.log("a word", level="warning")
    yield 1
    os._exit(3)

@command
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds

@command
def refuse_to_end() -> None:
    while True:
        try:
            charmer.progress(message="here")
            time.sleep(100)
        except BaseException:
            pass

@command
async def block(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.002)
`

// spawnStreamer starts a worker with streamApp.
func spawnStreamer(t testing.TB, change func(*Config)) *Worker {
	t.Helper()
	cfg := pythonConfig(t)
	cfg.CancelGrace = patience
	if err := os.WriteFile(cfg.App, []byte(streamApp), 0o644); err != nil {
		t.Fatal(err)
	}
	change(&cfg)
	return spawn(t, cfg)
}

func unchanged(*Config) {}

// stream makes a call and hands take what it says, until that has ended.
func stream(ctx context.Context, w *Worker, c *Call, take func([]Event)) (Reply, error) {
	c.Stream, c.Events = true, NewFeed()
	read := make(chan struct{})
	go func() { // ends with the feed
		defer close(read)
		for events := c.Events.Next(); len(events) > 0; events = c.Events.Next() {
			take(events)
		}
	}()
	reply, err := w.Call(ctx, c)
	c.Events.End()
	<-read
	return reply, err
}

func TestChunksComeInOrderHoweverMany(t *testing.T) {
	w := spawnStreamer(t, unchanged)
	var got []string
	reply, err := stream(context.Background(), w, call("numbers", `{"n":20000}`), func(events []Event) {
		for _, e := range events {
			got = append(got, string(e.Chunk))
		}
	})
	if err != nil || string(reply.Result) != "null" {
		t.Fatalf("%s, %v", reply.Result, err)
	}
	for i, chunk := range got {
		if chunk != fmt.Sprint(i) {
			t.Fatalf("chunk %d is %s", i, chunk)
		}
	}
	if len(got) != 20000 {
		t.Errorf("%d chunks", len(got))
	}
}

func TestAReaderThatStandsHoldsTheGeneratorAndItsEndFreesIt(t *testing.T) {
	w := spawnStreamer(t, unchanged)
	const size = 10_000
	ctx, leave := context.WithCancelCause(context.Background())
	gone := errors.New("gone")
	first, resume := make(chan struct{}), make(chan struct{})
	var once sync.Once
	chunks := 0
	c, read := call("endless", fmt.Sprintf(`{"size":%d}`, size)), make(chan struct{})
	c.Stream, c.Events = true, NewFeed()
	go func() { // ends with the feed
		defer close(read)
		for events := c.Events.Next(); len(events) > 0; events = c.Events.Next() {
			chunks += len(events)
			once.Do(func() { close(first); <-resume })
		}
	}()
	answered := make(chan error, 1)
	go func() { // ends with the call
		_, err := w.Call(ctx, c)
		answered <- err
	}()
	receive(t, first, "the first chunk")
	leave(gone)
	var cancelled *CancelledError
	if err := receive(t, answered, "the answer"); !errors.As(err, &cancelled) || cancelled.Why != gone || cancelled.Step != StepCancelled || !cancelled.Started {
		t.Fatalf("error = %v", err)
	}
	made, err := strconv.Atoi(mustCall(t, w, "made", "{}")) // the worker is free, though the reader still stands
	close(resume)
	c.Events.End()
	receive(t, read, "the end of the reader")
	if most := chunks + streamCredit/size + 2; err != nil || made > most {
		t.Errorf("%d chunks were made, %d taken; %d are the most: %v", made, chunks, most, err)
	}
}

func TestWhatWasSaidBeforeADeathIsHandedOn(t *testing.T) {
	w := spawnStreamer(t, unchanged)
	var said []string
	c := call("report", `{}`)
	var last Progress
	c.Progress = func(p Progress) { last = p }
	_, err := stream(context.Background(), w, c, func(events []Event) {
		for _, e := range events {
			switch {
			case e.Progress != nil:
				said = append(said, fmt.Sprint(*e.Progress.Fraction, " ", e.Progress.Message))
			case e.Log != nil:
				said = append(said, e.Log.Level+" "+e.Log.Message)
			default:
				said = append(said, string(e.Chunk))
			}
		}
	})
	var crash *CrashError
	if !errors.As(err, &crash) || crash.Exit.Code != 3 || !crash.Started {
		t.Errorf("error = %v", err)
	}
	if got := strings.Join(said, "; "); got != "0.25 begun; warning a word; 1" || last.Message != "begun" {
		t.Errorf("it said %q, progress %+v", got, last)
	}
}

func TestACallThatGoesOnIsKilledAfterTheGrace(t *testing.T) {
	w := spawnStreamer(t, func(cfg *Config) { cfg.CancelGrace = 100 * time.Millisecond })
	ctx, leave := context.WithCancelCause(context.Background())
	answered := make(chan error, 1)
	c, begun := call("refuse_to_end", `{}`), make(chan struct{}, 100)
	c.Progress = func(Progress) { begun <- struct{}{} }
	go func() { // ends with the call
		_, err := w.Call(ctx, c)
		answered <- err
	}()
	receive(t, begun, "the first word")
	leave(errors.New("enough"))
	err := receive(t, answered, "the answer")
	var cancelled *CancelledError
	if !errors.As(err, &cancelled) || cancelled.Exit.Cause != CauseCancelled {
		t.Fatalf("error = %v", err)
	}
	if started := strings.Contains(cancelled.Stack, "refuse_to_end"); cancelled.Step != StepKilled || !started {
		t.Errorf("step %s, stack %s", cancelled.Step, cancelled.Stack)
	}
	awaitDone(t, w)
}

// TestACancelThatMeetsTheEndOfItsCallHitsNoOther cancels calls at about the time at which they end, a thousand times.
func TestACancelThatMeetsTheEndOfItsCallHitsNoOther(t *testing.T) {
	w := spawnStreamer(t, unchanged)
	outcomes := map[string]int{}
	for round := range 1000 {
		ctx, leave := context.WithCancelCause(context.Background())
		length := time.Duration(round%10) * 100 * time.Microsecond
		meet := time.AfterFunc(time.Duration(round%7)*150*time.Microsecond, func() { leave(errors.New("enough")) })
		_, err := w.Call(ctx, call("nap", fmt.Sprintf(`{"seconds":%g}`, length.Seconds())))
		var cancelled *CancelledError
		switch {
		case err == nil:
			outcomes["finished"]++
		case errors.As(err, &cancelled) && cancelled.Step == StepCancelled:
			outcomes["cancelled"]++
		default:
			t.Fatalf("round %d: %v", round, err)
		}
		if got := mustCall(t, w, "nap", `{"seconds":0}`); got != "0.0" {
			t.Fatalf("round %d: the next call answered %s", round, got)
		}
		meet.Stop()
		leave(nil)
	}
	t.Log(outcomes)
}

func TestALoopThatIsBlockedIsReportedWithItsStack(t *testing.T) {
	book, log := newLogBook()
	w := spawnStreamer(t, func(cfg *Config) { cfg.Log, cfg.LoopStall = log, time.Second }) // far more than the worker may need until the call has begun
	path := t.TempDir() + "/go"
	c := call("block", fmt.Sprintf(`{"path":%q}`, path))
	c.Shared = true
	answered := background(w, c)
	record := book.await(t, "the loop of a worker is blocked: no call in it goes on")
	if stack := fmt.Sprint(record["stack"]); !strings.Contains(stack, "in block") || w.Stalls() < 1 {
		t.Errorf("stack %s, %d stalls", stack, w.Stalls())
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, answered, "the answer"); err != nil {
		t.Error(err)
	}
}
