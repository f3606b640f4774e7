package poolsvc

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"charmer/workerproc"
)

// takesOne is the schema of arguments that have just one member, name, of a type.
func takesOne(name, typ string) string {
	return `{"type":"object","properties":{"` + name + `":{"type":"` + typ + `"}},"required":["` + name + `"],"additionalProperties":false}`
}

// retyped is an app whose echo takes old in its first generation and new in later ones.
func retyped() *factory {
	f := newFactory()
	f.schema = func(generation int) string {
		if generation == 1 {
			return takesOne("old", "integer")
		}
		return takesOne("new", "string")
	}
	return f
}

var (
	oldArgs = Request{Command: "echo", Args: []byte(`{"old":1}`)}
	newArgs = Request{Command: "echo", Args: []byte(`{"new":"x"}`)}
)

// misfits checks that err refuses arguments, before any worker saw them.
func misfits(t testing.TB, err error, pointer string) {
	t.Helper()
	var failed *CommandError
	var call *CallError
	if !errors.As(err, &failed) || failed.Kind != KindInvalidArgs || errors.As(err, &call) {
		t.Fatalf("got error %v, want a refusal of the arguments without a worker", err)
	}
	for _, e := range failed.Errors {
		if e.Pointer == pointer {
			return
		}
	}
	t.Errorf("errors %+v, want one at %s", failed.Errors, pointer)
}

// failure is the error of a request that has to have been refused by now.
func (p *pending[T]) failure(t testing.TB) error {
	t.Helper()
	synctest.Wait()
	if !p.settled() {
		t.Fatal("the request still waits")
	}
	return p.err
}

func TestArgumentsThatDoNotFitReachNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := retyped()
		p := warmPool(t, f, workers(1))
		busy := execute(p, sleeper(time.Second))
		misfits(t, execute(p, newArgs).failure(t), "/new") // at once, with nobody free
		misfits(t, execute(p, newArgs).failure(t), "/old")
		misfits(t, execute(p, in("u", newArgs)).failure(t), "/new") // nor is a session opened for it
		_, err := p.Broadcast(context.Background(), newArgs)
		misfits(t, err, "/new")
		advance(time.Second)
		busy.must(t)
		execute(p, oldArgs).must(t)
		s := p.Stats()
		equal(t, "calls of invalid arguments", s.Counts.Executions["invalid_args"], 3)
		equal(t, "sessions", len(s.Sessions), 0)
		equal(t, "calls in the worker", len(f.last().received()), 2)
	})
}

func TestACallIsCheckedAgainAgainstTheWorkerThatItIsGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := retyped()
		p := warmPool(t, f, workers(1))
		busy := execute(p, sleeper(time.Second))
		waiting := execute(p, oldArgs) // fits the code of now
		reloading(p).must(t)
		misfits(t, execute(p, oldArgs).failure(t), "/old")
		misfits(t, waiting.failure(t), "/old") // it was given the new worker
		advance(time.Second)
		busy.must(t)
		wantGenerations(t, p, 2)
		equal(t, "generation that ran it", execute(p, newArgs).must(t).Worker.Generation, 2)
		equal(t, "uses without a call", len(f.worker(2).received()), 1)
	})
}

// TestWhileWorkersAreReplacedCallsOfTheNewKindWaitForNewWorkers has an old worker come free first.
func TestWhileWorkersAreReplacedCallsOfTheNewKindWaitForNewWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := retyped()
		p := warmPool(t, f, workers(3))
		f.replan(startsIn(time.Second))
		r := reloading(p)
		advance(time.Second)
		r.must(t)
		occupied := execute(p, sleeper(10*time.Second)) // takes whichever came last
		call := execute(p, newArgs)
		if call.settled() {
			equal(t, "generation", call.must(t).Worker.Generation, 2)
		}
		for range 20 {
			c := execute(p, newArgs)
			advance(100 * ms)
			if c.settled() {
				equal(t, "generation", c.must(t).Worker.Generation, 2)
			}
		}
		advance(10 * time.Second)
		occupied.must(t)
		equal(t, "generation", call.must(t).Worker.Generation, 2)
		equal(t, "refused", p.Stats().Counts.Executions["invalid_args"], 0)
	})
}

func TestSessionsAndLeasesAreCheckedAgainstTheirOwnCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := retyped()
		p := warmPool(t, f, workers(2))
		execute(p, in("u", oldArgs)).must(t)
		l := lend(t, p)
		reloading(p).must(t)
		execute(p, in("u", oldArgs)).must(t)
		execute(p, on(l, oldArgs)).must(t)
		misfits(t, execute(p, in("u", newArgs)).failure(t), "/new")
		misfits(t, execute(p, on(l, newArgs)).failure(t), "/new")
		execute(p, in("v", newArgs)).must(t) // a new session has the new code
		release(t, p, l)
	})
}

func TestASessionThatStartsWhileTheCodeChangesIsCheckedWhenItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := retyped()
		p := warmPool(t, f, workers(1), lazy)
		execute(p, echoOf(oldArgs)).must(t)
		f.replan(startsIn(time.Second))
		r := reloading(p)
		advance(500 * ms)
		begun := execute(p, in("u", oldArgs)) // a start of the old code
		advance(2 * time.Second)
		r.must(t)
		equal(t, "generation", begun.must(t).Worker.Generation, 1)
	})
}

func echoOf(r Request) Request { return r }

func TestBeforeTheFirstWorkerIsReadyACallIsCheckedWhenThereIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := retyped()
		f.plan = startsIn(time.Second)
		p := newPool(t, f, workers(1))
		wrong, right := execute(p, newArgs), execute(p, oldArgs)
		equal(t, "settled", wrong.settled() || right.settled(), false)
		advance(time.Second)
		misfits(t, wrong.failure(t), "/new")
		right.must(t)
		equal(t, "calls in the worker", len(f.last().received()), 1)
	})
}

func TestABroadcastIsNotGivenToOlderWorkersThatTakeOtherArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := retyped()
		p := warmPool(t, f, workers(2))
		busy := execute(p, sleeper(time.Second))
		reloading(p).must(t)
		info, err := p.Broadcast(context.Background(), newArgs)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range info.Results {
			equal(t, "generation", r.Worker.Generation, 2)
			equal(t, "status", r.Status, BroadcastOK)
		}
		advance(2 * time.Second)
		busy.must(t)
	})
}

func TestWorkersThatSayTheSameHaveOneCatalogue(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	say := func(schema, result string) []workerproc.Command {
		return []workerproc.Command{{Name: "b"}, {Name: "a", ArgsSchema: jsontext.Value(schema), ResultSchema: jsontext.Value(result)}}
	}
	var c catalogues
	first := c.of(say(takesOne("x", "integer"), ""), logger)
	if c.of(say(takesOne("x", "integer"), ""), logger) != first {
		t.Error("the same words made another catalogue")
	}
	second := c.of(say(takesOne("x", "integer"), `{"type":"nothing"}`), logger)
	if second == first || second.find("a").args != first.find("a").args {
		t.Error("a schema that stayed as it was is compiled again")
	}
	if second.Commands[0].Name != "a" || second.Commands[0].ResultSchema != nil || strings.Count(log.String(), "schema cannot be used") != 1 {
		t.Errorf("commands %+v, log %s", second.Commands, log.String())
	}
	log.Reset()
	third := c.of(say(`{"properties":{"x":{"pattern":"(?=a)"}}}`, ""), logger)
	c.of(say(`{"properties":{"x":{"pattern":"(?=a)"}}}`, `{}`), logger)
	if !third.Fits("a", []byte(`{"x":"b"}`)) || third.Commands[0].ArgsSchema == nil || strings.Count(log.String(), "checked in Python alone") != 1 {
		t.Errorf("a pattern that Go lacks: %+v, log %s", third.Commands, log.String())
	}
	fourth := c.of(say(`{"type":5}`, ""), logger)
	if !fourth.Fits("a", []byte(`{"x":"b"}`)) || fourth.Commands[0].ArgsSchema != nil {
		t.Errorf("what is no schema: %+v", fourth.Commands)
	}
	if first.Fits("a", []byte(`{"x":"b"}`)) || !first.Fits("a", []byte(`{"x":1}`)) || len(c.last) != keptCatalogues {
		t.Errorf("the check, or %d kept catalogues", len(c.last))
	}
}
